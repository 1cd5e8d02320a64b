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
    from rich.progress import (  # noqa: PLC0415  slow to import
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
    )

    columns = (
        TextColumn("{task.description} {task.fields[file]}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TimeElapsedColumn(),
    )
    shown = is_interactive() and not session.as_json
    with Progress(*columns, console=session.console, disable=not shown, transient=True) as progress:
        bar = progress.add_task("uploading", total=file.stat().st_size, file=file.name)

        def sent(count: int) -> None:
            progress.advance(bar, count)
            if progress.tasks[0].finished:  # the service has it, and reads it before it answers
                progress.add_task("checking", total=None, file=file.name)

        return client.upload(path, file, sent=sent, key=key, **params)
