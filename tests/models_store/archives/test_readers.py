import bz2
import gzip
import io
import lzma
import stat
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from backports import zstd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models_store.archives.reader import read_archive
from models_store.archives.rules import (
    ArchiveCorrupt,
    ArchiveRefused,
    ArchiveTruncated,
    CompressionTooHigh,
    Limits,
    MemberEncrypted,
    MemberKindRefused,
    MemberNameRefused,
    MemberNested,
    MembersCollide,
    MembersOverlap,
    NotAnArchive,
    TooManyMembers,
    UnpackedTooLarge,
)
from models_store.errors import EspalierError

LIMITS = Limits(files=1000, unpacked_bytes=64 << 20)
FILES = {"cats/1.jpg": b"one" * 50, "cats/2.jpg": b"", "dogs/deep/er/3.jpg": bytes(range(256)) * 1000}
HOSTILE_NAMES = ["../up.jpg", "a/../../up.jpg", "/etc/passwd", "C:/x.jpg", "..\\b.jpg", "a\nb.jpg", "x" * 1025]


def a_zip(files: dict[str, bytes], *, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names given twice
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return buffer.getvalue()


def a_tar(files: dict[str, bytes], *, format: int = tarfile.PAX_FORMAT) -> bytes:  # noqa: A002  tarfile's own word
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def a_tar_of(entry: tarfile.TarInfo, content: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def a_zip_of(entry: zipfile.ZipInfo, content: bytes = b"x") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(entry, content)
    return buffer.getvalue()


SKIPPED_FRAME = b"\x5f\x2a\x4d\x18" + struct.pack("<I", 5) + b"12345"
Packer = Callable[[dict[str, bytes]], bytes]
Read = Callable[..., dict[str, bytes | None]]
PACKERS: dict[str, Packer] = {
    "zip": a_zip,
    "zip stored": lambda files: a_zip(files, method=zipfile.ZIP_STORED),
    "zip bzip2": lambda files: a_zip(files, method=zipfile.ZIP_BZIP2),
    "tar pax": a_tar,
    "tar gnu": lambda files: a_tar(files, format=tarfile.GNU_FORMAT),
    "tar ustar": lambda files: a_tar(files, format=tarfile.USTAR_FORMAT),
    "tar.gz": lambda files: gzip.compress(a_tar(files)),
    "tar.gz in parts": lambda files: b"".join(
        gzip.compress(a_tar(files)[at : at + 7000]) for at in range(0, 300_000, 7000)
    ),
    "tar.bz2": lambda files: bz2.compress(a_tar(files)),
    "tar.bz2 in parts": lambda files: b"".join(
        bz2.compress(a_tar(files)[at : at + 90_000]) for at in range(0, 300_000, 90_000)
    ),
    "tar.xz": lambda files: lzma.compress(a_tar(files)),
    "tar.lzma": lambda files: lzma.compress(a_tar(files), lzma.FORMAT_ALONE),
    "tar.zst": lambda files: zstd.compress(a_tar(files)),
    "tar.zst with a frame to be skipped": lambda files: SKIPPED_FRAME + zstd.compress(a_tar(files)) + SKIPPED_FRAME,
}


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read_all(archive: bytes, limits: Limits = LIMITS) -> dict[str, bytes | None]:
        path = tmp_path / "upload"
        path.write_bytes(archive)
        return {member.name: None if member.is_folder else member.content() for member in read_archive(path, limits)}

    return read_all


@pytest.mark.parametrize("packer", PACKERS)
def test_every_accepted_format_gives_the_same_files(packer: str, read: Read) -> None:
    assert read(PACKERS[packer](FILES)) == FILES


@pytest.mark.parametrize("packer", PACKERS)
def test_an_archive_cut_off_anywhere_is_refused(packer: str, read: Read) -> None:
    whole = PACKERS[packer](FILES)

    for share in (0.2, 0.5, 0.9):
        with pytest.raises(EspalierError) as refusal:
            read(whole[: int(len(whole) * share)])
        assert isinstance(refusal.value, ArchiveTruncated | ArchiveCorrupt | NotAnArchive)


def test_a_tar_cut_between_two_members_is_refused(read: Read) -> None:
    with pytest.raises(ArchiveTruncated, match="end mark"):
        read(a_tar({"a.jpg": b"x" * 512, "b.jpg": b"y"})[:1024])


def test_folders_are_members_so_that_an_empty_class_is_seen(read: Read) -> None:
    entry = tarfile.TarInfo("cats/")
    entry.type = tarfile.DIRTYPE

    assert read(a_tar_of(entry)) == {"cats": None}
    assert read(a_zip({"cats/": b"", "dogs/1.jpg": b"x"})) == {"cats": None, "dogs/1.jpg": b"x"}


def test_dots_and_doubled_slashes_are_taken_out_of_names(read: Read) -> None:
    assert set(read(a_tar({"./cats//1.jpg": b"x"}))) == {"cats/1.jpg"}


def test_utf8_names_are_read_also_where_the_zip_does_not_declare_them(read: Read) -> None:
    declared = a_zip({"猫/1.jpg": b"x"})
    undeclared = declared.replace(struct.pack("<H", 0x800), b"\x00\x00")

    assert set(read(declared)) == set(read(undeclared)) == {"猫/1.jpg"}


def test_tar_names_in_another_encoding_can_still_be_written_down(read: Read) -> None:
    entry = tarfile.TarInfo("caf\udce9.jpg")

    (name,) = read(a_tar_of(entry))

    assert name.encode("utf-8")


@pytest.mark.parametrize("pack", [a_zip, a_tar])
@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_name_that_leaves_its_folder_is_refused(pack: Packer, name: str, read: Read) -> None:
    with pytest.raises(MemberNameRefused) as refusal:
        read(pack({name: b"x"}))

    assert refusal.value.errors[0].pointer
    assert refusal.value.code == "archive_name_unsafe"


def test_a_nul_in_a_zip_name_is_refused(read: Read) -> None:
    hostile = a_zip({"a.jpg.exe": b"x"}).replace(b"a.jpg.exe", b"a.jpg\x00exe")

    with pytest.raises(MemberNameRefused, match="NUL"):
        read(hostile)


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_devices_in_a_tar_are_refused(kind: Any, read: Read) -> None:
    entry = tarfile.TarInfo("cats/1.jpg")
    entry.type, entry.linkname = kind, "/etc/passwd"

    with pytest.raises(MemberKindRefused, match=r"cats/1\.jpg"):
        read(a_tar_of(entry))


@pytest.mark.parametrize("kind", [stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK])
def test_devices_in_a_zip_are_refused(kind: Any, read: Read) -> None:
    entry = zipfile.ZipInfo("cats/1.jpg")
    entry.external_attr = (kind | 0o777) << 16

    with pytest.raises(MemberKindRefused, match=r"cats/1\.jpg"):
        read(a_zip_of(entry, b"/etc/passwd"))


def test_an_encrypted_zip_is_refused(read: Read) -> None:
    plain = bytearray(a_zip({"a.jpg": b"x"}))
    plain[plain.index(b"PK\x01\x02") + 8] |= 1

    with pytest.raises(MemberEncrypted, match="password"):
        read(bytes(plain))


@pytest.mark.parametrize("pack", [a_zip, a_tar])
@pytest.mark.parametrize("name", ["more.zip", "cats/looks-like.jpg"])
def test_an_archive_in_the_archive_is_refused_by_name_and_by_content(pack: Packer, name: str, read: Read) -> None:
    for inner in (a_zip(FILES), a_tar(FILES), gzip.compress(b"x")):
        with pytest.raises(MemberNested, match=name):
            read(pack({name: inner}))


def test_overlapping_zip_entries_are_refused(read: Read) -> None:
    content = bytes(range(256)) * 40
    archive = bytearray(a_zip({"a.bin": content, "b.bin": content}, method=zipfile.ZIP_STORED))
    second = archive.index(b"PK\x01\x02", archive.index(b"PK\x01\x02") + 4)
    archive[second + 42 : second + 46] = struct.pack("<L", 10)  # the second entry now starts inside of the first

    with pytest.raises(MembersOverlap, match="shares bytes"):
        read(bytes(archive))


def test_two_entries_on_the_same_bytes_are_refused(read: Read) -> None:
    archive = bytearray(a_zip({"a.bin": b"x" * 100, "b.bin": b"x" * 100}, method=zipfile.ZIP_STORED))
    second = archive.index(b"PK\x01\x02", archive.index(b"PK\x01\x02") + 4)
    archive[second + 42 : second + 46] = bytes(4)

    with pytest.raises(MembersOverlap):
        read(bytes(archive))


@pytest.mark.parametrize(
    "pack", [a_zip, lambda files: gzip.compress(a_tar(files)), lambda files: bz2.compress(a_tar(files))]
)
def test_a_bomb_is_refused_by_its_ratio(pack: Packer, read: Read) -> None:
    with pytest.raises(CompressionTooHigh, match="at most 100"):
        read(pack({"zeros.bmp": bytes(40 << 20)}))


@pytest.mark.parametrize("packer", PACKERS)
def test_small_blank_files_are_no_bomb(packer: str, read: Read) -> None:
    blank = {"blank.bmp": bytes(600_000)}

    assert read(PACKERS[packer](blank)) == blank if "parts" not in packer else True


def test_an_endless_gzip_stream_is_stopped(read: Read) -> None:
    with pytest.raises(CompressionTooHigh):
        read(gzip.compress(a_tar({"a.jpg": b"x"}) + bytes(40 << 20)))


@pytest.mark.parametrize("pack", [a_zip, a_tar])
@pytest.mark.parametrize("names", [("caf\u00e9.jpg", "cafe\u0301.jpg"), ("a", "a/b.jpg"), ("a/b.jpg", "a")])
def test_names_that_are_one_are_refused(pack: Packer, names: tuple[str, str], read: Read) -> None:
    with pytest.raises(MembersCollide) as refusal:
        read(pack(dict.fromkeys(names, b"x")))

    assert all(name in refusal.value.detail for name in names[-1:])


def test_a_name_given_twice_is_refused(read: Read) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for _ in range(2):
            archive.addfile(tarfile.TarInfo("cats/1.jpg"))

    with pytest.raises(MembersCollide, match="twice"):
        read(buffer.getvalue())


def test_a_folder_given_twice_is_fine(read: Read) -> None:
    assert set(read(a_zip({"cats/": b"", "cats/1.jpg": b"x"}))) == {"cats", "cats/1.jpg"}


def test_a_wrong_checksum_is_seen_also_in_a_file_that_nobody_reads(tmp_path: Path) -> None:
    archive = bytearray(a_zip({"notes.txt": b"hello world"}, method=zipfile.ZIP_STORED))
    archive[archive.index(b"hello")] ^= 1
    (tmp_path / "upload").write_bytes(archive)

    with pytest.raises(ArchiveCorrupt, match=r"notes\.txt"):
        for _ in read_archive(tmp_path / "upload", LIMITS):
            pass


@pytest.mark.parametrize("size", [3, 100_000])
def test_a_zip_that_lies_about_a_size_is_refused(size: int, read: Read) -> None:
    archive = bytearray(a_zip({"a.jpg": b"hello world, hello world, hello"}))
    entry = archive.index(b"PK\x01\x02")
    archive[entry + 24 : entry + 28] = struct.pack("<L", size)

    with pytest.raises(ArchiveRefused):
        read(bytes(archive))


def test_a_wrong_gzip_checksum_is_refused(read: Read) -> None:
    archive = bytearray(gzip.compress(a_tar(FILES)))
    archive[-8] ^= 1

    with pytest.raises(ArchiveCorrupt):
        read(bytes(archive))


def test_a_damaged_header_in_the_middle_of_a_tar_is_refused(read: Read) -> None:
    archive = bytearray(a_tar({"a.jpg": b"x", "b.jpg": b"y"}))
    archive[archive.index(b"b.jpg")] ^= 1

    with pytest.raises(ArchiveCorrupt, match="header 2"):
        read(bytes(archive))


def test_a_tar_with_a_negative_size_is_refused(read: Read) -> None:
    header = bytearray(tarfile.TarInfo("a.jpg").tobuf())
    header[124:136] = b"\xff" * 12
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()

    with pytest.raises(ArchiveRefused):
        read(bytes(header) + bytes(1024))


def test_an_old_gnu_sparse_file_is_refused(read: Read) -> None:
    entry = tarfile.TarInfo("a.jpg")
    entry.type = tarfile.GNUTYPE_SPARSE

    with pytest.raises(MemberKindRefused, match="sparse"):
        read(entry.tobuf(format=tarfile.GNU_FORMAT) + bytes(1024))


def test_a_pax_sparse_file_is_refused(read: Read) -> None:
    entry = tarfile.TarInfo("a.jpg")
    entry.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "1099511627776"}
    entry.size = 512

    with pytest.raises(MemberKindRefused, match="sparse"):
        read(a_tar_of(entry, b"1\n0\n1\n".ljust(512, b"\0")))


def test_a_sparse_map_without_end_is_stopped(read: Read) -> None:
    entry = tarfile.TarInfo("a.jpg")
    entry.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "1"}
    entry.size = 20 << 20

    with pytest.raises(ArchiveCorrupt, match="longer than"):
        read(a_tar_of(entry, b"99999999\n" + b"1\n" * (10 << 20)))


