"""`labels.csv`: what it says of each file, and what is wrong with it.

UTF-8, with the header `file,label`, `file,labels` or `file,value`, and then `split` and `group` in any order or not at
all. `labels` are separated by `;` or `|`, and may be none; a `value` is a number from -1e30 to 1e30 with a decimal
point; images of one `group` (a patient, a place, a day) stay together in one split. Files are named relative to the
table's folder.
"""

import csv
import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from models_store.dataset_checks import Check
from models_store.spec.facts import Target
from models_store.split_names import CANONICAL, splits_of

TARGETS: dict[str, Target] = {"label": "class", "labels": "labels", "value": "number"}  # by column
OPTIONAL = ("split", "group")
ALLOWED = "allowed are file,label or file,labels or file,value, each with split and group or without"
SPARE_ROWS = 1000  # of a table, beyond two for each image: more can't be meant, and would be kept in memory
LONGEST_LABEL = 200
MOST_LABELS = 1000  # of one image
LARGEST_VALUE = 1e30  # what is calculated with it stays within float32


class TableUnreadable(Exception):
    """The table of labels is no table, or another one."""


@dataclass(frozen=True)
class Unfit:
    """A cell that is no number, or one too large."""

    text: str


Given = str | tuple[str, ...] | float | Unfit
"""what a row has: a class, labels, a number, or what should have been one"""


@dataclass(frozen=True)
class Row:
    """What the table says of a file; `target` is of the table's kind."""

    file: str
    target: Given
    split: str
    group: str

    @property
    def names(self) -> tuple[str, ...]:
        """Return the classes or labels that the row names."""
        if isinstance(self.target, tuple):
            return self.target
        return (self.target,) if isinstance(self.target, str) else ()


@dataclass(frozen=True)
class Table:
    """A table as it was read: the row that counts for each file, and the findings."""

    target: Target
    rows: dict[str, Row]
    checks: list[Check]


