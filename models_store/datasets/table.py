"""`labels.csv`: the label of each file, and the table's errors by file and line.

UTF-8, with the header `file,label`, `file,labels` or `file,value`, and then `split` and `group` in any order or not at
all. Cells are separated by commas, semicolons (Excel's export in most of Europe) or tabs; empty rows at its end, and
empty columns, are passed over. `labels` are separated by `;` or `|`, and may be none; a `value` is a number from -1e30
to 1e30 with a decimal point (or a comma, where that separates no cells); examples of one `group` (a patient, a place, a
day) stay together in one split. Files are named relative to the table's folder.
"""

import csv
import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TextIO

from models_store.datasets.report import Check
from models_store.datasets.split_names import CANONICAL, check_readings, split_of, splits_of
from models_store.names import fault
from models_store.spec.facts import Target
from models_store.wording import counted

TARGETS: dict[str, Target] = {"label": "class", "labels": "labels", "value": "number"}  # by column
OPTIONAL = ("split", "group")
ALLOWED = (
    "allowed are file,label or file,labels or file,value, each with split and group or without; separated by commas, "
    "semicolons or tabs"
)
SEPARATORS = (",", ";", "\t")
SUSPECTS = (",", "/", "+", "&", "\t", " ")
"""what others put between labels, in the order in which it is looked for"""
SPARE_ROWS = 1000  # of a table, beyond two for each file: more can't be meant, and would be kept in memory
MOST_LABELS = 1000  # of one example
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
    line: int = field(compare=False)

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


