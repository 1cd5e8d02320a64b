"""`espalier datasets`: list, show, report, images, upload, export, preview, rename, edit, delete."""

import json
from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli import editing, sending
from service.cli.session import Session, existing, refuse, session_of

if TYPE_CHECKING:
    from service.cli.client import Client

app = typer.Typer(no_args_is_help=True)

DatasetId = Annotated[str, typer.Argument(help="id of the dataset", metavar="DATASET")]


class Layout(StrEnum):
    """Meaning of the folders at the top of an archive."""

    AUTO = "auto"
    CLASSES = "classes"
    SPLITS = "splits"


@app.command("list")
def list_(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="largest number of datasets to list")] = 20,
    tag: Annotated[str | None, typer.Option(help="list only those with this tag")] = None,
) -> None:
    """List datasets, the newest first."""
    from service.cli import dataset_output  # noqa: PLC0415  `--help` is spared rich

    session = session_of(context)
    datasets = session.client.items("/datasets", limit=limit, tag=tag)
    session.show(datasets, dataset_output.dataset_table(datasets))


@app.command()
def show(context: typer.Context, dataset: DatasetId) -> None:
    """Show one dataset: its classes or labels, and the number of examples of each in each split."""
    from service.cli import dataset_output, output  # noqa: PLC0415  `--help` is spared rich

    session = session_of(context)
    document = session.client.get(f"/datasets/{dataset}")
    session.show(document, output.with_words(dataset_output.dataset_card(document), document))


@app.command()
def report(context: typer.Context, dataset: DatasetId) -> None:
    """Show the checks and their findings: duplicates, leaks between splits, conflicting labels, imbalance."""
    from service.cli import dataset_output  # noqa: PLC0415  `--help` is spared rich

    session = session_of(context)
    document = session.client.get(f"/datasets/{dataset}/report")
    session.show(document, dataset_output.dataset_report(document))


@app.command()
def upload(
    context: typer.Context,
    data: Annotated[
        Path,
        typer.Argument(
            help=(
                "zip or tar (plain, gz, bz2, xz, zst) of class folders, or with a labels.csv; or a folder with the "
                "same content; or a table whose rows are the examples (csv, tsv, jsonl)"
            )
        ),
    ],
    name: Annotated[
        str | None, typer.Option(help="name of the dataset; left out: the name of the file or folder")
    ] = None,
    layout: Annotated[
        Layout, typer.Option(help="meaning of the folders at the top; auto: their names decide")
    ] = Layout.AUTO,
    names: Annotated[
        str, typer.Option(help="encoding of names that are not UTF-8 in a zip, such as gbk; auto: guessed")
    ] = "auto",
    *,
    encoding: Annotated[
        str, typer.Option(help="encoding of tables of examples, and of examples that are texts, such as gb18030")
    ] = "utf-8",
    skip_undecodable: Annotated[
        bool,
        typer.Option(
            "--skip-undecodable", help="leave out examples that can't be decoded, instead of refusing the archive"
        ),
    ] = False,
) -> None:
    """Upload an archive of labelled examples, or a folder, which is packed first."""
    from service.cli import dataset_output, packing  # noqa: PLC0415  `--help` is spared rich

    session = session_of(context)
    undecodable = "skip" if skip_undecodable else "refuse"
    with packing.packed(data, session=session) if data.is_dir() else nullcontext(existing(data)) as archive:
        label = name or (data.resolve().name if data.is_dir() else None)
        how = {"undecodable": undecodable, "layout": layout.value, "names": names, "encoding": encoding}
        document = send(session.client, archive, name=label, session=session, **how)
    session.show(document, dataset_output.dataset_card(document))
    if document.get("note") and not session.as_json:
        known = f"this archive is already here as {document['name']} ({document['id']})"
        typer.secho(f"{known}; rename it with `espalier datasets rename {document['id']} NAME`", fg="yellow", err=True)
    if not session.as_json:
        session.console.print(dataset_output.dataset_report(session.client.get(f"/datasets/{document['id']}/report")))
        train = f"train --dataset {document['id']} --name MODEL"
        session.next_commands([train, f"{train} --dry-run", "jobs list"])


