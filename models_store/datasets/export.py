"""Datasets as archives: a zip that, uploaded again, is the same dataset.

At its top is a `labels.csv` with the class, labels or number of each example, its split, and its group where there are
groups. Examples have the paths that they came with, unless a table could not name such a path. Where examples may be
rows of tables, there is one table with all of them instead, and nothing else.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from models_store import names
from models_store.datasets.manifest import ManifestEntry, entries_of, read_manifest
from models_store.datasets.stored_content import StoredContent
from models_store.datasets.table import TARGETS
from models_store.spec.facts import Target
from models_store.tasks.task import Contract

TABLE = "labels.csv"
PIECE_BYTES = 1 << 20
EPOCH = (1980, 1, 1, 0, 0, 0)  # the same bytes whenever it is written
LABELS_SEPARATOR = ";"


def export(manifest: Path, content: Path, target: Target, contract: Contract) -> Iterator[bytes]:
    """Yield the archive's bytes, about a megabyte at a time; files of no usable path go to a folder of examples."""
    window = _Window() if contract.column is None else _Stream()
    with StoredContent(content) as stored, ZipFile(window, "w", ZIP_STORED) as archive:
        files = _files if contract.column is None else _rows
        for _ in files(archive, manifest, stored, target, contract):
            if window.size_bytes >= PIECE_BYTES:
                yield window.take()
    yield window.take()


def _files(
    archive: ZipFile, manifest: Path, stored: StoredContent, target: Target, contract: Contract
) -> Iterator[None]:
    entries = read_manifest(manifest)
    paths = _paths(entries, contract.examples)
    archive.writestr(ZipInfo(TABLE, EPOCH), _table(entries, paths, target))
    for entry, path in zip(entries, paths, strict=True):
        archive.writestr(ZipInfo(path, EPOCH), stored.read(entry.member, sha256=entry.sha256))
        yield


def _rows(
    archive: ZipFile, manifest: Path, stored: StoredContent, target: Target, contract: Contract
) -> Iterator[None]:
    """Write one table of all examples, row by row."""
    facts = {name for entry in entries_of(manifest) for name in contract.fact_columns if name in entry.facts}
    columns = [name for name in contract.fact_columns if name in facts]
    has_groups = any(entry.group for entry in entries_of(manifest))
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow([contract.column, _column_of(target), "split", *(["group"] if has_groups else []), *columns])
    info = ZipInfo(f"{contract.examples}.csv", EPOCH)
    info.compress_type = ZIP_DEFLATED
    with archive.open(info, "w", force_zip64=True) as file:
        for entry in entries_of(manifest):
            example = stored.read(entry.member, sha256=entry.sha256).decode()
            known = [str(entry.facts.get(name, "")) for name in columns]
            table.writerow([example, _learned(entry), entry.split, *([entry.group] if has_groups else []), *known])
            file.write(text.getvalue().encode())
            text.seek(0)
            text.truncate()
            yield


def _table(entries: Sequence[ManifestEntry], paths: Sequence[str], target: Target) -> str:
    has_groups = any(entry.group for entry in entries)
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["file", _column_of(target), "split", *(["group"] if has_groups else [])])
    for entry, path in zip(entries, paths, strict=True):
        table.writerow([path, _learned(entry), entry.split, *([entry.group] if has_groups else [])])
    return text.getvalue()


def _column_of(target: Target) -> str:
    return next(name for name, target_of in TARGETS.items() if target_of == target)


def _learned(entry: ManifestEntry) -> str:
    return repr(entry.value) if entry.value is not None else entry.label or LABELS_SEPARATOR.join(entry.labels)


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


class _Stream(_Window):
    """A window that says that nothing can be gone back to: sizes come behind their members."""

    def seek(self, position: int, whence: int = io.SEEK_SET, /) -> int:  # noqa: ARG002  as a file's
        raise io.UnsupportedOperation("seek")
