"""`espalier weights`: list, add, rename, remove."""

from pathlib import Path
from typing import Annotated

import typer

from service.cli import editing
from service.cli.sending import send
from service.cli.session import existing, session_of

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_(context: typer.Context, limit: Annotated[int, typer.Option(min=1, help="most files to list")] = 20) -> None:
    """List files of weights, the newest first."""
    from service.cli import output  # noqa: PLC0415  `--help` is spared rich

    session = session_of(context)
    files = session.client.items("/weights", limit=limit)
    session.show(files, output.weights_table(files))


@app.command()
def add(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="a safetensors file")],
    name: Annotated[str | None, typer.Option(help="a name for people; else the file's")] = None,
) -> None:
    """Upload initial weights; a spec names them by their id, as in `"backbone": {"weights": "wt_…"}`."""
    from service.cli import output  # noqa: PLC0415  `--help` is spared rich

    session = session_of(context)
    label = name or file.name[:200]
    document = send(session.client, "/weights", existing(file), session=session, name=label)
    session.show(document, output.weights_table([document]))
    if document.get("note") and not session.as_json:
        known = f"these weights are already here as {document['name']} ({document['id']})"
        typer.secho(f"{known}; rename them with `espalier weights rename {document['id']} NAME`", fg="yellow", err=True)


@app.command()
def rename(
    context: typer.Context,
    weights: Annotated[str, typer.Argument(help="id of the file")],
    name: Annotated[str, typer.Argument(help="the new name")],
) -> None:
    """Give a file of weights another name; its id stays."""
    session = session_of(context)
    document = session.client.patch(f"/weights/{weights}", {"name": name})
    session.show(document, f"{weights} is {document['name']!r} now")


@app.command()
def remove(
    context: typer.Context, weights: Annotated[str, typer.Argument(help="id of the file")], *, yes: editing.Yes = False
) -> None:
    """Delete a file of weights that no running job starts from."""
    session = session_of(context)
    editing.confirm(session, f"the file of weights {weights}", yes=yes)
    session.client.delete(f"/weights/{weights}")
    session.show({"deleted": weights}, f"{weights} is deleted")