def read(path: Path, folder: str, *, files: int) -> Table:
    """Return the table at `path`, whose files are relative to `folder` ("" or with a `/` at its end).

    Raises:
        TableUnreadable: if it is no such table, or has far more rows than there are `files`.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            separator, skipped = _separator(file)
            reader = csv.reader(file, strict=True, delimiter=separator)
            header = [name.strip().lower() for name in next(reader, [])]
            columns = _columns(_without_empty_end(header, least=0))
            numbered = ((reader.line_num + skipped, cells) for cells in reader)
            rows = _bounded(_rows(numbered, columns, folder, separator=separator), files=files)
    except UnicodeDecodeError as error:
        encoded = "it is UTF-16" if path.read_bytes()[:2] in {b"\xff\xfe", b"\xfe\xff"} else "it is not UTF-8"
        raise TableUnreadable(f"{encoded} (byte {error.start}); save it as UTF-8") from error
    except csv.Error as error:
        raise TableUnreadable(f"line {reader.line_num}: {error}") from error
    target = TARGETS[columns[1]]
    checks, chosen = _check_rows(rows, target)
    return Table(target, chosen, checks)


def split_of_table(file_name: str) -> str | None:
    """Return which split a file of this name is the table of, "" for all; None if it is no table's name.

    `labels.csv` is for all; `train.csv`, `test_labels.csv` and the like are for one.
    """
    stem, _, suffix = file_name.lower().rpartition(".")
    if suffix not in {"csv", "tsv"}:
        return None
    rest = re.sub(r"labels?", " ", stem).strip(" _-.")
    return split_of(rest) if rest else "" if stem == "labels" else None


def joined(tables: Mapping[str, tuple[str, Table]]) -> Table:
    """Return several tables as one; `tables` are by name, each with the split of its rows that give none.

    Raises:
        TableUnreadable: if they are of different kinds.
    """
    targets = {table.target for _, table in tables.values()}
    if len(targets) > 1:
        raise TableUnreadable("the tables of the splits don't have the same columns; give all of them the same")
    rows: dict[str, Row] = {}
    checks: list[Check] = []
    twice: set[str] = set()
    for split, table in tables.values():
        twice |= set(rows) & set(table.rows)
        rows |= {file: replace(row, split=row.split or split) for file, row in table.rows.items()}
        checks += table.checks
    if twice:
        message = f"files are listed in more than one of {', '.join(tables)}; keep each in one"
        checks.append(Check("labels_csv_contradicts_itself", "error", message, sorted(twice)))
    return Table(targets.pop(), rows, checks)


def label_of(raw: str) -> str:
    """Return a class's or label's name as it is kept."""
    return unicodedata.normalize("NFC", raw).strip()


def parser_of(column: str, *, separator: str) -> Callable[[str], Given]:
    """Return what reads the cells of one of the columns in TARGETS, where cells are separated by `separator`."""
    parsers: dict[str, Callable[[str], Given]] = {
        "label": label_of,
        "labels": _labels,
        "value": _value if separator == "," else _value_with_a_comma,
    }
    return parsers[column]


def separator_of(header: str) -> str:
    """Return what separates the cells of a header."""
    return max(SEPARATORS, key=header.count)


def _columns(header: list[str]) -> list[str]:
    rest = header[2:]
    known = header[:1] == ["file"] and len(header) > 1 and header[1] in TARGETS
    if not known or len(set(rest)) < len(rest) or not set(rest) <= set(OPTIONAL):
        raise TableUnreadable(f"its header is {','.join(header)[:200] or 'nothing'}; {ALLOWED}")
    return header


def _separator(file: TextIO) -> tuple[str, int]:
    """Return what separates the cells, and how many lines are before the header, where the file stands afterwards."""
    first = file.readline()
    hint = re.fullmatch(r"sep=(.)\s*", first)  # Excel's own, before the header
    if hint is not None:
        return hint[1], 1
    file.seek(0)
    return separator_of(first), 0


def _without_empty_end(cells: list[str], *, least: int) -> list[str]:
    """Return the cells without the empty ones at their end, but for the first `least`."""
    end = len(cells)
    while end > least and not cells[end - 1].strip():
        end -= 1
    return cells[:end]


def _rows(lines: Iterator[tuple[int, list[str]]], columns: list[str], folder: str, *, separator: str) -> Iterator[Row]:
    parse = parser_of(columns[1], separator=separator)
    for number, all_cells in lines:
        cells = _without_empty_end(all_cells, least=len(columns))
        if not any(map(str.strip, cells)):
            continue
        if len(cells) != len(columns):
            raise TableUnreadable(f"line {number} has {counted(len(cells), 'cell')}, the header {len(columns)}")
        given = dict(zip(columns, (cell.strip() for cell in cells), strict=True))
        relative = "/".join(part for part in given["file"].replace("\\", "/").split("/") if part not in {"", "."})
        yield Row(
            file=unicodedata.normalize("NFC", folder + relative),
            target=parse(given[columns[1]]),
            split=given.get("split", ""),
            group=label_of(given.get("group", "")),
            line=number,
        )


def _labels(cell: str) -> tuple[str, ...]:
    return tuple(sorted({label_of(part) for part in re.split("[;|]", cell)} - {""}))


def _value_with_a_comma(cell: str) -> float | Unfit:
    """Return the number in a cell of a table whose cells no comma separates: 3,5 is 3.5."""
    return _value(cell.replace(",", ".", 1) if "." not in cell else cell)


def _value(cell: str) -> float | Unfit:
    try:
        value = float("nan" if "_" in cell else cell)  # Python reads 1_000 as a number; nobody else does
    except ValueError:
        return Unfit(cell)
    return value + 0.0 if math.isfinite(value) and abs(value) <= LARGEST_VALUE else Unfit(cell)  # + 0.0: no -0.0


def _bounded(rows: Iterator[Row], *, files: int) -> list[Row]:
    most = 2 * files + SPARE_ROWS
    taken = list(islice(rows, most + 1))
    if len(taken) > most:
        raise TableUnreadable(
            f"it has more than {counted(most, 'row')} for {counted(files, 'file', 'files')}; one row each is enough"
        )
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
    lines = {file: " and ".join(f"line {row.line}" for row in group[:2]) for file, group in by_file.items()}
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
            "labels.csv gives some rows a group and others none; fill all (a group may be one file), or none",
            _without([(row.file, row.group) for row in rows]),
        ),
        (
            "labels_csv_group_unfit",
            f"labels.csv has groups that can't be called so{_first_fault(row.group for row in rows if row.group)}",
            sorted({row.file for row in rows if row.group and fault(row.group)}),
        ),
        (
            "labels_csv_too_many_labels",
            f"labels.csv gives some files more than {MOST_LABELS} labels",
            sorted({row.file for row in rows if len(row.names) > MOST_LABELS}),
        ),
        (
            "labels_csv_label_unfit",
            f"labels.csv has labels that can't be called so{_first_fault(name for row in rows for name in row.names)}",
            sorted({row.file for row in rows if any(map(fault, row.names))}),
        ),
    ]
    checks = [
        Check(name, "error", message, files, {file: f"{lines[file]}: {message}" for file in files})
        for name, message, files in found
        if files
    ]
    checks += check_readings(splits)
    checks += _check_values(rows) if target == "number" else []
    checks += _check_separator(rows) if target == "labels" else []
    if repeated:
        message = "labels.csv lists some files more than once, always alike; each counts once"
        reasons = {file: lines[file] for file in repeated}
        checks.append(Check("labels_csv_repeated_rows", "warning", message, repeated, reasons))
    return checks, {file: replace(group[0], split=splits.get(group[0].split, "")) for file, group in by_file.items()}


def _first_fault(given: Iterable[str]) -> str:
    return next((f": {name[:50]!a} {wrong}" for name in given if (wrong := fault(name))), "")


def _check_values(rows: Sequence[Row]) -> list[Check]:
    unfit = {row.file: (row.line, row.target.text) for row in rows if isinstance(row.target, Unfit)}
    if not unfit:
        return []
    allowed = f"from -{LARGEST_VALUE:.0e} to {LARGEST_VALUE:.0e}".replace("e+", "e")
    message = f"labels.csv has values that are no numbers {allowed}; write them with a decimal point, as 3.5 or 1e-3"
    reasons = {
        file: f"line {line}: the value is {text[:50]!r}, and not a number {allowed}"
        for file, (line, text) in unfit.items()
    }
    return [Check("labels_csv_value_unfit", "error", message, sorted(unfit), reasons)]


def _check_separator(rows: Sequence[Row]) -> list[Check]:
    """Look for lists of labels that another character separates: each list would be a label of its own."""
    single = [row for row in rows if len(row.names) == 1]
    if (suspect := separator_within({row.names[0] for row in single})) is None:
        return []
    listed = [row for row in single if suspect in row.names[0]]
    message = f"labels.csv {lists_as_labels(suspect, listed[0].names[0], f'line {listed[0].line}')}"
    reasons = {row.file: f"line {row.line}" for row in listed}
    return [Check("labels_csv_separator", "warning", message, sorted(reasons), reasons)]


def separator_within(labels: Iterable[str]) -> str | None:
    """Return what seems to separate labels within others, which stand alone in their cells; None: nothing does."""
    known = set(labels)
    for suspect in SUSPECTS:
        lists = {label: {label_of(part) for part in label.split(suspect)} - {""} for label in known}
        times = Counter(part for parts in lists.values() for part in parts)
        inside = {part for parts in lists.values() if len(parts) > 1 for part in parts}
        recurring = sum(times[part] > 1 for part in inside)
        if inside and 2 * recurring > len(inside):
            return suspect
    return None


def lists_as_labels(separator: str, label: str, place: str) -> str:
    """Return what is said of such labels, one of which stands at a place."""
    named = "a tab" if separator == "\t" else "a space" if separator == " " else f"`{separator}`"
    return (
        f"may hold lists of labels separated by {named}, each of which was read as one label "
        f"(as {label[:50]!r} in {place}): labels are separated by `;` or `|`"
    )


def _without(cells: Sequence[tuple[str, str]]) -> list[str]:
    """Return the files whose cell is empty, where others' are filled."""
    return sorted({file for file, cell in cells if not cell}) if any(cell for _, cell in cells) else []
