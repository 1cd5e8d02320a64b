"""Bytes of rows on their way to a dataset's content: one file after another of them, 20 bytes of memory for each."""

import hashlib
from array import array
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from models_store.datasets.content_writer import ContentWriter

if TYPE_CHECKING:
    Numbers = array[int]
else:
    Numbers = array  # subscripted from Python 3.12 on

KEY_BYTES = 16  # of a row's SHA-256


class RowSpool:
    """Rows' bytes in a file, in their order. For use with `with`, while they are added."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("wb")
        self._lengths: Numbers = array("I")
        self._keys = bytearray()

    def __enter__(self) -> Self:
        """Return the spool."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file for writing."""
        self._file.close()

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._lengths)

    def add(self, data: bytes) -> str:
        """Take a row's bytes, and return their SHA-256."""
        digest = hashlib.sha256(data)
        self._file.write(data)
        self._lengths.append(len(data))
        self._keys += digest.digest()[:KEY_BYTES]
        return digest.hexdigest()

    @property
    def size_bytes(self) -> int:
        """Return the size of the different rows."""
        return int(np.asarray(self._lengths, np.int64)[self._is_first()].sum())

    def write_content(self, path: Path, members: Iterable[str]) -> Path:
        """Write a stored zip with one member for each different row; `members` are the rows' names in it."""
        with self._path.open("rb") as file, ContentWriter(path) as content:
            for length, member, is_first in zip(self._lengths, members, self._is_first().tolist(), strict=True):
                data = file.read(length)
                if is_first:
                    content.add(member, data)
        return path

    def _is_first(self) -> npt.NDArray[np.bool_]:
        """Return for each row whether none before it is the same."""
        keys = np.frombuffer(self._keys, f"S{KEY_BYTES}")
        is_first = np.zeros(len(keys), np.bool_)
        is_first[np.unique(keys, return_index=True)[1]] = True
        return is_first
