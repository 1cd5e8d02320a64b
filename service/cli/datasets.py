"""`espalier datasets`: list, show, report, upload, delete."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.session import Session, existing, is_interactive, session_of

if TYPE_CHECKING:
    from service.cli.client import Client

app = typer.Typer(no_args_is_help=True)

DatasetId = Annotated[str, typer.Argument(help="id of the dataset", metavar="DATASET")]


@app.command("list")
def list_(
    context: typer.Context, limit: Annotated[int, typer.Option(min=1, help="most datasets to list")] = 20
) -> None:
    """List datasets, the newest first."""
    from service.cli import output  # noqa: PLC0415  `--help` is spared rich

    session = session_of(context)
    datasets = session.client.items("/datasets", limit=limit)
    session.show(datasets, output.dataset_table(datasets))


@app.command()
def show(context: typer.Context, dataset: DatasetId) -> None:
    """Show one dataset: its classes or labels, and how many images of each are in each split."""
    from service.cli import output  # noqa: PLC0415  `--help` is spared rich

    session = session_of(context)
    document = session.client.get(f"/datasets/{dataset}")
    session.show(document, output.dataset_card(document))


@app.command()
def report(context: typer.Context, dataset: DatasetId) -> None:
    """Show what the checks found: duplicates, leaks between splits, conflicting labels, imbalance."""
    from service.cli import output  # noqa: PLC0415  `--help` is spared rich

    session = session_of(context)
    document = session.client.get(f"/datasets/{dataset}/report")
    session.show(document, output.report_table(document))


@app.command()
def upload(
    context: typer.Context,
    archive: Annotated[Path, typer.Argument(help="zip, tar or tar.gz of class folders, or with a labels.csv")],
    name: Annotated[str | None, typer.Option(help="a name for people; else the file's")] = None,
    *,
    skip_undecodable: Annotated[
        bool, typer.Option("--skip-undecodable", help="leave out images that can't be decoded, instead of refusing")
    ] = False,
) -> None:
    """Upload an archive of labelled images."""
    from service.cli import output  # noqa: PLC0415  `--help` is spared rich

    session = session_of(context)
    undecodable = "skip" if skip_undecodable else "refuse"
    document = send(session.client, existing(archive), name=name, undecodable=undecodable, session=session)
    session.show(document, output.dataset_card(document))


@app.command()
def delete(context: typer.Context, dataset: DatasetId) -> None:
    """Delete a dataset that no running job uses."""
    session = session_of(context)
    session.client.delete(f"/datasets/{dataset}")
    session.show({"deleted": dataset}, f"{dataset} is deleted")


def send(client: "Client", archive: Path, *, name: str | None, undecodable: str, session: Session) -> dict[str, Any]:
    """Upload an archive with a progress bar where somebody watches; return the dataset."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn  # noqa: PLC0415  slow to import

    columns = (TextColumn("uploading {task.fields[file]}"), BarColumn(), DownloadColumn())
    shown = is_interactive() and not session.as_json
    with Progress(*columns, console=session.console, disable=not shown, transient=True) as progress:
        bar = progress.add_task("upload", total=archive.stat().st_size, file=archive.name)
        label = name or archive.name.partition(".")[0]
        return client.upload(archive, name=label, undecodable=undecodable, sent=lambda n: progress.advance(bar, n))
