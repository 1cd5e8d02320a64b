"""Examples of `espalier predict`: files, folders, rows of tables, lines of files and of standard input, and texts."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, get_args

from service.cli.session import refuse

if TYPE_CHECKING:
    from models_store.datasets.table_lines import Encoding
    from models_store.tasks.task import Contract

HEAD_BYTES = 512
JSON_LINES = (".jsonl", ".ndjson")
TABLES = (".csv", ".tsv")
STDIN = Path("-")


@dataclass(frozen=True)
class Value:
    """An example as a JSON value, and where it was given, as compilers name it."""

    place: str
    value: Any
    size_bytes: int
    text: str | None = None
    """the value, if people read it"""

    def __str__(self) -> str:
        """Return the place."""
        return self.place


Example = Path | Value


def texts(given: Sequence[str]) -> list[Example]:
    """Return the texts of the command line."""
    return [_text(f"--text {number}", text) for number, text in enumerate(given, 1)]


def in_files(paths: Sequence[Path], *, encoding: str = "utf-8") -> tuple[list[Example], int]:
    """Return what was named and the examples in folders, in order, before rows and lines; how many others folders hold.

    Raises:
        typer.Exit: if a path can't be read.
    """
    files: dict[Path, None] = {}
    values: list[Value] = []
    others = 0
    for path in paths:
        if path.is_dir():
            found, more = _in_folder(path)
            files |= dict.fromkeys(found)
            others += more
        elif path == STDIN or path.suffix.lower() in JSON_LINES + TABLES:
            values += rows_of(path, encoding=encoding)
        elif path.is_file():
            files[path] = None
        else:
            raise refuse(f"{path}: there is no such file or folder")
    return [*files, *values], others


def _in_folder(folder: Path) -> tuple[list[Path], int]:
    """Return the examples in a folder, and how many other files it has; notes beside images are no examples."""
    from models_store.archives.system_files import is_hidden, is_system  # noqa: PLC0415  `--help` is spared them
    from models_store.tasks import rooms  # noqa: PLC0415  as above
    from service.cli.folders import files_in  # noqa: PLC0415  as above

    first, giving_way, others = [], [], 0
    for found in files_in(folder):
        inner = PurePosixPath(found.relative_to(folder).as_posix())
        if is_hidden(inner.parent):
            continue
        with found.open("rb") as file:
            head = file.read(HEAD_BYTES)
        claiming = [] if is_system(inner) else [each for each in rooms.TASKS if each.is_example(inner, head)]
        if not claiming:
            others += 1
        elif all(each.gives_way for each in claiming):
            giving_way.append(found)
        else:
            first.append(found)
    return (first, others + len(giving_way)) if first else (giving_way, others)


def rows_of(path: Path, *, encoding: str = "utf-8") -> Iterator[Value]:
    """Yield the examples of a file: rows of a table, values of JSON Lines, or the lines of any other and of `-`.

    Blank lines of a table and of JSON Lines are no rows; of other files each line is an example.

    Raises:
        typer.Exit: if it can't be read.
    """
    from models_store.datasets.table_lines import TableRefused  # noqa: PLC0415  `--help` is spared it

    if path != STDIN and not path.is_file():
        raise refuse(f"{path}: there is no such file")
    known = _known(encoding)
    try:
        if path.suffix.lower() in TABLES:
            yield from _of_table(path, known)
        elif path.suffix.lower() in JSON_LINES:
            for number, line in _lines(path, known):
                if line.strip():
                    yield _of_json(f"{path}:{number}", line)
        else:
            for number, line in _lines(path, known):
                yield _text(f"{path}:{number}", line)
    except TableRefused as error:
        raise refuse(f"{path}:{'' if error.line is None else f'{error.line}:'} {error}") from error


def _known(encoding: str) -> "Encoding":
    from models_store.datasets.table_lines import Encoding  # noqa: PLC0415  `--help` is spared it

    for known in get_args(Encoding):
        if known == encoding.lower():
            found: Encoding = known
            return found
    raise refuse(f"--encoding {encoding[:50]!r} is not read here; it is one of {', '.join(get_args(Encoding))}")


def _of_table(path: Path, encoding: "Encoding") -> Iterator[Value]:
    from models_store.datasets import example_tables  # noqa: PLC0415  `--help` is spared them
    from models_store.datasets.table_formats import format_of  # noqa: PLC0415  as above

    contracts, format_ = _with_columns(), format_of(path.name)
    assert format_ is not None, "its suffix is one of a table"
    columns = example_tables.columns_of(path, format_, encoding)
    contract = next((each for each in contracts if each.column in columns), contracts[0])
    table = example_tables.read(path, format_, contract, encoding=encoding, targets="ignored")
    for row in table.rows:
        yield _text(f"{path}:{row.line}", row.example)


def _of_json(place: str, line: str) -> Value:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise refuse(f"{place}: this line is not JSON ({error})") from error
    columns = {each.column for each in _with_columns()} & value.keys() if isinstance(value, dict) else ()
    if len(columns) == 1:
        value = value[columns.pop()]
        return Value(place, value, len(line), value if isinstance(value, str) else None)
    return Value(place, value, len(line))


def _text(place: str, text: str) -> Value:
    try:
        size_bytes = len(text.encode())
    except UnicodeEncodeError as error:  # bytes of the command line that are not in the terminal's encoding
        raise refuse(f"{place}: character {error.start} is not in the encoding of the terminal") from error
    return Value(place, text, size_bytes, text)


def _lines(path: Path, encoding: "Encoding") -> Iterator[tuple[int, str]]:
    """Yield the number and the text of each line."""
    from models_store.datasets.table_lines import lines_of  # noqa: PLC0415  `--help` is spared it

    source = sys.stdin.buffer.read() if path == STDIN else path
    for number, line in enumerate(lines_of(source, encoding), 1):
        yield number, line.removesuffix("\n").removesuffix("\r")


def _with_columns() -> "list[Contract]":
    from models_store.tasks import rooms  # noqa: PLC0415  `--help` is spared them

    return [each for each in rooms.TASKS if each.column is not None]
