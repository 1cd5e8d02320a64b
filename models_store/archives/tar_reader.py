"""Reading the members of a tar, plain or compressed, as one stream that never turns back.

tarfile does the reading (POSIX.1-2001 pax, GNU, ustar, v7). `TarInfo.frombuf` sees every raw header before tarfile acts
on it, and refuses long headers, devices and sparse files.
"""

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO, Self, cast

from models_store.archives import decompression, pax_records
from models_store.archives.decompression import Fruitless, TooMuchMemory, unpacked
from models_store.archives.rules import (
    CHUNK_BYTES,
    LONGEST_NAME,
    PACK_ANEW,
    SEND,
    SEND_AGAIN,
    ArchiveCorrupt,
    ArchiveRefused,
    ArchiveTruncated,
    CompressionTooHigh,
    Ledger,
    Limits,
    Link,
    Member,
    MemberKindRefused,
    NotAnArchive,
    refuse_archive_by_content,
    shown_name,
    too_much,
)
from models_store.wording import counted, inflected

LONGEST_EXTENSION_BYTES = 1 << 17  # a name has 1024 characters; extended attributes have 64 KiB, and more in base64
LONGEST_GLOBAL_BYTES = 1 << 13  # together: tarfile copies what they say for every member
FREE_EXTENSION_BYTES = 4 << 20  # of all extensions together, and so much for each member:
EXTENSION_BYTES = 4096
MOST_EXTENSIONS = 8  # before one member; a pax and a GNU long name make two
LONGEST_HEADER_BYTES = (MOST_EXTENSIONS + 1) * LONGEST_EXTENSION_BYTES
HEADER_ROOM_BYTES = 4096  # of tar headers and padding for each member
KINDS = {
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
PAX = {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE}
DAMAGE = (tarfile.TarError, ValueError, OverflowError, RecursionError, *decompression.DAMAGE)


def read_tar(path: Path, limits: Limits) -> Iterator[Member]:
    """Yield the members of the tar at `path` in their order. Every byte is checked, read or not.

    Raises:
        ArchiveRefused, UnpackedTooLarge: if it breaks a rule; it may be seen only after members were yielded.
        NotAnArchive: if what is compressed is no tar.
    """
    with path.open("rb") as file:
        ledger = Ledger(limits)
        header = _header_class()
        source = _Metered(unpacked(file), compressed=file, limits=limits, ledger=ledger, header=header)
        try:
            with tarfile.TarFile(
                fileobj=cast("IO[bytes]", source), tarinfo=header, encoding="utf-8", errors="surrogateescape"
            ) as tar:
                yield from _members(tar, source, ledger)
            source.drain()
        except DAMAGE as error:
            if not header.seen:
                raise NotAnArchive(f"the compressed file is no tar archive; {SEND}") from error
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
        name = ledger.admit(_readable(entry.name), size_bytes=entry.size, is_folder=entry.isdir())
        if entry.isdir():
            if name:
                yield Member(name, is_folder=True)
            continue
        if entry.issym() or entry.islnk():
            yield _link(entry, name)
            continue
        stream = tar.extractfile(entry)
        assert stream is not None, "links were met above, devices refused at their header"
        member = Member(name, size_bytes=entry.size, is_folder=False, chunks=_chunks(stream, name))
        refuse_archive_by_content(name, member.head)
        yield member
        for _ in member:
            pass
        if member.read_bytes != entry.size:
            raise ArchiveTruncated(
                f"{name}: {counted(entry.size, 'byte is', 'bytes are')} announced, but "
                f"{counted(member.read_bytes, 'was', 'were')} found; send the archive again",
                member=name,
            )


def _link(entry: tarfile.TarInfo, name: str) -> Member:
    if entry.size:  # the file's bytes would follow, and tarfile takes them for the next header
        raise MemberKindRefused(
            f"{shown_name(name)} is a link that brings {counted(entry.size, 'byte')} of its own; "
            f"{PACK_ANEW} with `tar -h`",
            member=shown_name(name),
        )
    target = _readable(entry.linkname).replace("\\", "/")
    if len(target) > LONGEST_NAME:
        raise MemberKindRefused(
            f"{shown_name(name)} is a link to a name of {len(target)} characters; at most {LONGEST_NAME} are allowed",
            member=shown_name(name),
        )
    return Member(name, link=Link(target, is_hard=entry.islnk()))


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


def _readable(name: str) -> str:
    """Return the name; bytes that are no UTF-8 are read as cp437, as those of a zip are: no name is refused."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return name.encode("utf-8", "surrogateescape").decode("cp437")
    return name


class _CheckedHeader(tarfile.TarInfo):
    """A header that is checked before tarfile acts on it; `seen` and `ended` belong to one archive's subclass."""

    seen = 0
    ended = False
    extensions = 0  # in a row
    extension_bytes = 0
    global_bytes = 0
    pax_bytes: int | None = None  # of the pax header whose records come next

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
                f"{shown_name(header.name)} is {KINDS[header.type]}; only files, folders and links are allowed",
                member=shown_name(header.name),
            )
        if header.size < 0:
            raise ArchiveCorrupt(f"{shown_name(header.name)}: its size is given as {header.size} bytes; {PACK_ANEW}")
        cls.extensions = cls.extensions + 1 if header.type in EXTENSIONS else 0
        if cls.extensions:
            cls._count_extension(header)
        return header

    @classmethod
    def _count_extension(cls, header: tarfile.TarInfo) -> None:
        if cls.extensions > MOST_EXTENSIONS or header.size > LONGEST_EXTENSION_BYTES:
            raise ArchiveCorrupt(
                f"the tar has {cls.extensions} extension headers in a row, the last of {counted(header.size, 'byte')}; "
                f"at most {MOST_EXTENSIONS} of {LONGEST_EXTENSION_BYTES} are allowed"
            )
        cls.extension_bytes += header.size
        if cls.extension_bytes > FREE_EXTENSION_BYTES + EXTENSION_BYTES * cls.seen:
            raise ArchiveCorrupt(
                f"the extension headers of the tar take {cls.extension_bytes} bytes for "
                f"{counted(cls.seen, 'header')}; {PACK_ANEW}"
            )
        if header.type == tarfile.XGLTYPE:
            cls.global_bytes += header.size
        if cls.global_bytes > LONGEST_GLOBAL_BYTES:
            raise ArchiveCorrupt(f"global headers of the tar take more than {LONGEST_GLOBAL_BYTES} bytes; {PACK_ANEW}")
        if header.type in PAX:
            cls.pax_bytes = header.size


