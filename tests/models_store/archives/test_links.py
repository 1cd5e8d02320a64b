import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace

import pytest

from models_store.archives.links import follow
from models_store.archives.rules import (
    Limits,
    Link,
    MemberKindRefused,
    MemberNameRefused,
    MembersCollide,
    TooManyMembers,
    UnpackedTooLarge,
)
from tests.models_store.datasets.dataset_stores import Files, Store, checks, class_files, sizes

Links = dict[str, str]  # path → target; a target that begins with "=" is a hard link's
FILES = class_files("cat", "dog", count=6)
LIMITS = Limits(files=1000, unpacked_bytes=1 << 20)


def a_tar(files: Files, links: Links, *, links_first: bool = False, packing: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", format=packing) as archive:

        def add_links() -> None:
            for path, target in links.items():
                entry = tarfile.TarInfo(path)
                entry.type = tarfile.LNKTYPE if target.startswith("=") else tarfile.SYMTYPE
                entry.linkname = target.removeprefix("=")
                archive.addfile(entry)

        if links_first:
            add_links()
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        if not links_first:
            add_links()
    return buffer.getvalue()


def a_zip(files: Files, links: Links) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, target in links.items():
            entry = zipfile.ZipInfo(path)
            entry.create_system, entry.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
            archive.writestr(entry, target)
        for path, content in files.items():
            archive.writestr(path, content)
    return buffer.getvalue()


@pytest.mark.parametrize("links_first", [False, True])
@pytest.mark.parametrize("packing", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize(
    "target", ["=cat/000.png", "000.png", "./000.png", "../cat/000.png", "../dog/../cat//000.png", "=./cat/000.png"]
)
def test_a_link_counts_as_a_copy_of_what_it_names(
    target: str, packing: int, store: Store, *, links_first: bool
) -> None:
    packed = a_tar(FILES, {"cat/copy.png": target}, links_first=links_first, packing=packing)

    dataset = store.ingest(packed)

    files = {entry.file: entry.sha256 for entry in store.manifest(dataset)}
    assert files["cat/copy.png"] == files["cat/000.png"]
    assert sum(sizes(dataset).values()) == 13
    assert checks(dataset)["links"]["reasons"] == {"cat/copy.png": "a link to cat/000.png"}


def test_links_over_links_are_followed_whatever_their_order(store: Store) -> None:
    links = {"cat/a.png": "b.png", "cat/b.png": "../dog/c.png", "dog/c.png": "=cat/000.png"}

    for packed in (a_tar(FILES, links), a_tar(FILES, dict(reversed(links.items())), links_first=True)):
        dataset, _ = store.ingest_again(packed)

        assert sum(sizes(dataset).values()) == 15
        assert checks(dataset)["conflicting_labels"]["files"] == [
            ["cat/000.png", "cat/a.png", "cat/b.png", "dog/c.png"]
        ]


@pytest.mark.parametrize("pack", [a_tar, a_zip])
def test_a_link_to_a_folder_stands_for_all_in_it(pack: Callable[[Files, Links], bytes], store: Store) -> None:
    files = class_files("cat", "dog", top="train/")

    dataset = store.ingest(pack(files, {"val/cat": "../train/cat/.", "val/dog": "../train/../train/dog"}))

    found = {entry.file for entry in store.manifest(dataset)}
    assert {"val/cat/000.png", "val/dog/009.png", "train/dog/000.png"} <= found
    assert len(found) == 40


def test_copies_by_links_are_found_across_splits(store: Store) -> None:
    files = class_files("cat", "dog", top="train/")
    links = {"val": "train", "test/cat": "../train/cat", "test/dog": "../train/dog"}

    dataset = store.ingest(a_tar(files, links))

    assert sizes(dataset) == {"train": 20, "val": 20, "test": 20}
    assert checks(dataset)["duplicates_across_splits"]["count"] == 20
    assert "40 files" in checks(dataset)["links"]["message"]


@pytest.mark.parametrize(
    ("links", "reason"),
    [
        ({"cat/x.png": "../../secret.png"}, "outside"),
        ({"cat/x.png": "/etc/passwd"}, "absolute"),
        ({"cat/x.png": "C:/windows/x.png"}, "absolute"),
        ({"cat/x.png": "=../secret.png"}, "outside"),
        ({"cat/x.png": "missing.png"}, "not in the archive"),
        ({"cat/x.png": "=missing.png"}, "not in the archive"),
        ({"cat/x.png": "000.png/.."}, "not in the archive"),
        ({"cat/x.png": "000.png/y"}, "not in the archive"),
        ({"cat/x.png": "x.png"}, "itself"),
        ({"cat/x.png": "y.png", "cat/y.png": "x.png"}, "itself"),
        ({"cat/x": "."}, "itself"),
        ({"cat/x": ".."}, "itself"),
        ({"cat/x": "../dog", "dog/y": "../cat"}, "itself"),
        ({f"cat/{number}.png": f"{number + 1}.png" for number in range(60)}, "too many links|not in the archive"),
        ({"labels.csv": "cat/000.png"}, "table of labels"),
    ],
)
def test_a_link_that_can_not_be_followed_is_refused_by_its_name(links: Links, reason: str, store: Store) -> None:
    with pytest.raises(MemberKindRefused, match=reason) as refusal:
        store.ingest(a_tar(FILES, links))

    assert "tar -h" in refusal.value.detail
    assert refusal.value.errors[0].pointer in links
    assert store.leftovers() == []


def test_a_link_of_a_zip_that_leads_outside_is_refused(store: Store) -> None:
    with pytest.raises(MemberKindRefused, match=r"symbolic link to \.\./\.\./x\.png, which is outside.*without -y"):
        store.ingest(a_zip(FILES, {"cat/x.png": "../../x.png"}))


def test_a_file_below_a_link_is_refused(store: Store) -> None:
    files = FILES | {"train/x.png": FILES["cat/000.png"]}

    for links_first in (True, False):
        with pytest.raises(MembersCollide, match=r"a file and a folder|twice"):
            store.ingest(a_tar(files, {"train": "dog"}, links_first=links_first))


def test_links_that_tools_leave_are_passed_over(store: Store) -> None:
    dataset = store.ingest(a_tar(FILES, {"cat/.#note.txt": "me@host.1234:56", ".git/annex": "/nowhere"}))

    assert checks(dataset)["system_files"]["files"] == [".git/annex", "cat/.#note.txt"]
    assert "links" not in checks(dataset)


def test_a_link_to_what_is_no_image_is_judged_by_its_own_name(store: Store) -> None:
    files = FILES | {"notes.txt": b"hello", "cat/bad.jpg": b"hello"}

    dataset = store.ingest(a_tar(files, {"cat/x.jpg": "../notes.txt", "y.txt": "notes.txt"}), undecodable="skip")

    assert checks(dataset)["undecodable"]["reasons"]["cat/x.jpg"] == "it is a link to notes.txt, which is no image"
    assert checks(dataset)["ignored_files"]["files"] == ["notes.txt", "y.txt"]


def test_links_to_a_table_of_labels_are_read(store: Store) -> None:
    files = {name.rpartition("/")[2] + name[:3] + ".png": content for name, content in FILES.items()}
    rows = "".join(f"{name},{name[-7:-4]}\n" for name in files)

    dataset = store.ingest(a_tar(files | {"train.csv": b"file,label\n" + rows.encode()}, {"labels.csv": "train.csv"}))

    assert dataset.card["classes"] == ["cat", "dog"]


def test_a_million_files_by_a_few_links_are_too_many() -> None:
    folders = {f"f{number}/{name}": Link(f"../f{number + 1}", is_hard=False) for number in range(20) for name in "ab"}

    with pytest.raises(TooManyMembers):
        follow(folders, {"f20/x.png": 1}, set(), LIMITS)


def test_few_members_make_no_million_copies_whatever_the_limit() -> None:
    folders = {f"f{number}/{name}": Link(f"../f{number + 1}", is_hard=False) for number in range(20) for name in "ab"}
    copies = {f"{number}.png": Link("x.png", is_hard=True) for number in range(150_000)}
    many = replace(LIMITS, files=2_000_000)

    with pytest.raises(MemberKindRefused, match="copies"):
        follow(folders, {"f20/x.png": 1}, set(), many)
    assert len(follow(copies, {"x.png": 1}, set(), many).files) == 150_000


def test_copies_by_links_count_with_their_bytes() -> None:
    links = {f"{number}.png": Link("x.png", is_hard=True) for number in range(600)}

    assert len(follow(links, {"x.png": 1000}, set(), LIMITS).files) == 600
    with pytest.raises(UnpackedTooLarge):
        follow(links, {"x.png": 1000}, set(), replace(LIMITS, unpacked_bytes=600_000))


def test_names_that_links_make_are_bounded() -> None:
    links = {f"{number:03d}/{'n' * 60}": Link(f"../{number + 1:03d}", is_hard=False) for number in range(30)}

    with pytest.raises(MemberNameRefused, match="1024"):
        follow(links, {"030/x.png": 1}, set(), LIMITS)
