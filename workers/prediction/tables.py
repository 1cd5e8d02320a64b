"""Tables of predictions as files: CSV, JSON Lines and Parquet, written row by row.

The columns are `row`, `file`, `split`, `truth`, those of a prediction as `POST /predict` gives it, and `error`.
JSON Lines and Parquet nest lists; CSV joins names with `;` and gives each place of a ranking columns of its own. Of
float32 numbers as few digits are written as tell them apart. In CSV, `'` is put before a text that a spreadsheet would
take for a formula, and before such a part behind a `;`, which separates cells where the comma is the decimal mark.
"""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

if TYPE_CHECKING:
    import pyarrow as pa

Document = dict[str, Any]
Add = Callable[[Sequence[Document]], None]
"""writes more rows; each has all the columns"""

SEPARATOR = ";"
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""beginnings of what spreadsheets calculate (OWASP, CSV injection); the last four are full-width signs"""
GROUP_ROWS = 8192
"""rows of a row group of Parquet, which wait in memory until it is full"""


def opened(format_: str, path: Path, *, sample: Document) -> AbstractContextManager[Add]:
    """Return a table of the format at `path`; `sample` is a whole row, with no list empty and no value missing."""
    return {"csv": _csv, "jsonl": _json_lines, "parquet": _parquet}[format_](path, sample)


@contextmanager
def _json_lines(path: Path, _sample: Document) -> Iterator[Add]:
    with path.open("wb") as file:

        def add(rows: Sequence[Document]) -> None:
            option = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE
            file.writelines(orjson.dumps(row, option=option) for row in rows)

        yield add


@contextmanager
def _csv(path: Path, sample: Document) -> Iterator[Add]:
    columns = [*_cells(sample)]
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, columns, extrasaction="ignore")  # a row without an answer has no ranking
        table.writeheader()

        def add(rows: Sequence[Document]) -> None:
            table.writerows(_cells(row) for row in rows)

        yield add


def _cells(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the cells of a row, by column."""
    cells: dict[str, str] = {}
    for name, value in row.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            for place, item in enumerate(value, 1):
                cells |= {f"{name}_{place}_{key}": _cell(each) for key, each in item.items()}
        else:
            cells[name] = _cell(value)
    return cells


def _cell(value: Any) -> str:  # noqa: ANN401  a value of a prediction
    if value is None:
        return ""
    if isinstance(value, list):
        value = SEPARATOR.join(value)
    if isinstance(value, str):
        return SEPARATOR.join(f"'{part}" if part.startswith(FORMULA) else part for part in value.split(SEPARATOR))
    return str(value)


@contextmanager
def _parquet(path: Path, sample: Document) -> Iterator[Add]:
    import pyarrow as pa  # noqa: PLC0415  few jobs need it
    import pyarrow.parquet as pq  # noqa: PLC0415  as above

    schema = pa.schema([(name, _type_of(value)) for name, value in sample.items()])
    waiting: list[Document] = []
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:

        def write() -> None:
            writer.write_batch(pa.RecordBatch.from_pylist(waiting, schema))
            waiting.clear()

        def add(rows: Sequence[Document]) -> None:
            waiting.extend(rows)
            if len(waiting) >= GROUP_ROWS:
                write()

        yield add
        if waiting:
            write()


def _type_of(value: Any) -> "pa.DataType":  # noqa: ANN401  a value of a prediction
    import pyarrow as pa  # noqa: PLC0415  few jobs need it

    if isinstance(value, np.float32):
        return pa.float32()
    if isinstance(value, float):
        return pa.float64()
    if isinstance(value, int):
        return pa.int64()
    if isinstance(value, list):
        return pa.list_(_type_of(value[0]))
    if isinstance(value, dict):
        return pa.struct([(name, _type_of(each)) for name, each in value.items()])
    return pa.string()
