"""Tables whose rows are the examples: CSV, TSV, JSON Lines, and fastText's lines (`__label__name text`).

A contract's `column` names the cell that is the example; beside it is one of `label`, `labels` and `value`, as in
`labels.csv` (see `table`), and perhaps `split`, `group` and the contract's `fact_columns`. Others are passed over. A
table is read line by line: a row is found again by the line that it begins in.
"""

import csv
import itertools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from models_store.datasets.manifest import Facts
from models_store.datasets.table import TARGETS, Given, Unfit, label_of, parser_of, separator_of
from models_store.datasets.table_formats import Format
from models_store.datasets.table_lines import Encoding, Source, TableRefused, lines_of
from models_store.json_rules import unique_keys
from models_store.spec.facts import Target
from models_store.tasks.task import Contract
from models_store.wording import counted

Wanted = Literal["needed", "optional", "ignored"]
"""whether a table has to say what is learned of its examples"""
OPTIONAL = ("split", "group")
MOST_CELL_CHARACTERS = 1 << 20
FASTTEXT_LABEL = "__label__"
LINE_ENDS = (
    r"a carriage return (`\r`) stands alone in it; lines end in `\n` or `\r\n`, and a cell with other ends is quoted"
)


@dataclass(frozen=True, slots=True)
class ExampleRow:
    """A row of such a table; `target` is None where nothing is given."""

    line: int
    example: str
    target: Given | None
    split: str = ""
    group: str = ""
    facts: Facts = field(default_factory=dict)


@dataclass(frozen=True)
class ExampleTable:
    """A table that is being read: what its rows are to be learned for, and the columns that are passed over."""

    target: Target | None
    """None: there are examples alone"""
    rows: Iterator[ExampleRow]
    unused: Sequence[str] = field(default=())
    columns: Sequence[str] = field(default=())


def columns_of(path: Source, format_: Format, encoding: Encoding) -> list[str]:
    """Return the names of a table's columns, in lower case; of a table that can't be read, none."""
    if format_ == "fasttext":
        return []
    try:
        first = next(lines_of(path, encoding), "")
        if format_ == "jsonl":
            document = json.loads(first)
            return [*document] if isinstance(document, dict) else []
        return _header(lines_of(path, encoding), format_)[0]
    except (TableRefused, ValueError, csv.Error):
        return []


def read(
    path: Source, format_: Format, contract: Contract, *, encoding: Encoding, targets: Wanted = "needed"
) -> ExampleTable:
    """Return a table whose rows are examples of the contract's task; its rows are read as they are asked for.

    `targets` says whether what is learned has to be there; if it is not looked at, nor is any column but the examples'.

    Raises:
        TableRefused: if it can't be read, or lacks a column; rows raise it too.
    """
    readers = {"csv": _delimited, "tsv": _delimited, "jsonl": _json_lines, "fasttext": _fasttext}
    return readers[format_](path, format_, contract, encoding, targets)


def _delimited(path: Source, format_: Format, contract: Contract, encoding: Encoding, targets: Wanted) -> ExampleTable:
    csv.field_size_limit(MOST_CELL_CHARACTERS)
    lines = lines_of(path, encoding)
    header, separator, skipped = _header(lines, format_)
    target = _target(header, contract, targets)
    known = _known(target, contract, targets)
    places = {name: header.index(name) for name in known if name in header}
    parse = parser_of(target, separator=separator) if target else None
    rows = _cells(lines, separator, before=skipped, width=len(header))

    def read_rows() -> Iterator[ExampleRow]:
        for line, cells in rows:
            given = {name: cells[place] for name, place in places.items()}
            yield _row(line, given, contract, target, parse)

    unused = [name for name in header if name and name not in places]
    return ExampleTable(TARGETS[target] if target else None, read_rows(), unused, header)


def _header(lines: Iterator[str], format_: Format) -> tuple[list[str], str, int]:
    """Return the names of the columns, what separates the cells, and the number of lines that were read."""
    first, count, separator = next(lines, ""), 1, ""
    if hint := re.fullmatch(r"sep=(.)\s*", first):  # Excel's own, before the header
        first, count, separator = next(lines, ""), 2, hint[1]
    if "\0" in first:
        raise TableRefused(
            "wrong_encoding", "it has NUL characters: it is UTF-16, or no table; save it as UTF-8", line=count
        )
    if "\r" in first.rstrip("\r\n"):
        raise TableRefused("line_ends_wrong", LINE_ENDS, line=count)
    if not separator:
        separator = "\t" if format_ == "tsv" and "\t" in first else separator_of(first)
    names = [name.strip().lower() for name in next(csv.reader([first], delimiter=separator), [])]
    while names and not names[-1]:
        names.pop()
    return names, separator, count


