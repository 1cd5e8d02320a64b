"""Reading the members of a tar, plain or compressed, as one stream that never turns back.

tarfile does the reading (POSIX.1-2001 pax, GNU, ustar, v7). `TarInfo.frombuf` sees every raw header before tarfile acts
on it: that is where long headers, links, devices and sparse files end.
"""

import bz2
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO, Protocol, Self, cast

from models_store.archive_rules import (
    CHUNK_BYTES,
    PACK_ANEW,
    SEND,
    SEND_AGAIN,
    ArchiveCorrupt,
    ArchiveTruncated,
    CompressionTooHigh,
    Ledger,
    Limits,
    Member,
    MemberKindRefused,
    NotAnArchive,
    refuse_archive_by_content,
    shown_name,
    too_much,
)

LONGEST_EXTENSION_BYTES = 1 << 20
MOST_EXTENSIONS = 8  # before one member; a pax and a GNU long name make two
LONGEST_HEADER_BYTES = (MOST_EXTENSIONS + 1) * LONGEST_EXTENSION_BYTES
XZ_MEMORY_BYTES = 192 << 20  # `xz -9` needs 65 MiB to unpack
HEADER_ROOM_BYTES = 4096  # of tar headers and padding for each member
KINDS = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}
EXTENSIONS = {
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
}
DAMAGE = (tarfile.TarError, ValueError, OverflowError, RecursionError, EOFError, zlib.error, lzma.LZMAError)


class _Decompressor(Protocol):
    """What bz2 and lzma have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /, max_length: int = -1) -> bytes: ...


def read_tar(path: Path, limits: Limits) -> Iterator[Member]:
    """Yield the members of the tar at `path` in their order. Every byte is checked, read or not.

    Raises:
        ArchiveRefused, UnpackedTooLarge: if it breaks a rule; it may be seen only after members were yielded.
        NotAnArchive: if what is compressed is no tar.
    """
    with path.open("rb") as file:
        ledger = Ledger(limits)
        source = _Metered(_unpacked(file), compressed=file, limits=limits, ledger=ledger)
        header = _checking_header()
        try:
            with tarfile.open(
                fileobj=cast("IO[bytes]", source),
                mode="r|",
                tarinfo=header,
                bufsize=CHUNK_BYTES,
                encoding="utf-8",
                errors="surrogateescape",
            ) as tar:
                yield from _members(tar, source, ledger)
            source.drain()
        except DAMAGE as error:
            if not header.seen:
                raise NotAnArchive(f"what is compressed is no tar archive; {SEND}") from error
            raise ArchiveCorrupt(f"the tar is damaged ({error}); {PACK_ANEW}") from error
        if not header.ended:
            raise ArchiveTruncated(f"the tar has no end mark: {SEND_AGAIN}")


def is_tar(head: bytes) -> bool:
    """Tell whether the file's first 512 bytes are a tar header."""
    try:
        tarfile.TarInfo.frombuf(head[: tarfile.BLOCKSIZE], "utf-8", "surrogateescape")
    except (tarfile.TarError, ValueError):
        return False
    return True


def _members(tar: tarfile.TarFile, source: "_Metered", ledger: Ledger) -> Iterator[Member]:
    while (entry := _next(tar, source)) is not None:
        cast("Any", tar).members.clear()  # tarfile remembers each one otherwise
        if entry.issparse() or any(key.startswith("GNU.sparse") for key in entry.pax_headers):
            name = shown_name(entry.name)
            raise MemberKindRefused(f"{name} is a sparse file; {PACK_ANEW} without --sparse", member=name)
        name = ledger.admit(_name(entry), size_bytes=entry.size, is_folder=entry.isdir())
        if entry.isdir():
            if name:
                yield Member(name, size_bytes=0, is_folder=True, chunks=iter(()))
            continue
        stream = tar.extractfile(entry)
        assert stream is not None, "links and devices were refused at their header"
        member = Member(name, size_bytes=entry.size, is_folder=False, chunks=_chunks(stream, name))
        refuse_archive_by_content(name, member.head)
        yield member
        for _ in member:
            pass
        if member.read_bytes != entry.size:
            raise ArchiveTruncated(
                f"{name}: {entry.size} bytes are announced, {member.read_bytes} came; send the archive again",
                member=name,
            )


def _next(tar: tarfile.TarFile, source: "_Metered") -> tarfile.TarInfo | None:
    source.left_for_header = LONGEST_HEADER_BYTES
    entry = tar.next()
    source.left_for_header = None
    return entry


def _chunks(stream: IO[bytes], name: str) -> Iterator[bytes]:
    while True:
        try:
            chunk = stream.read(CHUNK_BYTES)
        except tarfile.ReadError as error:
            raise ArchiveTruncated(f"{name} ends too early in the tar: {SEND_AGAIN}", member=name) from error
        if not chunk:
            return
        yield chunk


def _name(entry: tarfile.TarInfo) -> str:
    """Return the name; bytes that are no UTF-8 are read as cp437, as those of a zip are: no name is refused."""
    try:
        entry.name.encode("utf-8")
    except UnicodeEncodeError:
        return entry.name.encode("utf-8", "surrogateescape").decode("cp437")
    return entry.name


