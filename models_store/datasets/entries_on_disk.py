"""Entries of a manifest on disk: a sequence that keeps eight bytes of memory for each.

A table of millions of rows is checked, split and sorted in it as a list of entries is. Its file lives as long as the
process, and is read dozens of times: `marshal` is several times as fast as JSON.
"""

import heapq
import marshal
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count, islice, starmap
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from models_store.datasets.manifest import Facts, ManifestEntry, order

if TYPE_CHECKING:
    Numbers = array[int]
else:
    Numbers = array  # subscripted from Python 3.12 on

Change = Callable[[int, ManifestEntry], ManifestEntry]
"""place in the sequence, entry → the entry that takes its place"""
SharedFacts = dict[tuple[tuple[str, Any], ...], Facts]
MOST_SHARED = 20_000
WITHOUT_REFERENCES = 2
"""version of marshal's format that does not look for equal parts"""
SORTED_AT_ONCE = 20_000
"""entries that are sorted in memory, before the runs are merged"""


class EntriesOnDisk(Sequence[ManifestEntry]):
    """Entries in a file, one record after the other."""

    def __init__(self, path: Path, entries: Iterable[ManifestEntry]) -> None:
        self._path = path
        self._ends = array("Q")
        self._file_numbers = count()
        position = 0
        with path.open("wb") as file:
            for entry in entries:
                position += file.write(_record_of(entry))
                self._ends.append(position)

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self._ends)

    def __iter__(self) -> Iterator[ManifestEntry]:
        """Yield the entries in their order."""
        shared: SharedFacts = {}
        with self._path.open("rb") as file:
            start = 0
            for end in self._ends:
                yield _entry_of(file.read(end - start), shared)
                start = end

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
                start = self._ends[place - 1] if place else 0
                file.seek(start)
                found.append(_entry_of(file.read(self._ends[place] - start), {}))
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


def _record_of(entry: ManifestEntry) -> bytes:
    own = (
        entry.file,
        entry.member,
        entry.label,
        entry.split,
        entry.sha256,
        entry.group,
        entry.labels,
        entry.value,
        entry.alike,
        entry.kin,
        entry.leaked,
    )
    return marshal.dumps((own, (*entry.facts.items(),)), WITHOUT_REFERENCES)


def _entry_of(record: bytes, shared: SharedFacts) -> ManifestEntry:
    """Return the entry of a record; of equal facts the first are kept in `shared`, and used for all."""
    (file, member, label, split, sha256, *others), items = marshal.loads(record)  # noqa: S302  the process's own file
    if (facts := shared.get(items)) is None:
        if len(shared) == MOST_SHARED:
            shared.clear()
        facts = shared[items] = dict(items)
    return ManifestEntry(file, member, label, split, sha256, facts, *others)