def _cells(lines: Iterator[str], separator: str, *, before: int, width: int) -> Iterator[tuple[int, list[str]]]:
    """Yield the line that each row begins in, and its cells; empty rows are passed over."""
    reader = csv.reader(lines, strict=True, delimiter=separator)
    while True:
        line = before + reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise _broken(error, line, before + reader.line_num) from error
        if cells is None:
            return
        while len(cells) > width and not cells[-1].strip():
            cells.pop()
        if not cells or (width > 1 and not any(map(str.strip, cells))):
            continue  # of a single column, `""` is an empty example
        if len(cells) != width:
            message = f"it has {counted(len(cells), 'cell')}, the header {width}"
            message = f"{message}; put quotes around cells that have separators in them"
            raise TableRefused("wrong_cells", message, line=line)
        yield line, cells


def _broken(error: csv.Error, line: int, last: int) -> TableRefused:
    if "field limit" in str(error):
        code, what = "cell_too_large", f"a cell has more than {MOST_CELL_CHARACTERS} characters"
        if last > line:
            code, what = "quote_not_closed", f'{what} up to line {last}: a `"` in it may not be closed'
    elif "unexpected end" in str(error):
        code, what = "quote_not_closed", f'a `"` is opened in this row and never closed, up to the end in line {last}'
    elif "new-line character" in str(error):
        code, what = "line_ends_wrong", LINE_ENDS
    else:
        code, what = "quotes_wrong", f'{error} (line {last}): a `"` within a quoted cell is written twice, `""`'
    return TableRefused(code, what, line=line)


def _known(target: str | None, contract: Contract, targets: Wanted) -> tuple[str | None, ...]:
    """Return the columns that are read."""
    return (contract.column,) if targets == "ignored" else (contract.column, target, *OPTIONAL, *contract.fact_columns)


def _target(columns: Sequence[str], contract: Contract, targets: Wanted) -> str | None:
    """Return the column that is learned; None: there is none, and none is needed."""
    found = [] if targets == "ignored" else [name for name in TARGETS if name in columns]
    looked_at = {*_known(None, contract, targets), *found} - {None}
    twice = sorted(str(name) for name in looked_at if columns.count(str(name)) > 1)
    if contract.column not in columns:
        like = [name for name in columns if name.lower() in (contract.column, *contract.column_aliases)]
        hint = f"if `{like[0]}` is it, rename it to `{contract.column}`" if like else _allowed(contract)
        if like and targets == "needed" and not found and (of_target := _like_a_target(columns)):
            hint = f"{hint}, and `{of_target}` to `label`, `labels` or `value` if that is what is learned"
        raise TableRefused("column_missing", f"it has no column `{contract.column}` ({_shown(columns)}); {hint}")
    if twice:
        raise TableRefused("column_twice", f"the header has {', '.join(twice)} twice; keep one of each")
    if len(found) > 1:
        raise TableRefused("several_targets", f"it has the columns {' and '.join(found)}; keep what is to be learned")
    if not found and targets == "needed":
        meant = _like_a_target(columns)
        hint = (
            f"if `{meant}` is it, rename it to `label`, `labels` or `value`"
            if meant
            else "add `label` (one class), `labels` (any number, separated by `;` or `|`) or `value` (a number)"
        )
        raise TableRefused("label_missing", f"it has no column of what is learned ({_shown(columns)}); {hint}")
    return found[0] if found else None


def _like_a_target(columns: Sequence[str]) -> str | None:
    return next((name for name in columns if name.lower() in (*TARGETS, *TARGET_ALIASES)), None)


TARGET_ALIASES = (
    "target",
    "class",
    "category",
    "sentiment",
    "polarity",
    "emotion",
    "intent",
    "topic",
    "tag",
    "tags",
    "score",
    "rating",
    "y",
    "stars",
)


def _shown(columns: Sequence[str]) -> str:
    return f"it has {', '.join(columns)[:200]}" if columns else "it has none"


def _allowed(contract: Contract) -> str:
    allowed = f"{contract.column},label or {contract.column},labels or {contract.column},value"
    return f"the columns are named by its first line: {allowed}"


def _row(
    line: int, given: dict[str, str], contract: Contract, target: str | None, parse: Callable[[str], Given] | None
) -> ExampleRow:
    """Return a row of text cells; of nothing but labels may there be none."""
    cell = given.get(target, "").strip() if target else ""
    is_given = parse is not None and bool(cell or target == "labels")
    return ExampleRow(
        line,
        given[str(contract.column)],
        parse(cell) if parse is not None and is_given else None,
        given.get("split", "").strip(),
        label_of(given.get("group", "")),
        {name: cell for name in contract.fact_columns if (cell := given.get(name, "").strip())},
    )