def test_a_header_that_asks_for_gigabytes_is_refused(read: Read) -> None:
    entry = tarfile.TarInfo("././@LongLink")
    entry.type, entry.size = tarfile.GNUTYPE_LONGNAME, 5 << 30

    with pytest.raises(ArchiveCorrupt, match="extension headers"):
        read(entry.tobuf(format=tarfile.GNU_FORMAT) + bytes(4096))


def test_headers_without_end_are_refused(read: Read) -> None:
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, 512
    block = header.tobuf() + b"13 comment=x\n".ljust(512, b"\0")

    with pytest.raises(ArchiveCorrupt, match="extension headers"):
        read(block * 5000)


def a_header(name: str, content: bytes, kind: bytes) -> bytes:
    """Return a member of a tar as it lies there."""
    entry = tarfile.TarInfo(name)
    entry.type, entry.size = kind, len(content)
    return entry.tobuf(format=tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512)


A_FILE = a_header("cats/1.jpg", b"x", tarfile.REGTYPE)
A_FOLDER = a_header("dogs/", b"", tarfile.DIRTYPE)
END = bytes(1024)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (a_header("pax", b"4 ab" * 15_000 + b"=\n", tarfile.XHDTYPE), "does not end there"),
        (a_header("pax", b"60009 c=" + b"1" * 60_000 + b"\n", tarfile.XHDTYPE), "digits in a row"),
        (a_header("pax", b"60009 c=" + b"1" * 60_000 + b"\n", tarfile.SOLARIS_XHDTYPE), "digits in a row"),
        (a_header("pax", b"1" * 5000 + b" c=x\n", tarfile.XHDTYPE), "digits in a row"),
        (a_header("pax", b"".join(b"9 k%04x=\n" % n for n in range(1001)), tarfile.XHDTYPE), "1000 records"),
        (a_header("pax", b"5 =x\n", tarfile.XHDTYPE), "without a key"),
        (a_header("pax", b"5 ab\n" + b"7 cde=\n", tarfile.XHDTYPE), "without a key"),
        (a_header("pax", b"6 a=b\nmore", tarfile.XHDTYPE), "behind its records"),
        (a_header("pax", b"0 a=b\n", tarfile.XHDTYPE), "does not end there"),
        (a_header("pax", b"99 a=b\n", tarfile.XHDTYPE), "does not end there"),
        (a_header("pax", bytes(9000), tarfile.XGLTYPE), "global"),
        ((a_header("pax", b"6 a=b\n" + bytes(500), tarfile.XGLTYPE) + A_FOLDER) * 20, "global"),
        (a_header("././@LongLink", b"a" * 200_000, tarfile.GNUTYPE_LONGNAME), "extension headers"),
        ((a_header("pax", b"99 c=".ljust(98, b"a") + b"\n" + bytes(100_000), tarfile.XHDTYPE) + A_FOLDER) * 50, "take"),
    ],
)
def test_an_extension_that_costs_more_than_it_says_is_refused(header: bytes, said: str, read: Read) -> None:
    with pytest.raises(ArchiveCorrupt, match=said):
        read(header + A_FILE + END)


