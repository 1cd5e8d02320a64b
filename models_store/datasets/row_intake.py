"""Intake of tables whose rows are examples: each row inspected once, its bytes kept once.

    tables ─► rows ─► inspected ─► entries on disk · bytes in one file · sketches in another ─► content

Memory: some 40 bytes for each row.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from models_store.archives.rules import Limits, too_many
from models_store.datasets.entries_on_disk import EntriesOnDisk, changed
from models_store.datasets.example import Inspected
from models_store.datasets.example_tables import ExampleRow
from models_store.datasets.findings import RowFindings
from models_store.datasets.manifest import ManifestEntry
from models_store.datasets.near_copies import SKETCH_BYTES, Sketches
from models_store.datasets.report import Check, Severity
from models_store.datasets.row_sources import Opened, Source, opened, refusal
from models_store.datasets.row_spool import RowSpool
from models_store.datasets.split_names import CANONICAL, check_readings, splits_of
from models_store.datasets.table import (
    LARGEST_VALUE,
    MOST_LABELS,
    Unfit,
    lists_as_labels,
    separator_within,
)
from models_store.datasets.table_lines import Encoding, TableRefused
from models_store.names import fault
from models_store.settings import Settings
from models_store.spec.facts import Target
from models_store.tasks.task import Contract

MOST_IN_MEMORY = 50_000
"""entries that are kept as a list, half a kilobyte each, which is faster than on disk"""
MOST_NAMES = 100_000  # classes or labels of all rows
MOST_SPLITS = 100  # spellings of them
NUMBER = f"a number from -{LARGEST_VALUE:.0e} to {LARGEST_VALUE:.0e}".replace("e+", "e")
FAULTS: dict[str, tuple[Severity, str, str]] = {
    "label_missing": (
        "error",
        "row has nothing that is to be learned; fill it, or remove the row",
        "rows have nothing that is to be learned; fill them, or remove the rows",
    ),
    "label_unfit": ("error", "row has a class or label that can't be called so", "rows have such names"),
    "too_many_labels": (
        "error",
        f"row has more than {MOST_LABELS} labels",
        f"rows have more than {MOST_LABELS} labels",
    ),
    "value_unfit": ("error", f"row has a value that is not {NUMBER}", f"rows have values that are not {NUMBER}"),
    "group_unfit": ("error", "row has a group that can't be called so", "rows have groups that can't be called so"),
}
MISSING: dict[str, tuple[Severity, str, str]] = {
    "split_missing": (
        "error",
        "row has no split, and others have; fill all, or none",
        "rows have no split, and others have; fill all, or none",
    ),
    "group_missing": (
        "error",
        "row has no group, and others have; fill all (a group may be one row), or none",
        "rows have no group, and others have; fill all (a group may be one row), or none",
    ),
}


@dataclass
class RowIntake:
    """The rows of all tables, as entries without their final splits, and the bytes of each."""

    target: Target
    entries: Sequence[ManifestEntry]
    classes: list[str]
    undecodable: Check | None
    checks: list[Check]
    sketches: Sketches | None
    """of the entries; None: the task looks for no near copies"""
    spool: RowSpool
    """the bytes of the entries"""

    def write_content(self, path: Path) -> Path:
        """Write the content: a stored zip with one member for each different content."""
        return self.spool.write_content(path, (entry.member for entry in self.entries))


def take_rows(
    contract: Contract, sources: Mapping[str, Source], staging: Path, *, settings: Settings, encoding: Encoding
) -> RowIntake:
    """Read all tables into the folder `staging`.

    Raises:
        DatasetUnusable: if a table can't be read.
        TooManyMembers: if there are more rows than a dataset may have examples.
    """
    read = opened(contract, sources, encoding)
    with ExitStack() as stack:
        reading = _Reading(contract, staging, stack, settings=settings)
        written = EntriesOnDisk(staging / "entries.bin", _entries(reading, read, sources, encoding))
    tables, findings = {name: source.path for name, source in sources.items()}, reading.findings
    known, target = splits_of(reading.splits), read.target
    entries: Sequence[ManifestEntry] = [*written] if len(written) <= MOST_IN_MEMORY else written
    if any(known.get(split) != split for split in reading.splits):
        entries = changed(entries, lambda _, entry: replace(entry, split=known.get(entry.split, "")))
    missing = {f"{name}_missing": MISSING[f"{name}_missing"] for name, count in reading.given.items() if count}
    undecodable: dict[str, tuple[Severity, str, str]] = {"undecodable": ("error", contract.example, contract.examples)}
    return RowIntake(
        target,
        entries,
        sorted(reading.classes),
        next(findings.checks(undecodable, tables, encoding), None),
        [
            *read.checks,
            *findings.checks(FAULTS | missing, tables, encoding),
            *_check_splits(reading.splits, known),
            *(_check_separator(reading.alone) if target == "labels" else ()),
        ],
        reading.sketches(),
        reading.spool,
    )


def _entries(
    reading: "_Reading", read: Opened, sources: Mapping[str, Source], encoding: Encoding
) -> Iterator[ManifestEntry]:
    for name, table in read.tables.items():
        try:
            for row in table.rows:
                if (entry := reading.take(name, row, split=sources[name].split)) is not None:
                    yield entry
        except TableRefused as error:
            raise refusal(error, name, sources[name], encoding) from error


def _check_splits(given: Mapping[str, str], known: Mapping[str, str]) -> list[Check]:
    unknown = {row: f"{split[:50]!a} is no split" for split, row in given.items() if split not in known}
    if not unknown:
        return check_readings(known)
    names = ", ".join(f"{split[:50]!a}" for split in sorted(given) if split not in known)
    message = f"splits are named {names[:200]}; allowed are {', '.join(CANONICAL)}, or none at all"
    return [Check("split_unknown", "error", message, sorted(unknown), unknown)]


def _check_separator(alone: Mapping[str, str]) -> Iterator[Check]:
    """Look for lists of labels among those that stand alone in a cell; each has the first row that it does so in."""
    if (separator := separator_within(alone)) is not None:
        listed = {label: row for label, row in alone.items() if separator in label}
        label, row = next(iter(listed.items()))
        message = f"the table {lists_as_labels(separator, label, row)}"
        yield Check("labels_separator", "warning", message, [*listed.values()])


class _Reading:
    """The rows that were read so far."""

    def __init__(self, contract: Contract, staging: Path, stack: ExitStack, *, settings: Settings) -> None:
        self.spool = stack.enter_context(RowSpool(staging / "rows.bin"))
        self.findings, self.given = RowFindings(), Counter[str]()
        self.classes: set[str] = set()
        self.splits: dict[str, str] = {}  # a spelling → the row that has it first
        self.alone: dict[str, str] = {}  # a label that is the only one of a row → the first such row
        self._contract, self._settings = contract, settings
        self._sketch_path = staging / "sketches.bin"
        self._sketched = stack.enter_context(self._sketch_path.open("wb"))
        self._budget = contract.budget(settings.upload_max_bytes)
        self._rows = 0

    def take(self, table: str, row: ExampleRow, *, split: str) -> ManifestEntry | None:
        """Return the row's entry; None: it can't be decoded, or nothing can be learned of it."""
        self._rows += 1
        if self._rows > self._settings.dataset_max_files:
            raise too_many(Limits(self._settings.dataset_max_files, self._settings.unpacked_max_bytes))
        data, inspected = self._inspected(row)
        if isinstance(inspected, str):
            self.findings.add("undecodable", table, row.line, inspected)
            return None
        if (wrong := self._wrong(row)) is not None:
            self.findings.add(wrong[0], table, row.line, wrong[1])
            return None
        sha256 = self.spool.add(data)
        self._sketched.write(inspected.sketch)
        entry = ManifestEntry(
            file=f"{table}:{row.line}",
            member=f"{sha256}.{inspected.suffix}",
            label=row.target if isinstance(row.target, str) else "",
            split=row.split or split,
            sha256=sha256,
            facts={**inspected.facts, **row.facts} if row.facts else inspected.facts,
            group=row.group,
            labels=row.target if isinstance(row.target, tuple) else (),
            value=row.target if isinstance(row.target, float) else None,
            alike=inspected.alike,
        )
        self._note(entry, table, row)
        return entry

    def sketches(self) -> Sketches | None:
        """Return those of all entries, as mapped memory."""
        count = len(self.spool)
        if not count or self._sketch_path.stat().st_size != count * SKETCH_BYTES:
            return None
        return np.memmap(self._sketch_path, np.uint32, "r", shape=(count, SKETCH_BYTES // 4))

    def _inspected(self, row: ExampleRow) -> tuple[bytes, Inspected | str]:
        try:
            data = row.example.encode()
        except UnicodeEncodeError as error:
            return b"", f"character {error.start + 1} is half of a surrogate pair, which stands for nothing"
        most = self._contract.most_bytes(self._settings)
        if len(data) > most:
            return b"", f"{len(data)} bytes; at most {most} are allowed for one {self._contract.example}"
        return data, self._contract.inspect(data, settings=self._settings, budget=self._budget)

    def _wrong(self, row: ExampleRow) -> tuple[str, str] | None:
        """Return the check that finds something wrong with a row, and what it is."""
        if row.target is None:
            return "label_missing", "there is no class, label or number"
        if isinstance(row.target, Unfit):
            return "value_unfit", f"the value is {row.target.text[:50]!r}, and not {NUMBER}"
        names = row.target if isinstance(row.target, tuple) else (row.target,) if isinstance(row.target, str) else ()
        if len(names) > MOST_LABELS:
            return "too_many_labels", f"it has {len(names)} labels"
        for name in names:
            if name not in self.classes and (why := fault(name)) is not None:
                return "label_unfit", f"{name[:50]!a} {why}"
        if row.group and (why := fault(row.group)) is not None:
            return "group_unfit", f"{row.group[:50]!a} {why}"
        return None

    def _note(self, entry: ManifestEntry, table: str, row: ExampleRow) -> None:
        self.classes.update(entry.names)
        if len(entry.labels) == 1:
            self.alone.setdefault(entry.labels[0], entry.file)
        if len(self.classes) > MOST_NAMES:
            message = f"there are more than {MOST_NAMES} classes or labels; keep the most frequent"
            raise TableRefused("too_many_classes", message, line=row.line)
        for name, cell in (("split", entry.split), ("group", entry.group)):
            if cell:
                self.given[name] += 1
            else:
                self.findings.add(f"{name}_missing", table, row.line, f"there is no {name}")
        if entry.split and entry.split not in self.splits:
            self.splits[entry.split] = entry.file
        if len(self.splits) > MOST_SPLITS:
            message = f"`split` has more than {MOST_SPLITS} different cells; allowed are {', '.join(CANONICAL)}"
            raise TableRefused("split_unknown", message, line=row.line)
