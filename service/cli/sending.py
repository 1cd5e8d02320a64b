"""Upload of a file, with a progress bar on a terminal."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from service.cli.session import Session, is_interactive

if TYPE_CHECKING:
    from service.cli.client import Client


def send(
    client: "Client", path: str, file: Path, *, session: Session, key: str | None = None, **params: str
) -> dict[str, Any]:
    """Upload the file to the path and return the answer; `params` are the call's query."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn  # noqa: PLC0415  slow to import

    columns = (TextColumn("uploading {task.fields[file]}", markup=False), BarColumn(), DownloadColumn())
    shown = is_interactive() and not session.as_json
    with Progress(*columns, console=session.console, disable=not shown, transient=True) as progress:
        bar = progress.add_task("upload", total=file.stat().st_size, file=file.name)
        return client.upload(path, file, sent=lambda n: progress.advance(bar, n), key=key, **params)
