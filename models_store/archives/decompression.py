"""Decompression of gzip, bzip2, xz, lzma and zstd files, in small steps; all streams of a file become one.

The libraries do the reading, in C. This module stops input that costs much and unpacks to nothing: a header with a name
of gigabytes, empty blocks, millions of empty streams.
"""

import bz2
import lzma
import re
import zlib
from collections.abc import Callable
from typing import IO, BinaryIO, Protocol, cast

from models_store.archives import zstd
from models_store.wording import counted

CHUNK_BYTES = 1 << 16
LZMA_MEMORY_BYTES = 192 << 20  # `xz -9` needs 65 MiB to unpack
ZSTD_WINDOW_LOG = 27  # 128 MiB, as the zstd command has it by default; `zstd -19` needs 8 MiB
LZMA_ALONE = b"\x5d\x00\x00"
SKIPPABLE = 5  # upper half of the first byte of a zstd frame without content; parallel packers begin with one
MOST_FRUITLESS_BYTES = 4 << 20
"""Compressed bytes in a row that unpack to nothing; a block of bzip2 takes 900 kB, and xz has its index at the end."""
FREE_STREAMS = 1024
LEAST_STREAM_BYTES = 1024
"""What a stream has to unpack to on average, beyond FREE_STREAMS; parallel packers write 64 KiB and more."""


MEMORY_SHORT = re.compile("memory usage limit|too much memory", re.IGNORECASE)
DAMAGE = (EOFError, zlib.error, lzma.LZMAError, zstd.ZstdError)
"""What readers raise at a broken stream, beside bz2's OSError without a number."""


class Fruitless(ValueError):
    """Far more is compressed here than it unpacks to."""


class TooMuchMemory(ValueError):
    """Unpacking this would take more memory than is given to it."""


class Decompressor(Protocol):
    """What the readers of bz2, lzma and zstd have in common: each reads one stream."""

    @property
    def eof(self) -> bool:
        """Whether the stream has ended."""
        ...

    @property
    def needs_input(self) -> bool:
        """Whether more has to come before there is more to return."""
        ...

    @property
    def unused_data(self) -> bytes:
        """What came behind the end of the stream."""
        ...

    def decompress(self, data: bytes, /, max_length: int = -1) -> bytes:
        """Take what came and return at most `max_length` bytes of what it unpacks to."""
        ...


def is_compressed(head: bytes) -> bool:
    """Tell whether a file that begins so can be unpacked here."""
    return _maker(head) is not None


def unpacked(file: BinaryIO) -> IO[bytes]:
    """Return what the file unpacks to, as a stream that raises EOFError where it ends too early; or the file itself."""
    head = file.read(6)
    file.seek(0)
    make = _maker(head)
    return file if make is None else cast("IO[bytes]", _Stepwise(file, make))


def zstd_decompressor(longest_window_log: int) -> Decompressor:
    """Return a reader of one zstd frame that keeps at most 2 to the power of `longest_window_log` bytes of it."""
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: longest_window_log})


def _maker(head: bytes) -> "Callable[[], Decompressor] | None":
    """Return what makes a reader of one stream of the format that a file begins as."""
    if head.startswith(b"\x1f\x8b"):
        return Inflator
    if head.startswith(b"BZh"):
        return bz2.BZ2Decompressor
    if head.startswith(b"\xfd7zXZ"):
        return lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=LZMA_MEMORY_BYTES)
    if head.startswith(LZMA_ALONE):
        return lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=LZMA_MEMORY_BYTES)
    if head.startswith(b"\x28\xb5\x2f\xfd") or (head[1:4] == b"\x2a\x4d\x18" and head[0] >> 4 == SKIPPABLE):
        return lambda: zstd_decompressor(ZSTD_WINDOW_LOG)
    return None


class Inflator:
    """A reader of one member of a gzip file, or of another format around the same coding, as zlib counts `wbits`."""

    def __init__(self, wbits: int = 31) -> None:
        self._inflate = zlib.decompressobj(wbits)  # 31: a gzip header, and its checksum at the end

    @property
    def eof(self) -> bool:
        """Whether the member has ended."""
        return self._inflate.eof

    @property
    def needs_input(self) -> bool:
        """Whether more has to come before there is more to return."""
        return not self._inflate.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        """What came behind the end of the member."""
        return self._inflate.unused_data

    def decompress(self, data: bytes, /, max_length: int = -1) -> bytes:
        """Take what came and return at most `max_length` bytes of what it unpacks to."""
        return self._inflate.decompress(self._inflate.unconsumed_tail + data, max(max_length, 0))


class _Stepwise:
    """The output of a decompressor, at most as much as is asked for at a time."""

    def __init__(self, file: BinaryIO, make: Callable[[], Decompressor]) -> None:
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
            chunk = self._step(size)
            self._waiting = b""
            if chunk:
                self._fruitless_bytes = 0
                self._unpacked_bytes += len(chunk)
                return chunk
            self._fruitless_bytes += given_bytes - len(self._decompressor.unused_data)
            if self._fruitless_bytes > MOST_FRUITLESS_BYTES:
                raise Fruitless(f"more than {MOST_FRUITLESS_BYTES} successive bytes unpack to nothing")

    def _step(self, size: int) -> bytes:
        try:
            return self._decompressor.decompress(self._waiting, max_length=size)
        except (lzma.LZMAError, zstd.ZstdError) as error:
            if MEMORY_SHORT.search(str(error)):
                raise TooMuchMemory("unpacking it needs more memory than allowed") from error
            raise

    def _next_stream(self) -> None:
        self._streams += 1
        if self._streams > FREE_STREAMS + self._unpacked_bytes // LEAST_STREAM_BYTES:
            raise Fruitless(f"{self._streams} streams unpack to only {counted(self._unpacked_bytes, 'byte')}")
        self._decompressor = self._make()
