"""Bodies whose rows are examples: a table with a column of them (CSV, TSV), or JSON Lines with one on each line.

A line of JSON is an example as `inputs` has it, or an object that has it under the name of the task's column.
"""

import functools
import operator
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

from pydantic import BaseModel, ConfigDict, create_model

from models_store.datasets import example_tables
from models_store.datasets.table_formats import Format
from models_store.datasets.table_lines import TableRefused
from models_store.errors import FieldError
from models_store.tasks import rooms
from models_store.tasks.task import Contract
from service.answers.predictions import FileAtUrl, json_type_of
from service.problems import MalformedRequest
from service.requests import bodies, charsets, strict_json

TABLES: dict[str, Format] = {"text/csv": "csv", "text/tab-separated-values": "tsv"}
MEDIA_TYPES = (*TABLES, *charsets.JSON_LINES)
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class NoTableOfThese(bodies.WrongContentType):
    """A cell of a table can't hold an example of the model's task."""

    code = "no_table_of_these"


class Rows(BaseModel):
    """Rows of a body, whose examples are of the kind that a model takes."""

    model_config = ConfigDict(strict=True)

    rows: list[Any]


def read(body: bytes, content_type: str, contract: Contract, *, most: int) -> list[Any]:
    """Return the examples of a body, as JSON has them, in order: `most` and one more at most.

    Raises:
        NoTableOfThese: if it is a table, and the task has no column.
        InvalidBody: if it has no row, or one that is no example; the pointer is `/rows/` and its number from 0.
        MalformedRequest: if a line is not JSON.
    """
    found = _of_table(body, content_type, contract) if content_type in TABLES else _of_lines(body, contract)
    rows = [*islice(found, most + 1)]
    if not rows:
        message = f"the body has no rows; send one for each {contract.example}"
        raise bodies.InvalidBody(message, errors=[FieldError("/rows", "missing", message)])
    return bodies.check(_rows_of(json_type_of(contract)), {"rows": rows}).rows


@functools.cache
def _rows_of(kind: Any) -> type[Rows]:  # noqa: ANN401  any of pydantic's types
    return create_model("Rows", __base__=Rows, rows=(list[kind], ...))


def _of_table(body: bytes, content_type: str, contract: Contract) -> Iterator[str]:
    if contract.column is None:
        with_columns = [each.examples for each in rooms.TASKS if each.column is not None]
        message = f"{contract.examples} are no cells of a table; {', '.join(with_columns) or 'nothing'} may come as one"
        raise NoTableOfThese(message)
    try:
        table = example_tables.read(body, TABLES[content_type], contract, encoding="utf-8", targets="ignored")
        yield from map(operator.attrgetter("example"), table.rows)
    except TableRefused as error:
        raise bodies.InvalidBody(str(error), errors=[FieldError("/rows", error.code, str(error))]) from error


def _of_lines(body: bytes, contract: Contract) -> Iterator[Any]:
    column, row = contract.column, 0
    for number, line in enumerate(_lines(body.removeprefix(BYTE_ORDER_MARK)), 1):
        if not line.strip():
            continue
        try:
            value = strict_json.parse(line)
        except MalformedRequest as error:
            errors = [replace(each, pointer=f"/rows/{row}{each.pointer}") for each in error.errors]
            raise type(error)(f"line {number}: {error.detail}", errors=errors) from error
        if isinstance(value, dict) and column is not None and not value.keys() <= FileAtUrl.model_fields.keys():
            if column not in value:
                message = f"line {number} has no key {column!r}, which holds the {contract.example}"
                raise bodies.InvalidBody(message, errors=[FieldError(f"/rows/{row}", "missing", message)])
            value = value[column]
        yield value
        row += 1


def _lines(body: bytes) -> Iterator[bytes]:
    """Yield the lines one by one: a list of all of them could take far more memory than the body."""
    begin = 0
    while begin < len(body):
        end = body.find(b"\n", begin)
        end = len(body) if end < 0 else end
        yield body[begin:end]
        begin = end + 1
