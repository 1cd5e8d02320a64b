"""Journal of a table: its rows so far, as compressed JSON lines, from which another attempt goes on.

It is written beside the table, because a table of Parquet can't be continued. Numbers come back with the types of the
sample, so that a continued table is the same as one that was never interrupted.
"""

import gzip
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch

from workers.prediction.tables import Document

FASTEST = 1
AT_ONCE = 1024
"""rows that are written or read back at a time"""


class Journal:
    """Rows of a table in a file at `path`; `sample` is a whole row, as `tables.opened` takes it."""

    def __init__(self, path: Path, *, sample: Document) -> None:
        path.unlink(missing_ok=True)
        self._path = path
        self._sample = sample
        self._lines: list[bytes] = []  # those that are not in the file yet

    def add(self, rows: Sequence[Document]) -> None:
        """Take in more rows."""
        option = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE
        self._lines += (orjson.dumps(row, option=option) for row in rows)
        if len(self._lines) >= AT_ONCE:
            self._write()

    def content(self) -> torch.Tensor:
        """Return all rows as bytes for a checkpoint, uint8, mapped from the file."""
        self._write()
        return torch.from_file(str(self._path), size=self._path.stat().st_size, dtype=torch.uint8)

    def restored(self, content: torch.Tensor) -> Iterator[list[Document]]:
        """Take over the rows of an earlier attempt, and yield them."""
        content.numpy().tofile(self._path)
        with gzip.open(self._path, "rb") as file:
            while lines := list(islice(file, AT_ONCE)):
                yield [_like(self._sample, orjson.loads(line)) for line in lines]

    def _write(self) -> None:
        with gzip.open(self._path, "ab", FASTEST) as file:  # members of gzip may follow one another
            file.writelines(self._lines)
        self._lines.clear()


def _like(sample: Any, value: Any) -> Any:  # noqa: ANN401  JSON
    """Return a value with the types of a sample."""
    if isinstance(value, dict):
        return {name: _like(sample.get(name) if sample else None, each) for name, each in value.items()}
    if isinstance(value, list):
        return [_like(sample[0] if sample else None, each) for each in value]
    return np.float32(value) if isinstance(sample, np.float32) and value is not None else value