def _header_class() -> type[_CheckedHeader]:
    class OneArchivesHeader(_CheckedHeader):
        pass

    return OneArchivesHeader


class _Metered:
    """The unpacked bytes, read forward only, stopped where they grow out of proportion.

    tarfile reads a pax header's records at once and next, so that they are checked here before it looks at them.
    """

    def __init__(
        self,
        stream: IO[bytes],
        *,
        compressed: BinaryIO,
        limits: Limits,
        ledger: Ledger,
        header: type[_CheckedHeader],
    ) -> None:
        self._stream = stream
        self._compressed = compressed
        self._limits = limits
        self._ledger = ledger
        self._header = header
        self._given = 0
        self._buffer = b""
        self._position = 0
        self.left_for_header: int | None = LONGEST_HEADER_BYTES

    def read(self, size: int) -> bytes:
        while len(self._buffer) < size and (chunk := self._next_chunk()):
            self._buffer += chunk
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        self._position += len(data)
        if self.left_for_header is not None:
            self.left_for_header -= len(data)
            if self.left_for_header < 0:  # a sparse file's map, for one, which tarfile reads as far as it goes
                raise ArchiveCorrupt(f"a header of the tar is longer than {LONGEST_HEADER_BYTES} bytes; {PACK_ANEW}")
        if (pax_bytes := self._header.pax_bytes) is not None:
            self._header.pax_bytes = None
            if len(data) >= pax_bytes and (fault := pax_records.fault(data[:pax_bytes])) is not None:
                raise ArchiveCorrupt(f"a pax header of the tar {fault}; {PACK_ANEW}")
        return data

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> int:
        while self._position < position and self.read(min(CHUNK_BYTES, position - self._position)):
            pass
        if self._position > position:
            raise tarfile.StreamError("the archive is read forward only")
        return self._position

    def drain(self) -> None:
        """Read on to the end: that is where the compressed stream's own checksum is compared."""
        while self.read(CHUNK_BYTES):
            pass

    def _next_chunk(self) -> bytes:
        try:
            chunk = self._stream.read(CHUNK_BYTES)
        except EOFError as error:
            raise ArchiveTruncated(f"the compressed tar ends too early: {SEND_AGAIN}") from error
        except Fruitless as error:
            raise CompressionTooHigh(f"{error}; {PACK_ANEW}") from error
        except TooMuchMemory as error:
            raise ArchiveRefused(f"{error}; pack it with a smaller dictionary or window, as by default") from error
        except (OSError, *decompression.DAMAGE) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the disk's; bzip2's own have no number
            raise ArchiveCorrupt(f"the compressed tar is damaged ({error}); {PACK_ANEW}") from error
        self._given += len(chunk)
        taken, limits = self._compressed.tell(), self._limits
        if self._given > max(limits.ratio_free_bytes, limits.ratio * taken):
            raise CompressionTooHigh(
                f"the archive unpacks from {taken} to more than {self._given} bytes; "
                f"at most {limits.ratio} for each byte {inflected(limits.ratio, 'is', 'are')} allowed"
            )
        if self._given > limits.unpacked_bytes + HEADER_ROOM_BYTES * self._ledger.files + limits.ratio_free_bytes:
            raise too_much(limits)
        return chunk