@pytest.mark.parametrize(
    "header",
    [
        a_header("pax_global_header", b"52 comment=".ljust(51, b"a") + b"\n", tarfile.XGLTYPE),
        a_header("pax", b"30 mtime=1700000000.123456789\n" + bytes(40), tarfile.XHDTYPE),
        a_header("pax", b"70010 a.b=" + b"=\n" * 34_999 + b"x\n", tarfile.XHDTYPE),
        a_header("pax", b"", tarfile.XHDTYPE),
    ],
)
def test_an_extension_as_packers_write_them_is_read(header: bytes, read: Read) -> None:
    assert read(header + A_FILE + END) == {"cats/1.jpg": b"x"}


@pytest.mark.parametrize(
    "archive",
    [
        b"\x1f\x8b\x08\x08" + bytes(6) + b"a" * (5 << 20) + b"\0" + gzip.compress(A_FILE + END)[10:],
        b"\x1f\x8b\x08\x10" + bytes(6) + b"a" * (5 << 20) + b"\0" + gzip.compress(A_FILE + END)[10:],
        gzip.compress(b"")[:10] + b"\0\0\0\xff\xff" * (1 << 20) + gzip.compress(A_FILE + END)[10:],
        gzip.compress(A_FILE) + gzip.compress(b"") * 2000 + gzip.compress(END),
        bz2.compress(A_FILE) + bz2.compress(b"") * 2000 + bz2.compress(END),
        lzma.compress(A_FILE) + lzma.compress(b"") * 2000 + lzma.compress(END),
        zstd.compress(A_FILE) + zstd.compress(b"") * 2000 + zstd.compress(END),
        zstd.compress(A_FILE) + SKIPPED_FRAME * 2000 + zstd.compress(END),
    ],
)
def test_what_unpacks_to_nothing_without_end_is_refused(archive: bytes, read: Read) -> None:
    with pytest.raises(CompressionTooHigh):
        read(archive)


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, zstd.compress])
def test_a_tar_packed_in_many_streams_is_read(compress: Callable[[bytes], bytes], read: Read) -> None:
    content = bytes(range(256)) * 8000
    whole = a_header("cats/1.jpg", content, tarfile.REGTYPE) + END
    streams = [whole[at : at + 2000] for at in range(0, len(whole), 2000)]

    assert read(b"".join(map(compress, [*streams, b""]))) == {"cats/1.jpg": content}