def read(path: Path, folder: str, *, images: int) -> Table:
    """Return the table at `path`, whose files are relative to `folder` ("" or with a `/` at its end).

    Raises:
        TableUnreadable: if it is no such table, or has far more rows than there are `images`.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            columns = _columns([name.strip().lower() for name in next(reader, [])])
            numbered = ((reader.line_num, cells) for cells in reader)
            rows = _bounded(_rows(numbered, columns, folder), images=images)
    except UnicodeDecodeError as error:
        raise TableUnreadable(f"byte {error.start} is not UTF-8; save it as UTF-8") from error
    except csv.Error as error:
        raise TableUnreadable(f"{error}") from error
    target = TARGETS[columns[1]]
    checks, chosen = _check_rows(rows, target)
    return Table(target, chosen, checks)


def label_of(raw: str) -> str:
    """Return a class's or label's name as it is kept."""
    return unicodedata.normalize("NFC", raw).strip()


def is_fit(label: str) -> bool:
    """Return whether a class, label or group may be called so."""
    return 0 < len(label) <= LONGEST_LABEL and label.isprintable()


def _columns(header: list[str]) -> list[str]:
    rest = header[2:]
    known = header[:1] == ["file"] and len(header) > 1 and header[1] in TARGETS
    if not known or len(set(rest)) < len(rest) or not set(rest) <= set(OPTIONAL):
        raise TableUnreadable(f"its header is {','.join(header)[:200] or 'nothing'}; {ALLOWED}")
    return header


def _rows(lines: Iterator[tuple[int, list[str]]], columns: list[str], folder: str) -> Iterator[Row]:
    parsers: dict[str, Callable[[str], Given]] = {"label": label_of, "labels": _labels, "value": _value}
    parse = parsers[columns[1]]
    for number, cells in lines:
        if not cells:
            continue
        if len(cells) != len(columns):
            raise TableUnreadable(f"line {number} has {len(cells)} cells, the header {len(columns)}")
        given = dict(zip(columns, (cell.strip() for cell in cells), strict=True))
        relative = "/".join(part for part in given["file"].replace("\\", "/").split("/") if part not in {"", "."})
        yield Row(
            file=unicodedata.normalize("NFC", folder + relative),
            target=parse(given[columns[1]]),
            split=given.get("split", ""),
            group=label_of(given.get("group", "")),
        )


def _labels(cell: str) -> tuple[str, ...]:
    return tuple(sorted({label_of(part) for part in re.split("[;|]", cell)} - {""}))


def _value(cell: str) -> float | Unfit:
    try:
        value = float("nan" if "_" in cell else cell)  # Python reads 1_000 as a number; nobody else does
    except ValueError:
        return Unfit(cell)
    return value + 0.0 if math.isfinite(value) and abs(value) <= LARGEST_VALUE else Unfit(cell)  # + 0.0: no -0.0


def _bounded(rows: Iterator[Row], *, images: int) -> list[Row]:
    most = 2 * images + SPARE_ROWS
    taken = list(islice(rows, most + 1))
    if len(taken) > most:
        raise TableUnreadable(f"it has more than {most} rows for {images} images; one row each is enough")
    return taken


def _check_rows(rows: Sequence[Row], target: Target) -> tuple[list[Check], dict[str, Row]]:
    """Return the findings, and file → the row that counts."""
    by_file: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_file[row.file].append(row)
    repeated = sorted(file for file, group in by_file.items() if len(group) > 1 and len(set(group)) == 1)
    contradicting = sorted(file for file, group in by_file.items() if len(set(group)) > 1)
    splits = splits_of({row.split for row in rows} - {""})
    unknown = sorted({row.file for row in rows if row.split and row.split not in splits})
    names = ", ".join(sorted({row.split for row in rows} - set(splits) - {""})[:5])
    found: list[tuple[str, str, list[str]]] = [
        (
            "labels_csv_contradicts_itself",
            "labels.csv has different rows for one file; keep one of them",
            contradicting,
        ),
        (
            "labels_csv_unknown_split",
            f"labels.csv has splits named {names}; allowed are {', '.join(CANONICAL)}, or none at all",
            unknown,
        ),
        (
            "labels_csv_split_missing",
            "labels.csv gives some rows a split and others none; fill all, or none",
            _without([(row.file, row.split) for row in rows]),
        ),
        (
            "labels_csv_group_missing",
            "labels.csv gives some rows a group and others none; fill all (one image may be a group), or none",
            _without([(row.file, row.group) for row in rows]),
        ),
        (
            "labels_csv_group_unfit",
            f"labels.csv has groups that are longer than {LONGEST_LABEL} characters or not printable",
            sorted({row.file for row in rows if row.group and not is_fit(row.group)}),
        ),
        (
            "labels_csv_too_many_labels",
            f"labels.csv gives some files more than {MOST_LABELS} labels",
            sorted({row.file for row in rows if len(row.names) > MOST_LABELS}),
        ),
        (
            "labels_csv_label_unfit",
            f"labels.csv has labels that are empty, longer than {LONGEST_LABEL} characters or not printable",
            sorted({row.file for row in rows if not all(map(is_fit, row.names))}),
        ),
    ]
    checks = [Check(name, "error", message, files) for name, message, files in found if files]
    checks += _check_values(rows) if target == "number" else []
    if repeated:
        message = "labels.csv lists some files more than once, always alike; each counts once"
        checks.append(Check("labels_csv_repeated_rows", "warning", message, repeated))
    return checks, {file: replace(group[0], split=splits.get(group[0].split, "")) for file, group in by_file.items()}


def _check_values(rows: Sequence[Row]) -> list[Check]:
    unfit = {row.file: row.target.text for row in rows if isinstance(row.target, Unfit)}
    if not unfit:
        return []
    allowed = f"from -{LARGEST_VALUE:.0e} to {LARGEST_VALUE:.0e}".replace("e+", "e")
    message = f"labels.csv has values that are no numbers {allowed}; write them with a decimal point, as 3.5 or 1e-3"
    reasons = {file: f"the value is {text[:50]!r}, and not a number {allowed}" for file, text in unfit.items()}
    return [Check("labels_csv_value_unfit", "error", message, sorted(unfit), reasons)]


def _without(cells: Sequence[tuple[str, str]]) -> list[str]:
    """Return the files whose cell is empty, where others' are filled."""
    return sorted({file for file, cell in cells if not cell}) if any(cell for _, cell in cells) else []
