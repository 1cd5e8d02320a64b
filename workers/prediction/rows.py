"""Rows of examples on their way to a table: what is known of each, and its bytes, a batch at a time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from models_store.datasets.manifest import ManifestEntry, entries_of
from models_store.datasets.stored_content import StoredContent
from models_store.datasets.unlabelled import NOT_STORED

Truth = str | float | list[str]


@dataclass(frozen=True, slots=True)
class Row:
    """An example: its number in the dataset, and what is known of it; nothing but its file's name in an archive."""

    number: int
    file: str
    split: str | None
    truth: Truth | None
    data: bytes
    fault: str | None = None
    """why there are no bytes"""


def count(manifest: Path, *, split: str | None) -> int:
    """Return how many rows there are; `split` is None for all."""
    return sum(1 for entry in entries_of(manifest) if split is None or entry.split == split)


def truth_like(manifest: Path, *, split: str | None) -> Truth | None:
    """Return the truth of one row, which has the type of all; None: no row has any."""
    return next((entry.target for entry in entries_of(manifest) if entry.split and split in {None, entry.split}), None)


def read(manifest: Path, content: Path, *, split: str | None, size: int, start: int = 0) -> Iterator[list[Row]]:
    """Yield the rows in batches of `size`, in the order of the manifest; the first `start` are left out.

    Raises:
        BlobMissing: if an example's bytes are lost or damaged.
    """
    of_split = ((number, entry) for number, entry in enumerate(entries_of(manifest)) if split in {None, entry.split})
    entries = islice(of_split, start, None)
    with StoredContent(content) as stored:
        while batch := list(islice(entries, size)):
            yield [_row(number, entry, stored.read) for number, entry in batch]


def _row(number: int, entry: ManifestEntry, read: Callable[..., bytes]) -> Row:
    split, truth = (entry.split, entry.target) if entry.split else (None, None)
    if NOT_STORED in entry.facts:
        return Row(number, entry.file, split, truth, b"", str(entry.facts[NOT_STORED]))
    return Row(number, entry.file, split, truth, read(entry.member, sha256=entry.sha256))
