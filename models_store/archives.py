"""The only reader of user archives: zip and tar (plain, gzip, bzip2, xz), member by member, never unpacked to disk.

What an archive may hold is in `archive_rules.py`; how each format is read in `zip_archives.py` and `tar_archives.py`.
"""

from collections.abc import Iterator
from pathlib import Path

from models_store.archive_rules import SEND, Limits, Member, NotAnArchive
from models_store.tar_archives import is_tar, read_tar
from models_store.zip_archives import read_zip
from models_store.zip_names import NameReading

COMPRESSED_TAR = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ")


def read_archive(path: Path, limits: Limits, *, names: NameReading | None = None) -> Iterator[Member]:
    """Yield the members of the archive at `path`; what it is, is seen from its bytes, not from its name.

    `names` says how names are read that a zip does not give in UTF-8, and hears what was guessed.

    A member can be read until the next one is asked for. Every byte of every member passes by, read or not, so that
    a wrong checksum or size is seen anywhere. Memory: 64 KiB, and the names.

    Raises:
        NotAnArchive: if it is neither a zip nor a tar.
        ArchiveRefused, UnpackedTooLarge: if it breaks a rule of `archive_rules.py`; in a tar, perhaps late.
    """
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        raise NotAnArchive(f"nothing came: the upload is empty; {SEND}")
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        yield from read_zip(path, limits, names=names or NameReading())
    elif head.startswith(COMPRESSED_TAR) or is_tar(head):
        yield from read_tar(path, limits)
    else:
        raise NotAnArchive(f"the upload starts with {ascii(head[:16])[1:]}, which is no zip or tar; {SEND}")
