"""Datasets as archives: a zip that, uploaded again, is the same dataset.

At its top is a `labels.csv` with the class, labels or number of each example, its split, and its group where there are
groups. Examples have the paths that they came with, unless a table could not name such a path.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from models_store import names
from models_store.datasets.manifest import ManifestEntry, read_manifest
from models_store.datasets.stored_examples import places_of, read_stored
from models_store.datasets.table import TARGETS
from models_store.spec.facts import Target

TABLE = "labels.csv"
PIECE_BYTES = 1 << 20
EPOCH = (1980, 1, 1, 0, 0, 0)  # the same bytes whenever it is written
LABELS_SEPARATOR = ";"


def export(manifest: Path, content: Path, target: Target, *, folder: str) -> Iterator[bytes]:
    """Yield the archive's bytes, about a megabyte at a time; files of no usable path go to the `folder`."""
    entries = read_manifest(manifest)
    paths, places = _paths(entries, folder), places_of(content)
    window = _Window()
    with content.open("rb") as stored, ZipFile(window, "w", ZIP_STORED) as archive:
        archive.writestr(ZipInfo(TABLE, EPOCH), _table(entries, paths, target))
        for entry, path in zip(entries, paths, strict=True):
            archive.writestr(ZipInfo(path, EPOCH), read_stored(stored, *places[entry.member]))
            if window.size_bytes >= PIECE_BYTES:
                yield window.take()
    yield window.take()


def _table(entries: Sequence[ManifestEntry], paths: Sequence[str], target: Target) -> str:
    (column,) = (name for name, target_of in TARGETS.items() if target_of == target)
    has_groups = any(entry.group for entry in entries)
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["file", column, "split", *(["group"] if has_groups else [])])
    for entry, path in zip(entries, paths, strict=True):
        learned = repr(entry.value) if entry.value is not None else entry.label or LABELS_SEPARATOR.join(entry.labels)
        table.writerow([path, learned, entry.split, *([entry.group] if has_groups else [])])
    return text.getvalue()


def _paths(entries: Sequence[ManifestEntry], folder: str) -> list[str]:
    """Return each example's path in the archive: its own, or a new one where a table would name another file."""
    given = {entry.file for entry in entries}
    paths = []
    for number, entry in enumerate(entries):
        path = entry.file if _can_be_named(entry.file) else f"{folder}/{number}-{entry.member}"
        while path != entry.file and path in given:
            path = f"{folder}/{path}"
        paths.append(path)
    return paths


def _can_be_named(path: str) -> bool:
    """Return whether a cell of a table of labels can hold the path."""
    parts = path.split("/")
    return (
        path == path.strip()
        and "\\" not in path
        and not {"", "."} & set(parts)
        and parts[0].casefold() != TABLE
        and names.without_refused(path) == path
    )


class _Window(io.BytesIO):
    """The end of a zip that is being written: what zipfile may still go back to, until it is taken."""

    _taken = 0

    @property
    def size_bytes(self) -> int:
        return self.getbuffer().nbytes

    def take(self) -> bytes:
        content = self.getvalue()
        super().seek(0)
        super().truncate()
        self._taken += len(content)
        return content

    def tell(self) -> int:
        return self._taken + super().tell()

    def seek(self, position: int, whence: int = io.SEEK_SET, /) -> int:
        return super().seek(position - self._taken, whence)
