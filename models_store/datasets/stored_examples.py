"""Examples of a stored dataset: one index for each dataset, pages and filters over it, and the bytes of each example.

The manifest and the directory of the zip are read once; some 30 bytes for each example stay in memory. After that, a
page takes only its own lines of the manifest, and an example only its own bytes of the zip, which is not compressed.

ExampleNotFound 404 · ClassNotFound 422 · FindingNotFound 422
"""

import difflib
import hashlib
import random
import threading
from array import array
from bisect import bisect_left
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from models_store.datasets import copies
from models_store.datasets.checks import check_entries
from models_store.datasets.manifest import SPLITS, ManifestEntry, entry_of, read_manifest
from models_store.datasets.report import MOST_NAMES
from models_store.datasets.store import Dataset
from models_store.datasets.stored_content import StoredContent, read_stored
from models_store.errors import Invalid, NotFound
from models_store.storage.blobs import BlobMissing, Blobs
from models_store.tasks.task import Contract

if TYPE_CHECKING:
    Numbers = array[int]
else:
    Numbers = array  # subscripted from Python 3.12 on

FINDINGS = (
    *copies.FINDINGS,
    "groups_across_splits",
    "values_far_away",
)
"""checks whose findings are examples of the dataset; a task, and a report, may have more of them"""
PREFIX = "img_"
MOST_ROWS = 2_000_000
"""examples that the indexes kept in memory may have, all together"""


class ExampleNotFound(NotFound):
    """The dataset has no example of this id."""

    code = "image_not_found"
    title = "No such example"


class ClassNotFound(Invalid):
    """The dataset has no class or label of this name."""

    code = "class_not_found"
    title = "No such class"


class FindingNotFound(Invalid):
    """There is no check of this name."""

    code = "finding_not_found"
    title = "No such finding"


@dataclass(frozen=True)
class StoredExample:
    """One example: its place in the manifest, what is known of it, and the checks that found it."""

    row: int
    entry: ManifestEntry
    size_bytes: int
    findings: tuple[str, ...]

    @property
    def id(self) -> str:
        """Return what names the example within its dataset; a dataset never changes, so this does not either."""
        return f"{PREFIX}{self.row}"


@dataclass(frozen=True)
class Index:
    """Where everything of a dataset is, by the row of its manifest."""

    lines: Numbers  # where each line begins
    splits: bytes  # place in SPLITS
    offsets: Numbers  # of the example's header in the zip
    sizes: Numbers
    classes: dict[str, Numbers]  # class or label → rows
    findings: dict[str, Numbers]  # check → rows


