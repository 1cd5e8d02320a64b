"""Reading the members of a zip one after the other, with every claim verified that can be.

The structure is that of PKWARE's APPNOTE 6.3.10. zipfile does the reading; what it takes on trust (how long the
directory is, that entries lie apart, that sizes are true) is checked here, before the first byte is unpacked.
"""

import stat
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from models_store.archives.rules import (
    CHUNK_BYTES,
    LONGEST_NAME,
    PACK_ANEW,
    SEND_AGAIN,
    ArchiveCorrupt,
    ArchiveTruncated,
    CompressionTooHigh,
    Ledger,
    Limits,
    Link,
    Member,
    MemberEncrypted,
    MemberKindRefused,
    MembersOverlap,
    refuse_archive_by_content,
    too_many,
)
from models_store.archives.zip_names import NameReading, names_of
from models_store.wording import counted, inflected

METHODS = {ZIP_STORED: "stored", ZIP_DEFLATED: "deflate", ZIP_BZIP2: "bzip2"}
END = struct.Struct("<4s4H2LH")  # end of central directory
END64 = struct.Struct("<4sQ2H2L4Q")
LOCATOR64 = struct.Struct("<4sLQL")
ENTRY = struct.Struct("<4s24x3H12x")  # a directory entry, 46 bytes: name, extra and comment lengths
LOCAL_HEADER_BYTES = 30
AVERAGE_ENTRY_BYTES = 1024
ENCRYPTED_FLAGS = 0x1 | 0x40 | 0x2000  # traditional, strong, masked headers
DOS_FOLDER = 0x10


def read_zip(path: Path, limits: Limits, *, names: NameReading) -> Iterator[Member]:
    """Yield the members of the zip at `path` in the order in which they lie there. Every byte is checked, read or not.

    Raises:
        ArchiveRefused, UnpackedTooLarge: if it breaks a rule; most are seen before the first member is yielded.
    """
    with path.open("rb") as file:
        _check_directory(file, limits)
        try:
            archive = ZipFile(file)
        except (BadZipFile, NotImplementedError, ValueError, struct.error, OverflowError) as error:
            raise ArchiveCorrupt(f"the zip's directory can't be read ({error}); {PACK_ANEW}") from error
        with archive:
            members = _admitted(archive, limits, archive_bytes=path.stat().st_size, names=names)
            for entry, name, is_folder in members:
                if is_folder:
                    if name:
                        yield Member(name, is_folder=True)
                    continue
                with _opened(archive, entry, name) as stream:
                    if _is_link(entry):
                        yield _link(name, b"".join(_chunks(stream, name)))
                        continue
                    member = Member(name, size_bytes=entry.file_size, is_folder=False, chunks=_chunks(stream, name))
                    refuse_archive_by_content(name, member.head)
                    yield member
                    for _ in member:
                        pass  # to the end: that is where zipfile compares the checksum
                if member.read_bytes != entry.file_size:
                    raise ArchiveCorrupt(
                        (
                            f"{name}: {counted(entry.file_size, 'byte is', 'bytes are')} announced, but "
                            f"{counted(member.read_bytes, 'was', 'were')} found; {PACK_ANEW}"
                        ),
                        member=name,
                    )


def _check_directory(file: BinaryIO, limits: Limits) -> None:
    """Walk the central directory in constant memory: zipfile reads all of it at once, however long it is."""
    size = file.seek(0, 2)
    tail_at = max(0, size - END.size - 0xFFFF - END64.size - LOCATOR64.size)
    file.seek(tail_at)
    tail = file.read()
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or len(tail) - end < END.size:
        raise ArchiveTruncated(f"the zip has no directory at its end: {SEND_AGAIN}")
    *_, directory_bytes, _offset, _comment = END.unpack_from(tail, end)
    locator, end64 = end - LOCATOR64.size, end - LOCATOR64.size - END64.size
    start = end
    if end64 >= 0 and tail[locator : locator + 4] == b"PK\x06\x07" and tail[end64 : end64 + 4] == b"PK\x06\x06":
        directory_bytes, start = END64.unpack_from(tail, end64)[8], end64
    position = tail_at + start - directory_bytes
    if position < 0:
        raise ArchiveTruncated(
            "the zip's directory starts before the file does: the beginning is missing; send it again"
        )
    file.seek(position)
    count, left = 0, directory_bytes
    while left > 0:
        header = file.read(ENTRY.size)
        if len(header) < ENTRY.size or header[:4] != b"PK\x01\x02":
            raise ArchiveCorrupt(f"the zip's directory is damaged; {PACK_ANEW}")
        variable = sum(ENTRY.unpack(header)[1:])
        file.read(variable)
        left -= ENTRY.size + variable
        count += 1
        if count > limits.files:
            raise too_many(limits)
    if directory_bytes > AVERAGE_ENTRY_BYTES * count + CHUNK_BYTES:
        raise ArchiveCorrupt(
            f"the zip's directory takes {directory_bytes} bytes for {counted(count, 'entry', 'entries')}; {PACK_ANEW}"
        )


