"""Content of a dataset while it is made: a stored zip, the same bytes whenever it is written."""

from collections.abc import Mapping
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile, ZipInfo

ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


def header_of(member: str) -> ZipInfo:
    """Return a header that is the same whenever it is written."""
    return ZipInfo(member, ZIP_EPOCH)


def without_leftovers(content: Path, kept: set[str]) -> Path:
    """Return a zip of the members in `kept` alone; the same one when that is all of them."""
    with ZipFile(content) as given:
        if len(given.namelist()) == len(kept):
            return content
        target = content.with_name("kept.zip")
        with ZipFile(target, "w", ZIP_STORED) as slimmer:
            for member in given.namelist():
                if member in kept:
                    slimmer.writestr(header_of(member), given.read(member))
    return target


def add(content: Path, files: Mapping[str, Path]) -> None:
    """Add files to a zip: member → file."""
    if files:
        with ZipFile(content, "a", ZIP_STORED) as archive:
            for member, path in files.items():
                archive.writestr(header_of(member), path.read_bytes())