class StoredExamples:
    """The examples of stored datasets; the indexes of those asked for last stay in memory. Safe between threads."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._indexes: OrderedDict[tuple[str, str], Index] = OrderedDict()
        self._kept = threading.Lock()
        self._building = threading.Lock()  # one at a time: it takes a core for a second or so

    def page(
        self,
        dataset: Dataset,
        *,
        split: str | None = None,
        label: str | None = None,
        finding: str | None = None,
        limit: int = 20,
        after: int = -1,
    ) -> tuple[list[StoredExample], int | None]:
        """Return up to `limit` examples behind the row `after`, and the row that the next page comes after.

        Raises:
            ClassNotFound: if the dataset has no class or label of this name.
            FindingNotFound: if no check has this name.
            BlobMissing: if the dataset's files are lost.
        """
        index = self._index(dataset)
        wanted: list[Sequence[int]] = [range(len(index.lines))]
        if label is not None:
            wanted.append(_rows_of_class(index, label, dataset.contract))
        if finding is not None:
            wanted.append(_rows_of_finding(index, dataset, finding))
        found: list[int] = []
        rows, *others = sorted(wanted, key=len)
        for row in rows[bisect_left(rows, after + 1) :]:
            if (split is None or SPLITS[index.splits[row]] == split) and all(_has(each, row) for each in others):
                found.append(row)
                if len(found) > limit:
                    break
        examples = self._examples(dataset, index, found[:limit])
        return examples, found[limit - 1] if len(found) > limit else None

    def find(self, dataset: Dataset, example_id: str) -> StoredExample:
        """Return one example.

        Raises:
            ExampleNotFound: if there is none of this id.
            BlobMissing: if the dataset's files are lost.
        """
        index, number = self._index(dataset), example_id.removeprefix(PREFIX)
        if not number.isdigit() or str(int(number)) != number or int(number) >= len(index.lines):
            raise ExampleNotFound(
                f"dataset {dataset.id} has no {dataset.contract.example} {example_id!r}; "
                f"GET /datasets/{dataset.id}/images lists its {dataset.contract.examples}"
            )
        return self._examples(dataset, index, [int(number)])[0]

    def sample(self, dataset: Dataset, *, split: str, limit: int, seed: int) -> list[StoredExample]:
        """Return up to `limit` examples of a split, drawn at random; the same seed draws the same.

        Raises:
            BlobMissing: if the dataset's files are lost.
        """
        index = self._index(dataset)
        rows = [row for row, place in enumerate(index.splits) if SPLITS[place] == split]
        return self._examples(dataset, index, random.Random(seed).sample(rows, min(limit, len(rows))))

    def excerpt(self, dataset: Dataset, example: StoredExample) -> str | None:
        """Return the example's beginning; None where it can't be read as text.

        Raises:
            BlobMissing: if the dataset's files are lost or damaged.
        """
        contract = dataset.contract
        return None if contract.excerpt_characters is None else contract.excerpt(self.content(dataset, example))

    def content(self, dataset: Dataset, example: StoredExample) -> bytes:
        """Return the example's file, byte for byte as it was uploaded.

        Raises:
            BlobMissing: if the dataset's files are lost or damaged.
        """
        index = self._index(dataset)
        with self._blobs.local(dataset.content_blob).open("rb") as file:
            content = read_stored(file, index.offsets[example.row], example.size_bytes)
        if hashlib.sha256(content).hexdigest() != example.entry.sha256:
            raise BlobMissing(f"the stored file of {example.entry.file!r} is damaged; restore it from a backup")
        return content

    def _examples(self, dataset: Dataset, index: Index, rows: Iterable[int]) -> list[StoredExample]:
        found = []
        with self._blobs.local(dataset.manifest_blob).open("rb") as manifest:
            for row in rows:
                manifest.seek(index.lines[row])
                findings = tuple(name for name, rows_of in index.findings.items() if _has(rows_of, row))
                entry = entry_of(orjson.loads(manifest.readline()))
                found.append(StoredExample(row, entry, index.sizes[row], findings))
        return found

    def _index(self, dataset: Dataset) -> Index:
        if (index := self._known(dataset)) is not None:
            return index
        with self._building:
            if (index := self._known(dataset)) is not None:
                return index
            manifest, content = self._blobs.local(dataset.manifest_blob), self._blobs.local(dataset.content_blob)
            built = _built(manifest, content, dataset)
            with self._kept:
                self._indexes[dataset.manifest_blob, dataset.content_blob] = built
                while len(self._indexes) > 1 and sum(len(each.lines) for each in self._indexes.values()) > MOST_ROWS:
                    self._indexes.popitem(last=False)
            return built

    def _known(self, dataset: Dataset) -> Index | None:
        key = (dataset.manifest_blob, dataset.content_blob)
        with self._kept:
            index = self._indexes.get(key)
            if index is not None:
                self._indexes.move_to_end(key)
            return index


def _built(manifest: Path, content: Path, dataset: Dataset) -> Index:
    named = _named(dataset)
    lines, offsets, sizes, splits = array("Q"), array("Q"), array("Q"), bytearray()
    classes: defaultdict[str, Numbers] = defaultdict(lambda: array("I"))
    findings: defaultdict[str, Numbers] = defaultdict(lambda: array("I"))
    position = 0
    with manifest.open("rb") as file, StoredContent(content) as stored:
        for row, line in enumerate(file):
            entry = entry_of(orjson.loads(line))
            place = stored.place_of(entry.member)
            if place is None:
                raise BlobMissing(f"the stored file of {entry.file!r} is missing; restore it from a backup")
            offset, size_bytes = place
            lines.append(position)
            offsets.append(offset)
            sizes.append(size_bytes)
            splits.append(SPLITS.index(entry.split))
            for name in entry.names:
                classes[name].append(row)
            for check in {*named.get(entry.file, ()), *named.get(f"group {entry.group}", ())}:
                findings[check].append(row)
            position += len(line)
    cut = [check["check"] for check in dataset.report.get("checks", ()) if check["count"] > MOST_NAMES]
    cut_short = set(cut) & {*FINDINGS, *dataset.contract.findings}
    if cut_short:  # the report names the first of them alone
        findings.update(_looked_for_again(read_manifest(manifest), cut_short, [*classes], dataset.contract))
    return Index(lines, bytes(splits), offsets, sizes, dict(classes), dict(findings))


def _named(dataset: Dataset) -> dict[str, list[str]]:
    """Return file → the checks of the report that name it, and the same of `group …`."""
    named: defaultdict[str, list[str]] = defaultdict(list)
    for check in dataset.report.get("checks", ()):
        for file in _flat(check["files"]):
            named[f"group {file}" if check["check"] == "groups_across_splits" else file].append(check["check"])
    return named


def _looked_for_again(
    entries: list[ManifestEntry], names: set[str], classes: list[str], contract: Contract
) -> dict[str, Numbers]:
    of_copies = copies.places_of(entries) if names & {*copies.FINDINGS} else {}
    found = {name: array("I", np.flatnonzero(of_copies[name][0]).tolist()) for name in names & of_copies.keys()}
    for check in check_entries(entries, classes, contract):
        if check.check in names - of_copies.keys():
            files, by_group = set(_flat(check.files)), check.check == "groups_across_splits"
            rows = (row for row, entry in enumerate(entries) if (entry.group if by_group else entry.file) in files)
            found[check.check] = array("I", rows)
    return found


def _flat(names: Iterable[Any]) -> Iterable[str]:
    for name in names:
        yield from [name] if isinstance(name, str) else name


def _rows_of_class(index: Index, label: str, contract: Contract) -> Sequence[int]:
    if label in index.classes:
        return index.classes[label]
    close = difflib.get_close_matches(label[:100], index.classes, n=1, cutoff=0.5)
    there_are = ", ".join(sorted(index.classes)[:20]) or f"none: its {contract.examples} have numbers"
    hint = f"did you mean {close[0]!r}?" if close else f"there are {there_are}"
    raise ClassNotFound(f"the dataset has no class or label {label[:100]!r}; {hint}")


def _rows_of_finding(index: Index, dataset: Dataset, finding: str) -> Sequence[int]:
    known = {*FINDINGS, *dataset.contract.findings, *(check["check"] for check in dataset.report.get("checks", ()))}
    if finding not in known:
        raise FindingNotFound(
            f"no check is called {finding[:100]!r}; there are {', '.join(sorted(known))}, and GET "
            f"/datasets/{dataset.id}/report has what was found"
        )
    return index.findings.get(finding, ())


def _has(rows: Sequence[int], row: int) -> bool:
    if isinstance(rows, range):
        return row in rows
    place = bisect_left(rows, row)
    return place < len(rows) and rows[place] == row