def _json_lines(path: Source, _: Format, contract: Contract, encoding: Encoding, targets: Wanted) -> ExampleTable:
    documents = _documents(lines_of(path, encoding))
    first = next(documents, None)
    if first is None:
        raise TableRefused("table_empty", "it has no line")
    columns = [str(name) for name in first[1]]
    target = _target(columns, contract, targets)
    known = _known(target, contract, targets)

    def read_rows() -> Iterator[ExampleRow]:
        for line, document in itertools.chain([first], documents):
            example = document.get(str(contract.column))
            if not isinstance(example, str):
                message = f"`{contract.column}` is {_kind(example)}; it has to be a string"
                raise TableRefused("column_missing", message, line=line)
            if len(example) > MOST_CELL_CHARACTERS:
                message = f"`{contract.column}` has more than {MOST_CELL_CHARACTERS} characters"
                raise TableRefused("cell_too_large", message, line=line)
            if targets == "ignored":
                yield ExampleRow(line, example, None)
                continue
            yield ExampleRow(
                line,
                example,
                _json_target(document.get(target), target, line) if target else None,
                _word(document, "split", line),
                label_of(_word(document, "group", line)),
                {name: word for name in contract.fact_columns if (word := _word(document, name, line))},
            )

    return ExampleTable(
        TARGETS[target] if target else None, read_rows(), [name for name in columns if name not in known], columns
    )


def _documents(lines: Iterator[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            document = json.loads(line, object_pairs_hook=unique_keys)
        except (ValueError, RecursionError) as error:
            message = f"this is not JSON ({error})"[:300]
            raise TableRefused("json_wrong", message, line=number) from error
        if not isinstance(document, dict):
            message = f"this is {_kind(document)}; each line has to be an object"
            raise TableRefused("json_wrong", message, line=number)
        yield number, document


def _json_target(given: Any, column: str, line: int) -> Given | None:  # noqa: ANN401  any JSON
    if given is None or given == "":
        return None
    if column == "labels":
        if isinstance(given, str):
            return parser_of("labels", separator=",")(given)
        if not isinstance(given, list) or not all(isinstance(each, str | int) for each in given):
            raise TableRefused("label_wrong", f"`labels` is {_kind(given)}; it has to be a list of strings", line=line)
        return tuple(sorted({label_of(str(each)) for each in given} - {""}))
    if column == "value":
        is_number = isinstance(given, int | float) and not isinstance(given, bool)
        return (
            parser_of("value", separator=",")(str(given)) if is_number or isinstance(given, str) else Unfit(str(given))
        )
    if not isinstance(given, str | int) or isinstance(given, bool):
        raise TableRefused("label_wrong", f"`label` is {_kind(given)}; it has to be a string", line=line)
    return label_of(str(given)) or None


def _word(document: dict[str, Any], name: str, line: int) -> str:
    given = document.get(name)
    if given is None:
        return ""
    if not isinstance(given, str | int):
        raise TableRefused("json_wrong", f"`{name}` is {_kind(given)}; it has to be a string", line=line)
    return str(given).strip()


def _kind(given: Any) -> str:  # noqa: ANN401  any JSON
    kinds = {type(None): "missing", list: "a list", dict: "an object", str: "a string", bool: "true or false"}
    return kinds.get(type(given), "a number")


def _fasttext(path: Source, _: Format, contract: Contract, encoding: Encoding, targets: Wanted) -> ExampleTable:  # noqa: ARG001  one of several readers
    counts = {len(_labels_before(line)[0]) for line in lines_of(path, encoding) if line.strip()}
    if counts <= {0} and targets == "needed":
        raise TableRefused("label_missing", f"no line begins with `{FASTTEXT_LABEL}` and the name of a class")
    target: Target = "class" if counts <= {0, 1} else "labels"

    def read_rows() -> Iterator[ExampleRow]:
        for number, line in enumerate(lines_of(path, encoding), 1):
            if not line.strip():
                continue
            names, rest = _labels_before(line)
            learned: Given | None = tuple(sorted(set(names))) if target == "labels" else names[0] if names else None
            yield ExampleRow(number, rest, learned)

    return ExampleTable(target if counts - {0} else None, read_rows())


def _labels_before(line: str) -> tuple[list[str], str]:
    """Return the labels that a line begins with, and the rest of it."""
    names, rest = [], line.strip()
    while rest.startswith(FASTTEXT_LABEL):
        word, *others = rest.split(maxsplit=1)
        names.append(label_of(word.removeprefix(FASTTEXT_LABEL)))
        rest = others[0] if others else ""
    return [name for name in names if name], rest
