"""A folder as a tar archive of its files, in a temporary file."""

import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from service.cli.folders import files_in
from service.cli.session import Session, is_interactive, refuse

MOST_SHOWN = 40
"""Largest number of characters of a folder's name in its archive's name, which may have 255 bytes."""


@contextmanager
def packed(folder: Path, *, session: Session) -> Iterator[Path]:
    """Yield the archive of a folder; it is deleted at the end. Linked files and folders are packed as such.

    Raises:
        typer.Exit: if there is no file in the folder, or a link that can't be followed.
    """
    files = list(files_in(folder))
    if not files:
        raise refuse(f"{folder}: there is no file in this folder")
    columns = (TextColumn("packing {task.fields[folder]}", markup=False), BarColumn(), MofNCompleteColumn())
    shown = is_interactive() and not session.as_json
    with tempfile.TemporaryDirectory(prefix="espalier-") as place:
        archive = Path(place, f"{folder.resolve().name[:MOST_SHOWN] or 'folder'}.tar")
        with (
            Progress(*columns, console=session.console, disable=not shown, transient=True) as progress,
            tarfile.open(archive, "w", dereference=True) as packing,
        ):
            bar = progress.add_task("pack", total=len(files), folder=folder.resolve().name)
            for path in files:
                packing.add(path, path.relative_to(folder).as_posix(), recursive=False)
                progress.advance(bar)
        yield archive