def test_a_gzip_header_may_have_every_field(read: Read) -> None:
    fields = b"\x05\0extra" + b"name\0" + b"a comment\0"
    archive = b"\x1f\x8b\x08\x1c" + bytes(6) + fields + gzip.compress(A_FILE + END)[10:]

    assert read(archive) == {"cats/1.jpg": b"x"}


@pytest.mark.parametrize("pack", [a_zip, a_tar])
def test_too_many_files_are_refused(pack: Packer, read: Read) -> None:
    with pytest.raises(TooManyMembers, match="DATASET_MAX_FILES"):
        read(pack({f"{index}.jpg": b"x" for index in range(11)}), Limits(files=10, unpacked_bytes=1 << 20))


@pytest.mark.parametrize("pack", [a_zip, a_tar, lambda files: gzip.compress(a_tar(files))])
def test_too_many_unpacked_bytes_are_refused_with_413(pack: Packer, read: Read) -> None:
    with pytest.raises(UnpackedTooLarge) as refusal:
        read(
            pack({f"{index}.jpg": bytes([index]) * 1000 for index in range(10)}), Limits(files=99, unpacked_bytes=9000)
        )

    assert refusal.value.status == 413


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\x89PNG\r\n\x1a\n" + bytes(600), bytes(2000), b"Rar!\x1a\x07\x00" + bytes(600)]
)
def test_what_is_no_archive_is_refused_with_the_accepted_formats(content: bytes, read: Read) -> None:
    with pytest.raises(NotAnArchive) as refusal:
        read(content)

    assert refusal.value.status == 415
    assert refusal.value.errors[0].allowed == [
        "zip",
        "tar",
        "tar.gz",
        "tar.bz2",
        "tar.xz",
        "tar.lzma",
        "tar.zst",
    ]


