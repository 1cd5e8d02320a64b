"""Entries of a manifest on disk: a sequence that keeps eight bytes of memory for each.

A table of millions of rows is checked, split and sorted in it as a list of entries is.
"""

import heapq
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count, islice, starmap
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import orjson

from models_store.datasets.manifest import ManifestEntry, document_of, entry_of, order

if TYPE_CHECKING:
    Numbers = array[int]
else:
    Numbers = array  # subscripted from Python 3.12 on

Change = Callable[[int, ManifestEntry], ManifestEntry]
"""place in the sequence, entry → the entry that takes its place"""
SORTED_AT_ONCE = 20_000
"""entries that are sorted in memory, before the runs are merged"""


class EntriesOnDisk(Sequence[ManifestEntry]):
    """Entries in a file of JSON lines."""

    def __init__(self, path: Path, entries: Iterable[ManifestEntry]) -> None:
        self._path = path
        self._starts = array("Q")
        self._file_numbers = count()
        position = 0
        with path.open("wb") as file:
            for entry in entries:
                self._starts.append(position)
                position += file.write(orjson.dumps(document_of(entry), option=orjson.OPT_APPEND_NEWLINE))

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self._starts)

    def __iter__(self) -> Iterator[ManifestEntry]:
        """Yield the entries in their order."""
        return _entries_of(self._path)

    @overload
    def __getitem__(self, place: int) -> ManifestEntry: ...
    @overload
    def __getitem__(self, place: slice) -> list[ManifestEntry]: ...

    def __getitem__(self, place: int | slice) -> ManifestEntry | list[ManifestEntry]:
        """Return one entry, or some as a list."""
        if isinstance(place, slice):
            return self.at(range(*place.indices(len(self))))
        return self.at([place])[0]

    def at(self, places: Iterable[int]) -> list[ManifestEntry]:
        """Return the entries at some places."""
        with self._path.open("rb") as file:
            found = []
            for place in places:
                file.seek(self._starts[place])
                found.append(entry_of(orjson.loads(file.readline())))
            return found

    def changed(self, change: Change) -> "EntriesOnDisk":
        """Return the entries as they are after `change`, in another file beside this one."""
        return EntriesOnDisk(self._beside(), starmap(change, enumerate(self)))

    def ordered(self) -> "EntriesOnDisk":
        """Return the entries in the order of a manifest, in another file beside this one."""
        entries, runs = iter(self), []
        while run := sorted(islice(entries, SORTED_AT_ONCE), key=order):
            runs.append(EntriesOnDisk(self._beside(), run))
        ordered = EntriesOnDisk(self._beside(), heapq.merge(*runs, key=order))
        for each in runs:
            each.remove()
        return ordered

    def remove(self) -> None:
        """Remove the file."""
        self._path.unlink()

    def _beside(self) -> Path:
        return self._path.with_name(f"{self._path.name}-{next(self._file_numbers)}")


def changed(entries: Sequence[ManifestEntry], change: Change) -> Sequence[ManifestEntry]:
    """Return the entries as they are after `change`, in memory or on disk as they were."""
    return entries.changed(change) if isinstance(entries, EntriesOnDisk) else [*starmap(change, enumerate(entries))]


def ordered(entries: Sequence[ManifestEntry]) -> Sequence[ManifestEntry]:
    """Return the entries in the order of a manifest, in memory or on disk as they were."""
    return entries.ordered() if isinstance(entries, EntriesOnDisk) else sorted(entries, key=order)


def _entries_of(path: Path) -> Iterator[ManifestEntry]:
    shared: dict[tuple[Any, ...], Any] = {}
    with path.open("rb") as file:
        for line in file:
            yield entry_of(orjson.loads(line), shared)
