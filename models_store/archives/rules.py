"""Rules for archives of users: names, kinds and sizes of members, and the error for each violation.

ArchiveRefused               422  the archive breaks a rule; `code` says which
├── ArchiveTruncated              it ends too early
├── ArchiveCorrupt                a checksum, a size or a header is wrong
├── MemberNameRefused             `..`, an absolute path, a NUL …
├── MemberKindRefused             a device, a pipe, a sparse file, a link that leads outside
├── MemberEncrypted               a password is needed
├── MemberNested                  an archive inside the archive
├── MembersOverlap                two zip entries share bytes
├── MembersCollide                two members of one name
├── CompressionTooHigh            more than 100 bytes for each byte
└── TooManyMembers                over DATASET_MAX_FILES
NotAnArchive                 415  neither zip nor tar
UnpackedTooLarge             413  over UNPACKED_MAX_BYTES
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from models_store.errors import FieldError, Invalid, TooLarge, UnsupportedType
from models_store.wording import counted

CHUNK_BYTES = 1 << 16
LONGEST_NAME = 1024
ABSOLUTE = re.compile(r"/|[A-Za-z]:/")
SEND = "send a zip, or a tar (plain, gzip, bzip2, xz, lzma or zstd)"
PACK_ANEW = "pack the archive again"
SEND_AGAIN = "it was cut off on its way; send it again"
ACCEPTED = ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz", "tar.lzma", "tar.zst"]
ARCHIVE_SUFFIXES = frozenset(
    [".zip", ".tar", ".gz", ".tgz", ".bz2", ".tbz2", ".xz", ".txz", ".zst", ".tzst", ".lzma", ".7z", ".rar", ".lz4"]
)
ARCHIVE_MAGIC = (
    b"PK\x03\x04",
    b"PK\x05\x06",
    b"\x1f\x8b\x08",
    b"BZh",
    b"\xfd7zXZ\x00",
    b"7z\xbc\xaf\x27\x1c",
    b"Rar!\x1a\x07",
    b"\x28\xb5\x2f\xfd",
)
DOCUMENT_SUFFIXES = frozenset(
    [".docx", ".xlsx", ".pptx", ".odt", ".ods", ".odp", ".npz"]
)  # zip files by trade, never opened here


class ArchiveRefused(Invalid):
    """The archive breaks a rule."""

    code = "archive_invalid"
    title = "The archive can't be used"

    def __init__(self, detail: str, *, member: str | None = None) -> None:
        errors = () if member is None else (FieldError(member, self.code, detail),)
        super().__init__(detail, errors=errors)


class ArchiveTruncated(ArchiveRefused):
    """The archive ends too early."""

    code = "archive_truncated"


class ArchiveCorrupt(ArchiveRefused):
    """A checksum, a size or a header in the archive is wrong."""

    code = "archive_corrupt"


class MemberNameRefused(ArchiveRefused):
    """A member's name would leave the folder it is unpacked in, or is read differently by different systems."""

    code = "archive_name_unsafe"


class MemberKindRefused(ArchiveRefused):
    """A member is neither a file nor a folder, nor a link to one."""

    code = "archive_member_kind"


class MemberEncrypted(ArchiveRefused):
    """A member needs a password."""

    code = "archive_encrypted"


class MemberNested(ArchiveRefused):
    """A member is an archive itself."""

    code = "archive_nested"


class MembersOverlap(ArchiveRefused):
    """Two zip entries share bytes."""

    code = "archive_overlapping_entries"


class MembersCollide(ArchiveRefused):
    """Two members have one name."""

    code = "archive_names_collide"


class CompressionTooHigh(ArchiveRefused):
    """The archive unpacks to far more than its own size."""

    code = "archive_compression_ratio"


class TooManyMembers(ArchiveRefused):
    """The archive contains too many files."""

    code = "archive_too_many_files"


class NotAnArchive(UnsupportedType):
    """The upload is neither a zip nor a tar."""

    code = "not_an_archive"
    title = "Not an archive"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, errors=[FieldError("", self.code, detail, allowed=ACCEPTED)])


class UnpackedTooLarge(TooLarge):
    """The archive's files are over the limit together."""

    code = "archive_unpacked_too_large"
    title = "The archive unpacks to too much"


@dataclass(frozen=True)
class Limits:
    """Limits of an archive.

    Blank images and tables compress far beyond `ratio`, harmlessly while they are small: a member below
    `ratio_free_member_bytes`, and an archive below `ratio_free_bytes`, are not held to it.
    """

    files: int
    unpacked_bytes: int
    ratio: int = 100
    ratio_free_member_bytes: int = 1 << 20
    ratio_free_bytes: int = 1 << 24


def too_many(limits: Limits) -> TooManyMembers:
    """Return the error for an archive with more members than `limits` allow."""
    return TooManyMembers(
        "the archive contains more than the allowed "
        f"{counted(limits.files, 'file or folder', 'files and folders')}; split the dataset, or raise DATASET_MAX_FILES"
    )


def too_much(limits: Limits) -> UnpackedTooLarge:
    """Return the error for an archive that unpacks to more than `limits` allow."""
    return UnpackedTooLarge(
        f"the archive unpacks to more than the allowed {counted(limits.unpacked_bytes, 'byte')}; make it smaller, "
        "or raise UNPACKED_MAX_BYTES"
    )