@app.command()
def preview(
    context: typer.Context,
    dataset: DatasetId,
    augmentation: Annotated[
        Path, typer.Argument(help="a JSON file: a list of augmentations, or a training spec that has one")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="file to write: .png for a contact sheet, .html or .json for examples that are read; left out: "
            "preview.png, or a table here",
        ),
    ] = None,
    *,
    seed: Annotated[int, typer.Option(min=0, help="the same seed gives the same preview")] = 0,
    examples: Annotated[
        int, typer.Option("--examples", "--images", min=1, max=32, help="number of examples of the train split")
    ] = 6,
    views: Annotated[
        int | None, typer.Option(min=1, max=32, help="number of copies of each, changed by all parts together")
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=16, max=512, help="side of each tile of a contact sheet, in pixels")
    ] = None,
) -> None:
    """Show the effect of an augmentation on a few examples: as a contact sheet, or as a table or page."""
    from models_store.tasks import rooms  # noqa: PLC0415  `--help` is spared it
    from service.cli import dataset_output  # noqa: PLC0415  as above

    session = session_of(context)
    described = session.client.get(f"/datasets/{dataset}")
    forms = rooms.of_dataset(described).preview_forms
    first = next(iter(forms), "")
    is_table = output is None and first == "json"
    target = output or Path(f"preview.{first}")
    ending = target.suffix.lower().removeprefix(".")
    if forms and ending not in forms:
        raise refuse(f"{target}: a preview of {described['examples']} is written to .{' or .'.join(forms)}")
    wanted: dict[str, Any] = {
        "augmentation": _augmentation(augmentation),
        "seed": seed,
        described["examples"]: examples,
    }
    wanted |= {} if views is None else {"views": views}
    wanted |= {} if size is None else {"input": {"size": size}}
    job = session.client.post(f"/datasets/{dataset}:preview", wanted, wait_s="0")
    for _ in session.client.events(job["id"]):
        pass
    ended = session.client.get(f"/jobs/{job['id']}")
    if ended["state"] != "succeeded":
        raise refuse(f"{job['id']} has {ended['state']}: {(ended['problem'] or {}).get('detail', 'it was canceled')}")
    if is_table:
        found = session.client.get(f"/jobs/{job['id']}/preview.json")
        session.show(found | {"job": job["id"]}, dataset_output.preview_table(found))
        return
    sha256 = session.client.download(f"/jobs/{job['id']}/preview.{ending}", target)
    session.show({"job": job["id"], "output": str(target), "sha256": sha256}, f"{target}")


@app.command()
def images(
    context: typer.Context,
    dataset: DatasetId,
    *,
    split: Annotated[str | None, typer.Option(help="list only those of train, val or test")] = None,
    label: Annotated[
        str | None, typer.Option("--class", help="list only those of this class, or with this label")
    ] = None,
    finding: Annotated[
        str | None, typer.Option(help="list only those that a check of the report found, such as exact_duplicates")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="largest number of examples to list")] = 20,
) -> None:
    """List the examples of a dataset with their labels and the checks that found them."""
    from service.cli import dataset_output  # noqa: PLC0415  `--help` is spared rich

    session = session_of(context)
    which = {"split": split, "class": label, "finding": finding}
    found = session.client.items(f"/datasets/{dataset}/images", limit=limit, **which)
    session.show(found, dataset_output.example_table(found))


@app.command()
def export(
    context: typer.Context,
    dataset: DatasetId,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="file to write; left out: DATASET.zip")] = None,
) -> None:
    """Download a dataset as a zip that, uploaded again, is the same dataset."""
    session = session_of(context)
    target = output or Path(f"{dataset}.zip")
    digest = session.client.download(f"/datasets/{dataset}:export", target)
    session.show({"dataset": dataset, "file": str(target), "sha256": digest}, f"{target} (SHA-256 {digest})")


@app.command()
def rename(
    context: typer.Context, dataset: DatasetId, name: Annotated[str, typer.Argument(help="the new name")]
) -> None:
    """Give a dataset another name; its id stays."""
    session = session_of(context)
    document = session.client.patch(f"/datasets/{dataset}", {"name": name})
    session.show(document, f"{dataset} is now named {document['name']!r}")


@app.command()
def edit(
    context: typer.Context,
    dataset: DatasetId,
    name: Annotated[str | None, typer.Option(help="the new name")] = None,
    description: editing.Description = None,
    tags: editing.Tags = None,
    *,
    no_description: editing.NoDescription = False,
    no_tags: editing.NoTags = False,
) -> None:
    """Change a dataset's name, description or tags."""
    from service.cli import output  # noqa: PLC0415  `--help` is spared rich

    session = session_of(context)
    changes = editing.patch(description, tags, no_description=no_description, no_tags=no_tags, name=name)
    document = session.client.patch(f"/datasets/{dataset}", changes)
    session.show(document, output.words(f"Dataset {dataset}", document))


@app.command()
def delete(context: typer.Context, dataset: DatasetId, *, yes: editing.Yes = False) -> None:
    """Delete a dataset that no running job uses."""
    session = session_of(context)
    editing.confirm(session, f"dataset {dataset}", yes=yes)
    session.client.delete(f"/datasets/{dataset}")
    session.show({"deleted": dataset}, f"{dataset} is deleted")


def _augmentation(path: Path) -> Any:  # noqa: ANN401  the service judges what it is
    try:
        document = json.loads(existing(path).read_text())
    except ValueError as error:
        raise refuse(f"{path}: this is not JSON ({error})") from error
    return document.get("augmentation") or [] if isinstance(document, dict) else document


def send(client: "Client", archive: Path, *, name: str | None, session: Session, **how: str) -> dict[str, Any]:
    """Upload an archive, with a progress bar on a terminal; return the dataset. `how` is the call's query."""
    label = name or archive.name.partition(".")[0]
    return sending.send(client, "/datasets", archive, session=session, name=label, **how)
