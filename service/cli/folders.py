"""Files of a folder on this machine, including those behind links."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from models_store.archives.system_files import is_hidden, is_system
from service.cli.session import refuse


def files_in(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder in order, including those in linked folders.

    Raises:
        typer.Exit: if a link has no target, or leads back to a folder that contains it. Links in hidden folders, and
        those left by systems and tools, are ignored.
    """
    return _walk(folder, PurePosixPath(), above=frozenset())


def _walk(folder: Path, inner: PurePosixPath, *, above: frozenset[Path]) -> Iterator[Path]:
    within = above | {folder.resolve()}
    for path in sorted(folder.iterdir()):
        place = inner / path.name
        if path.is_file():
            yield path
        elif path.is_dir() and path.resolve() not in within:
            yield from _walk(path, place, above=within)
        elif (path.is_dir() or path.is_symlink()) and not is_hidden(place) and not is_system(place):
            back, gone = "leads back to a folder that contains it", "links to a missing file"
            fault = back if path.is_dir() else f"{gone} ({path.readlink()})"
            raise refuse(f"{path} {fault}; remove the link, or replace it by its target")