class _CheckingHeader(tarfile.TarInfo):
    """A header that is checked before tarfile acts on it; `seen` and `ended` belong to one archive's subclass."""

    seen = 0
    ended = False
    extensions = 0

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        if len(buf) < tarfile.BLOCKSIZE and cls.seen:
            raise ArchiveTruncated(f"the tar ends without its end mark: {SEND_AGAIN}")
        if buf and not buf.strip(b"\x00"):
            cls.ended = True
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.TarError as error:
            if cls.seen and not cls.ended:
                raise ArchiveCorrupt(f"header {cls.seen + 1} of the tar is damaged ({error}); {PACK_ANEW}") from error
            raise
        cls.seen += 1
        if header.type in KINDS:
            raise MemberKindRefused(
                f"{shown_name(header.name)} is {KINDS[header.type]}; only files and folders are allowed",
                member=shown_name(header.name),
            )
        if header.size < 0:
            raise ArchiveCorrupt(f"{shown_name(header.name)}: its size is given as {header.size} bytes; {PACK_ANEW}")
        cls.extensions = cls.extensions + 1 if header.type in EXTENSIONS else 0
        if cls.extensions and (cls.extensions > MOST_EXTENSIONS or header.size > LONGEST_EXTENSION_BYTES):
            raise ArchiveCorrupt(
                f"the tar has {cls.extensions} extension headers in a row, the last of {header.size} bytes; "
                f"at most {MOST_EXTENSIONS} of {LONGEST_EXTENSION_BYTES} are allowed"
            )
        return header


def _checking_header() -> type[_CheckingHeader]:
    class OneArchivesHeader(_CheckingHeader):
        pass

    return OneArchivesHeader


class _Metered:
    """The unpacked stream, stopped where it grows out of proportion."""

    def __init__(self, stream: IO[bytes], *, compressed: BinaryIO, limits: Limits, ledger: Ledger) -> None:
        self._stream = stream
        self._compressed = compressed
        self._limits = limits
        self._ledger = ledger
        self._given = 0
        self.left_for_header: int | None = LONGEST_HEADER_BYTES

    def read(self, size: int) -> bytes:
        try:
            chunk = self._stream.read(size)
        except EOFError as error:
            raise ArchiveTruncated(f"the compressed tar ends too early: {SEND_AGAIN}") from error
        except (OSError, zlib.error, lzma.LZMAError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the disk's; gzip's and bzip2's own have no number
            raise ArchiveCorrupt(f"the compressed tar is damaged ({error}); {PACK_ANEW}") from error
        self._given += len(chunk)
        if self.left_for_header is not None:
            self.left_for_header -= len(chunk)
            if self.left_for_header < 0:  # a sparse file's map, for one, which tarfile reads as far as it goes
                raise ArchiveCorrupt(f"a header of the tar is longer than {LONGEST_HEADER_BYTES} bytes; {PACK_ANEW}")
        taken, limits = self._compressed.tell(), self._limits
        if self._given > max(limits.ratio_free_bytes, limits.ratio * taken):
            raise CompressionTooHigh(
                f"the archive unpacks from {taken} to more than {self._given} bytes; "
                f"at most {limits.ratio} for each byte are allowed"
            )
        if self._given > limits.unpacked_bytes + HEADER_ROOM_BYTES * self._ledger.files + limits.ratio_free_bytes:
            raise too_much(limits)
        return chunk

    def drain(self) -> None:
        """Read on to the end: that is where the compressed stream's own checksum is compared."""
        while self.read(CHUNK_BYTES):
            pass


class _Stepwise:
    """The output of a bz2 or lzma decompressor, at most 64 KiB at a time; several streams in a row are one."""

    def __init__(self, file: BinaryIO, make: Callable[[], _Decompressor]) -> None:
        self._file = file
        self._make = make
        self._decompressor = make()
        self._waiting = b""

    def read(self, size: int) -> bytes:
        while True:
            if self._decompressor.eof:
                self._waiting = self._decompressor.unused_data or self._file.read(CHUNK_BYTES)
                if not self._waiting.strip(b"\x00"):  # xz pads its streams with zeros
                    return b""
                self._decompressor = self._make()
            elif self._decompressor.needs_input and not self._waiting:
                self._waiting = self._file.read(CHUNK_BYTES)
                if not self._waiting:
                    raise EOFError
            chunk = self._decompressor.decompress(self._waiting, max_length=size)
            self._waiting = b""
            if chunk:
                return chunk


def _unpacked(file: BinaryIO) -> IO[bytes]:
    head = file.read(6)
    file.seek(0)
    if head.startswith(b"\x1f\x8b"):
        return cast("IO[bytes]", gzip.GzipFile(fileobj=file))
    if head.startswith(b"BZh"):
        return cast("IO[bytes]", _Stepwise(file, bz2.BZ2Decompressor))
    if head.startswith(b"\xfd7zXZ"):
        return cast(
            "IO[bytes]", _Stepwise(file, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY_BYTES))
        )
    return file