@dataclass(frozen=True)
class Link:
    """Where a link leads, as the archive writes it: from its top (a hard link), or from the link's folder."""

    target: str
    is_hard: bool

    @property
    def kind(self) -> str:
        """Return the word for it."""
        return "hard" if self.is_hard else "symbolic"


class Member:
    """A file, folder or link of an archive, while the archive stands at it: its bytes can be read once, now."""

    def __init__(
        self,
        name: str,
        *,
        size_bytes: int = 0,
        is_folder: bool = False,
        chunks: Iterator[bytes] | None = None,
        link: Link | None = None,
    ) -> None:
        self.name = name
        self.link = link
        self.size_bytes = size_bytes
        self.is_folder = is_folder
        self.read_bytes = 0
        self._source = chunks or iter(())
        self.head = self._next()
        self._chunks = self._all()

    def __iter__(self) -> Iterator[bytes]:
        """Return the rest of the file, in chunks of at most 64 KiB."""
        return self._chunks

    def content(self) -> bytes:
        """Return the rest of the file at once; look at `size_bytes` first."""
        return b"".join(self._chunks)

    def _all(self) -> Iterator[bytes]:
        chunk = self.head
        while chunk:
            yield chunk
            chunk = self._next()

    def _next(self) -> bytes:
        chunk = next(self._source, b"")
        self.read_bytes += len(chunk)
        return chunk


class Ledger:
    """The rules that look at more than one member: how many, how much together, whose names collide."""

    def __init__(self, limits: Limits) -> None:
        self.files = 0
        self._limits = limits
        self._bytes = 0
        self._files: dict[str, str] = {}  # folded path → the path as it is written
        self._folders: dict[str, str] = {}  # (two spellings of a folder are the dataset's to judge)

    def admit(self, raw_name: str, *, size_bytes: int, is_folder: bool) -> str:
        """Return the member's name with `/` between its parts and no `.` among them; the root itself is "".

        Raises:
            ArchiveRefused, UnpackedTooLarge: if the member, or the archive with it, breaks a rule.
        """
        name = _checked_name(raw_name)
        if not name and not is_folder:
            raise MemberNameRefused(f"a file of the archive has no name; {PACK_ANEW}")
        self.files += 1
        if self.files > self._limits.files:
            raise too_many(self._limits)
        if size_bytes < 0:
            raise ArchiveCorrupt(f"{name}: its size is given as {size_bytes} bytes", member=name)
        self._bytes += size_bytes
        if self._bytes > self._limits.unpacked_bytes:
            raise too_much(self._limits)
        if not is_folder:
            _refuse_archive_by_name(name)
        self._note(name, is_folder=is_folder)
        return name

    def _note(self, name: str, *, is_folder: bool) -> None:
        folded = _folded(name)
        if folded in self._files or (not is_folder and folded in self._folders):
            _refuse_pair(self._files.get(folded) or self._folders[folded], name)
        if is_folder:
            self._folders.setdefault(folded, name)
        else:
            self._files[folded] = name if name != folded else folded  # one string where they are equal
        parent = folded.rpartition("/")[0]
        while parent and parent not in self._folders:
            if parent in self._files:
                _refuse_pair(self._files[parent], name)
            self._folders[parent] = parent
            parent = parent.rpartition("/")[0]


def refuse_archive_by_content(name: str, head: bytes) -> None:
    """Refuse a member whose first bytes are those of an archive.

    Raises:
        MemberNested: if they are.
    """
    is_archive = head.startswith(ARCHIVE_MAGIC) or head[257:262] == b"ustar"
    if is_archive and PurePosixPath(name).suffix.lower() not in DOCUMENT_SUFFIXES:
        raise MemberNested(f"{name} is an archive inside the archive; unpack it first and send its files", member=name)


def _refuse_archive_by_name(name: str) -> None:
    if PurePosixPath(name).suffix.lower() in ARCHIVE_SUFFIXES:
        raise MemberNested(f"{name} is an archive inside the archive; unpack it first and send its files", member=name)


def shown_name(raw: str) -> str:
    """Return the name as a message may hold it."""
    return raw if raw.isprintable() else ascii(raw)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _refuse_pair(first: str, second: str) -> None:
    if first == second:
        raise MembersCollide(f"{first} is in the archive twice; keep one of them", member=first)
    if second.startswith(f"{first}/") or first.startswith(f"{second}/"):
        raise MembersCollide(f"{first} and {second}: the shorter one is a file and a folder; keep one", member=second)
    raise MembersCollide(
        f"{first} and {second} are one name in two Unicode forms; rename one of them",
        member=second,
    )


def _checked_name(raw: str) -> str:
    raw = raw.replace("\\", "/")  # between folders, as Windows' own packer writes them
    shown, reason = shown_name(raw), None
    judged = raw.removesuffix("\r") if raw.endswith("Icon\r") else raw  # how macOS names a folder's icon
    if not judged.isprintable() and any(unicodedata.category(character) in {"Cc", "Cs"} for character in judged):
        reason = "contains a NUL or another control character"
    elif ABSOLUTE.match(raw):
        reason = "is absolute; names must be relative to the archive"
    elif ".." in raw.split("/"):
        reason = "leaves the archive's folder by `..`"
    elif len(raw) > LONGEST_NAME:
        shown, reason = f"{shown[:80]}…", f"has {len(raw)} characters; at most {LONGEST_NAME} are allowed"
    if reason:
        raise MemberNameRefused(
            f"the member name {shown} {reason}; pack the archive again with plain relative names", member=shown
        )
    return "/".join(part for part in raw.split("/") if part not in {"", "."})
