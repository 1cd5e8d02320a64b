"""Writer of a dataset's content: a zip of stored members whose directory waits on disk, not in memory.

Python's own writer of zips keeps some 600 bytes for each member until the end. What it writes is the same (PKWARE's
APPNOTE, sections 4.3.7, 4.3.12 to 4.3.16 and 4.5.3).
"""

import shutil
import struct
import zlib
from pathlib import Path
from typing import Self

from models_store.datasets.stored_content import COUNT_IN_END_64, END, END_64, ENTRY, IN_EXTRA, LOCATOR

LOCAL = struct.Struct("<4s5H3L2H")
OFFSET_EXTRA = struct.Struct("<2HQ")
PLAIN, LARGE = 20, 45
"""versions of the format that a reader needs: 2.0, and 4.5 for what is beyond 4 GiB"""
DATE = 0x21  # the first of January 1980: the same bytes whenever they are written
BY_UNIX = 3 << 8
MODE = 0o600 << 16


class ContentWriter:
    """A zip that is written member by member, each in memory whole. For use with `with`."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._directory_path = path.with_name(f"{path.name}-directory")
        self._directory = self._directory_path.open("w+b")
        self._count = 0

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Write the directory, unless there was an error, and close the file."""
        try:
            if kind is None:
                self._finish()
        finally:
            self._file.close()
            self._directory.close()
            self._directory_path.unlink()

    def add(self, member: str, data: bytes) -> None:
        """Write a member of another name than all before."""
        name, start, checksum = member.encode("ascii"), self._file.tell(), zlib.crc32(data)
        sizes = (checksum, len(data), len(data), len(name))
        self._file.write(LOCAL.pack(b"PK\x03\x04", PLAIN, 0, 0, 0, DATE, *sizes, 0) + name)
        self._file.write(data)
        is_far = start >= IN_EXTRA
        extra = OFFSET_EXTRA.pack(1, 8, start) if is_far else b""
        needed, offset = (LARGE, IN_EXTRA) if is_far else (PLAIN, start)
        head = (b"PK\x01\x02", BY_UNIX | needed, needed, 0, 0, 0, DATE)
        self._directory.write(ENTRY.pack(*head, *sizes, len(extra), 0, 0, 0, MODE, offset) + name + extra)
        self._count += 1

    def _finish(self) -> None:
        start = self._file.tell()
        self._directory.seek(0)
        shutil.copyfileobj(self._directory, self._file)
        size_bytes, end = self._file.tell() - start, self._file.tell()
        count, short_size, short_start = self._count, size_bytes, start
        if count >= COUNT_IN_END_64 or start >= IN_EXTRA or size_bytes >= IN_EXTRA:
            whole = (LARGE, LARGE, 0, 0, count, count, size_bytes, start)
            self._file.write(END_64.pack(b"PK\x06\x06", END_64.size - 12, *whole))
            self._file.write(LOCATOR.pack(b"PK\x06\x07", 0, end, 1))
            count = min(count, COUNT_IN_END_64)
            short_size, short_start = min(size_bytes, IN_EXTRA), min(start, IN_EXTRA)
        self._file.write(END.pack(b"PK\x05\x06", 0, 0, count, count, short_size, short_start, 0))
