"""What a gzip, bzip2 or xz file unpacks to, in steps that each cost little: the streams in it are one.

The libraries do the reading, in C. What costs without end and unpacks to nothing is stopped here: a header with a name
of gigabytes, empty blocks, empty streams by the million.
"""

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import IO, BinaryIO, Protocol, cast

CHUNK_BYTES = 1 << 16
XZ_MEMORY_BYTES = 192 << 20  # `xz -9` needs 65 MiB to unpack
MOST_FRUITLESS_BYTES = 4 << 20
"""Compressed bytes in a row that unpack to nothing; a block of bzip2 takes 900 kB, and xz has its index at the end."""
FREE_STREAMS = 1024
LEAST_STREAM_BYTES = 1024
"""What a stream has to unpack to on average, beyond FREE_STREAMS; parallel packers write 64 KiB and more."""


class Fruitless(ValueError):
    """Far more is compressed here than it unpacks to."""


class _Decompressor(Protocol):
    """What bz2 and lzma have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /, max_length: int = -1) -> bytes: ...


def unpacked(file: BinaryIO) -> IO[bytes]:
    """Return what the file unpacks to, as a stream that raises EOFError where it ends too early; or the file itself."""
    head = file.read(6)
    file.seek(0)
    if head.startswith(b"\x1f\x8b"):
        return cast("IO[bytes]", _Stepwise(file, _Gunzip))
    if head.startswith(b"BZh"):
        return cast("IO[bytes]", _Stepwise(file, bz2.BZ2Decompressor))
    if head.startswith(b"\xfd7zXZ"):
        return cast(
            "IO[bytes]", _Stepwise(file, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY_BYTES))
        )
    return file


class _Gunzip:
    """One member of a gzip file, with the interface of bz2's and lzma's decompressors."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(wbits=31)  # a gzip header, and its checksum at the end

    @property
    def eof(self) -> bool:
        return self._inflate.eof

    @property
    def needs_input(self) -> bool:
        return not self._inflate.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inflate.unused_data

    def decompress(self, data: bytes, /, max_length: int = -1) -> bytes:
        return self._inflate.decompress(self._inflate.unconsumed_tail + data, max(max_length, 0))


class _Stepwise:
    """The output of a decompressor, at most as much as is asked for at a time."""

    def __init__(self, file: BinaryIO, make: Callable[[], _Decompressor]) -> None:
        self._file = file
        self._make = make
        self._decompressor = make()
        self._waiting = b""
        self._streams = 1
        self._unpacked_bytes = 0
        self._fruitless_bytes = 0

    def read(self, size: int) -> bytes:
        while True:
            if self._decompressor.eof:
                self._waiting = self._decompressor.unused_data or self._file.read(CHUNK_BYTES)
                if not self._waiting.strip(b"\x00"):  # xz pads its streams with zeros
                    return b""
                self._next_stream()
            elif self._decompressor.needs_input and not self._waiting:
                self._waiting = self._file.read(CHUNK_BYTES)
                if not self._waiting:
                    raise EOFError
            given_bytes = len(self._waiting)
            chunk = self._decompressor.decompress(self._waiting, max_length=size)
            self._waiting = b""
            if chunk:
                self._fruitless_bytes = 0
                self._unpacked_bytes += len(chunk)
                return chunk
            self._fruitless_bytes += given_bytes - len(self._decompressor.unused_data)
            if self._fruitless_bytes > MOST_FRUITLESS_BYTES:
                raise Fruitless(f"more than {MOST_FRUITLESS_BYTES} bytes in a row unpack to nothing")

    def _next_stream(self) -> None:
        self._streams += 1
        if self._streams > FREE_STREAMS + self._unpacked_bytes // LEAST_STREAM_BYTES:
            raise Fruitless(f"{self._streams} streams unpack to no more than {self._unpacked_bytes} bytes")
        self._decompressor = self._make()
