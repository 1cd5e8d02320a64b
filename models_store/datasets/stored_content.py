"""Content of a dataset, read member by member in any order: 32 bytes of memory for each, 72 while it is opened.

Python's own reader of zips keeps some 600 bytes for each member. This one reads the directory of a zip that `zipfile`
has written without compression (PKWARE's APPNOTE, sections 4.3.12 to 4.3.16 and 4.5.3).
"""

import hashlib
import struct
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
import numpy.typing as npt

from models_store.storage.blobs import BlobMissing

END = struct.Struct("<4s4H2LH")
END_64 = struct.Struct("<4sQ2H2L4Q")
LOCATOR = struct.Struct("<4sLQL")
ENTRY = struct.Struct("<4s6H3L5H2L")
EXTRA = struct.Struct("<2H")
LOCAL_HEADER = struct.Struct("<26x2H")  # 30 bytes: lengths of the name and of the extra field
IN_EXTRA = 0xFFFFFFFF
"""in place of a size or an offset: it is in the extra field"""
COUNT_IN_END_64 = 0xFFFF
KEY_BYTES = 16
"""of a member's SHA-256, which its name begins with"""


class StoredContent:
    """The members of a dataset's content, found by their names. For use with `with`."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        keys, places = _places(self._file)
        order = np.argsort(keys, kind="stable")
        self._keys, self._places = keys[order], places[order]

    def __enter__(self) -> Self:
        """Return the content."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._file.close()

    def read(self, member: str, *, sha256: str) -> bytes:
        """Return the bytes of a member.

        Raises:
            BlobMissing: if they are not there, or have another digest.
        """
        if (place := self.place_of(member)) is not None:
            data = read_stored(self._file, *place)
            if hashlib.sha256(data).hexdigest() == sha256:
                return data
        raise BlobMissing(f"the stored file of {member} is missing or damaged; restore it from a backup")

    def place_of(self, member: str) -> tuple[int, int] | None:
        """Return where a member's header begins, and the size of its bytes; None: it is not there."""
        key = bytes.fromhex(member[: 2 * KEY_BYTES]).rstrip(b"\0")  # as numpy gives them back
        place = int(np.searchsorted(self._keys, key))
        if place == len(self._keys) or self._keys[place] != key:
            return None
        offset, size_bytes = self._places[place].tolist()
        return offset, size_bytes


def read_stored(file: BinaryIO, offset: int, size_bytes: int) -> bytes:
    """Return a stored member of a zip whose header begins at `offset`."""
    file.seek(offset)
    name_bytes, extra_bytes = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))
    file.seek(name_bytes + extra_bytes, 1)
    return file.read(size_bytes)


def _places(file: BinaryIO) -> tuple[npt.NDArray[np.bytes_], npt.NDArray[np.uint64]]:
    """Return the key (N,) of each member, and its offset and its size (N, 2), in the order of the zip's directory."""
    count, start = _directory(file)
    keys, places = np.zeros(count, f"S{KEY_BYTES}"), np.zeros((count, 2), np.uint64)
    file.seek(start)
    for row in range(count):
        fields = ENTRY.unpack(file.read(ENTRY.size))
        size_bytes, offset = fields[9], fields[16]
        name, extra = file.read(fields[10]), file.read(fields[11])
        file.seek(fields[12], 1) if fields[12] else None
        large = _large(extra) if IN_EXTRA in {size_bytes, offset} else iter(())
        size_bytes = next(large) if size_bytes == IN_EXTRA else size_bytes
        if fields[8] == IN_EXTRA:
            next(large)
        offset = next(large) if offset == IN_EXTRA else offset
        keys[row] = bytes.fromhex(name[: 2 * KEY_BYTES].decode("ascii"))
        places[row] = offset, size_bytes
    return keys, places


def _directory(file: BinaryIO) -> tuple[int, int]:
    """Return the number of members, and where the directory begins. The zip has no comment."""
    end_at = file.seek(-END.size, 2)
    end = END.unpack(file.read(END.size))
    count, start = end[4], end[6]
    if count != COUNT_IN_END_64 and start != IN_EXTRA:
        return count, start
    if end_at < LOCATOR.size:
        return count, start
    file.seek(end_at - LOCATOR.size)
    locator = LOCATOR.unpack(file.read(LOCATOR.size))
    if locator[0] != b"PK\x06\x07":  # exactly so many members, and no more
        return count, start
    file.seek(locator[2])
    end_64 = END_64.unpack(file.read(END_64.size))
    return end_64[7], end_64[9]


def _large(extra: bytes) -> Any:  # noqa: ANN401  an iterator of numbers
    """Yield the large numbers of an entry, from its extra field."""
    while extra:
        kind, length = EXTRA.unpack_from(extra)
        if kind == 1:
            yield from struct.unpack_from(f"<{length // 8}Q", extra, EXTRA.size)
        extra = extra[EXTRA.size + length :]
