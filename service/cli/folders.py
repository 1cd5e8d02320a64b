"""Files of a folder on this machine, also those that links lead to."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from models_store.archives.system_files import is_hidden, is_system
from service.cli.session import refuse


def files_in(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder in order, also those in folders that links lead to.

    Raises:
        typer.Exit: if a link leads nowhere, or back to a folder that it is in; those in hidden folders, and those that
            systems and tools have left, are passed over.
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
            back, gone = "leads back to a folder that it is in", "links to what is not there"
            fault = back if path.is_dir() else f"{gone} ({path.readlink()})"
            raise refuse(f"{path} {fault}; remove the link, or put in its place what it stands for")