def _admitted(
    archive: ZipFile, limits: Limits, *, archive_bytes: int, names: NameReading
) -> list[tuple[ZipInfo, str, bool]]:
    """Return each entry with its checked name, and whether it is a folder."""
    ledger = Ledger(limits)
    entries = sorted(archive.infolist(), key=lambda entry: entry.header_offset)
    admitted = []
    for entry, raw_name in zip(entries, names_of(entries, names), strict=True):
        is_folder = raw_name.endswith(("/", "\\"))
        name = ledger.admit(raw_name, size_bytes=entry.file_size, is_folder=is_folder)
        admitted.append((entry, name, is_folder))
    for entry, name, is_folder in admitted:
        _check_kind(entry, name, is_folder=is_folder)
        if entry.file_size > max(limits.ratio_free_member_bytes, limits.ratio * entry.compress_size):
            raise CompressionTooHigh(
                f"{name} unpacks from {entry.compress_size} to {entry.file_size} bytes; "
                f"at most {limits.ratio} for each byte {inflected(limits.ratio, 'is', 'are')} allowed",
                member=name,
            )
    _check_apart(admitted, directory_at=archive.start_dir)
    total = sum(entry.file_size for entry in entries)
    if total > max(limits.ratio_free_bytes, limits.ratio * archive_bytes):
        raise CompressionTooHigh(
            f"the archive unpacks from {archive_bytes} to {total} bytes; "
            f"at most {limits.ratio} for each byte {inflected(limits.ratio, 'is', 'are')} allowed"
        )
    return admitted


def _is_link(entry: ZipInfo) -> bool:
    return stat.S_ISLNK(entry.external_attr >> 16)


def _link(name: str, target: bytes) -> Member:
    """Return the symbolic link whose content is its target."""
    try:
        text = target.decode("utf-8")
    except UnicodeDecodeError:
        text = target.decode("cp437")
    return Member(name, link=Link(text.replace("\\", "/"), is_hard=False))


def _check_kind(entry: ZipInfo, name: str, *, is_folder: bool) -> None:
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK}:
        what = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}.get(kind, "a device")
        raise MemberKindRefused(f"{name} is {what}; only files, folders and links are allowed", member=name)
    if kind == stat.S_IFLNK and (is_folder or entry.file_size > LONGEST_NAME):
        raise MemberKindRefused(
            f"{name} is a symbolic link of {counted(entry.file_size, 'byte')} that can't be read; "
            f"{PACK_ANEW} without -y",
            member=name,
        )
    if is_folder and entry.file_size:
        raise ArchiveCorrupt(
            f"{name} is a folder that contains {counted(entry.file_size, 'byte')}; {PACK_ANEW}", member=name
        )
    if kind == stat.S_IFDIR and not is_folder:
        raise ArchiveCorrupt(f"{name} is marked as a folder but named like a file; {PACK_ANEW}", member=name)
    if entry.flag_bits & ENCRYPTED_FLAGS:
        raise MemberEncrypted(f"{name} is encrypted; {PACK_ANEW} without a password", member=name)
    if entry.compress_type not in METHODS:
        raise ArchiveCorrupt(
            f"{name} is packed with method {entry.compress_type}; "
            f"{PACK_ANEW} with one of: {', '.join(METHODS.values())}",
            member=name,
        )
    if entry.compress_type == ZIP_STORED and entry.compress_size != entry.file_size:
        raise ArchiveCorrupt(
            f"{name} is stored uncompressed in {counted(entry.compress_size, 'byte')}, but announced with "
            f"{entry.file_size}; {PACK_ANEW}",
            member=name,
        )


def _check_apart(admitted: list[tuple[ZipInfo, str, bool]], *, directory_at: int) -> None:
    """Refuse entries that share bytes: 46 MB of them unpack to 4.5 PB (Fifield, "A better zip bomb", 2019)."""
    ends = [entry.header_offset for entry, _, _ in admitted[1:]] + [directory_at]
    for (entry, name, _), end in zip(admitted, ends, strict=False):
        local_name_bytes = len(entry.orig_filename.encode("utf-8" if entry.flag_bits & 0x800 else "cp437"))
        if (
            entry.header_offset < 0
            or entry.header_offset + LOCAL_HEADER_BYTES + local_name_bytes + entry.compress_size > end
        ):
            raise MembersOverlap(f"{name} shares bytes with what follows it in the zip; {PACK_ANEW}", member=name)


def _opened(archive: ZipFile, entry: ZipInfo, name: str) -> IO[bytes]:
    try:
        return archive.open(entry)
    except (BadZipFile, NotImplementedError, RuntimeError, ValueError, struct.error, EOFError) as error:
        raise ArchiveCorrupt(f"{name} can't be read from the zip ({error}); {PACK_ANEW}", member=name) from error


def _chunks(stream: IO[bytes], name: str) -> Iterator[bytes]:
    while True:
        try:
            chunk = stream.read(CHUNK_BYTES)
        except (BadZipFile, EOFError, zlib.error, ValueError) as error:
            raise ArchiveCorrupt(f"{name} is damaged in the zip ({error}); {PACK_ANEW}", member=name) from error
        except OSError as error:
            if error.errno is not None:
                raise  # the disk's; bzip2's own have no number
            raise ArchiveCorrupt(f"{name} is damaged in the zip ({error}); {PACK_ANEW}", member=name) from error
        if not chunk:
            return
        yield chunk