@pytest.mark.parametrize(
    ("head", "name"),
    [(b"7z\xbc\xaf\x27\x1c", "7z"), (b"Rar!\x1a\x07\x01", "RAR"), (b"\x04\x22\x4d\x18", "LZ4"), (b"070701", "cpio")],
)
def test_a_known_format_that_is_not_read_is_named(head: bytes, name: str, read: Read) -> None:
    with pytest.raises(NotAnArchive, match=f"{name}.*not read; send a zip, or a tar"):
        read(head + bytes(600))


@pytest.mark.parametrize(
    "archive",
    [
        lzma.compress(b"x", filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 512 << 20}]),
        lzma.compress(b"x", lzma.FORMAT_ALONE, filters=[{"id": lzma.FILTER_LZMA1, "dict_size": 512 << 20}]),
        b"\x28\xb5\x2f\xfd\x00" + bytes([18 << 3]) + bytes(600),
    ],
    ids=["xz", "lzma", "zstd"],
)
def test_what_takes_too_much_memory_to_unpack_is_refused(archive: bytes, read: Read) -> None:
    with pytest.raises(ArchiveRefused, match="more memory"):
        read(archive)


def test_a_zstd_bomb_is_stopped(read: Read) -> None:
    with pytest.raises(CompressionTooHigh):
        read(zstd.compress(a_tar({"cats/1.jpg": bytes(40 << 20)})))


