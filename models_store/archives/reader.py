"""The only reader of user archives: zip and tar, plain or compressed, member by member, never unpacked to disk.

What an archive may hold is in `archive_rules.py`; how each format is read in `zip_archives.py` and `tar_archives.py`.
"""

from collections.abc import Iterator
from pathlib import Path

from models_store.archives.decompression import is_compressed
from models_store.archives.rules import SEND, Limits, Member, NotAnArchive
from models_store.archives.tar_reader import is_tar, read_tar
from models_store.archives.zip_names import NameReading
from models_store.archives.zip_reader import read_zip

NOT_READ = {
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"\x04\x22\x4d\x18": "compressed by LZ4",
    b"LZIP": "compressed by lzip",
    b"\x1f\x9d": "compressed by compress (.Z)",
    b"\x89LZO": "compressed by lzop",
    b"MSCF": "a cabinet file",
    b"!<arch>": "an ar archive",
    b"xar!": "a xar archive",
    b"070701": "a cpio archive",
    b"PK\x07\x08": "a part of a split zip",
}


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
        raise NotAnArchive(f"the upload is empty; {SEND}")
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        yield from read_zip(path, limits, names=names or NameReading())
    elif is_compressed(head) or is_tar(head):
        yield from read_tar(path, limits)
    else:
        known = next((name for magic, name in NOT_READ.items() if head.startswith(magic)), None)
        what = f"is {known}, which is not read" if known else f"starts with {ascii(head[:16])[1:]}, no zip or tar"
        raise NotAnArchive(f"the upload {what}; {SEND}")