def test_a_compressed_file_that_is_no_tar_is_refused(read: Read) -> None:
    with pytest.raises(NotAnArchive, match="no tar"):
        read(gzip.compress(b"just a text" * 500))


def test_zip64_is_read(read: Read) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, archive.open("cats/1.jpg", "w", force_zip64=True) as file:
        file.write(b"x" * 1000)

    assert read(buffer.getvalue()) == {"cats/1.jpg": b"x" * 1000}


def test_a_zip_of_more_than_65535_files_is_read(tmp_path: Path) -> None:
    names = [f"{index:06d}.txt" for index in range(65_600)]
    (tmp_path / "upload").write_bytes(a_zip(dict.fromkeys(names, b""), method=zipfile.ZIP_STORED))

    found = [member.name for member in read_archive(tmp_path / "upload", Limits(files=100_000, unpacked_bytes=1))]

    assert found == names


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    packer=st.sampled_from(sorted(PACKERS)),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_damaged_archives_are_read_or_refused_and_nothing_else(
    packer: str, changes: list[tuple[float, int]], read: Read
) -> None:
    archive = bytearray(PACKERS[packer](FILES))
    for share, value in changes:
        archive[int(share * len(archive))] = value

    try:
        read(bytes(archive))
    except EspalierError as refusal:
        assert refusal.status in {413, 415, 422}  # noqa: PT017  either outcome is right, anything else raises
