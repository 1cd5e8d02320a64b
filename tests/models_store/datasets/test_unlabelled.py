import io
import tarfile
from pathlib import Path

import pytest

from models_store.archives.rules import MemberNameRefused
from models_store.datasets import unlabelled
from models_store.datasets.manifest import read_manifest
from models_store.datasets.stored_content import StoredContent
from models_store.settings import Settings
from models_store.tasks.rooms import TASKS
from tests.samples import a_png

IMAGE = TASKS[0]


def an_archive(path: Path, files: dict[str, bytes], *, link: str | None = None) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        if link is not None:
            member = tarfile.TarInfo("link.png")
            member.type, member.linkname = tarfile.SYMTYPE, link
            archive.addfile(member)
    return path


def taken_in(archive: Path, **settings: int) -> unlabelled.Unlabelled:
    staging = archive.parent / "staging"
    staging.mkdir()
    return unlabelled.take_in(archive, staging, IMAGE, settings=Settings(**settings))


def test_examples_keep_their_names_and_order_and_contents_are_kept_once(tmp_path: Path) -> None:
    red, blue = a_png(hue=0), a_png(hue=2)
    files = {"b.png": red, "a/x.png": blue, "a/copy.png": red, ".DS_Store": b"\0", "notes.txt": b"no image"}

    taken = taken_in(an_archive(tmp_path / "files.tar", files, link="b.png"))

    entries = read_manifest(taken.manifest)
    assert (taken.rows, taken.others) == (3, 2)
    assert [entry.file for entry in entries] == ["b.png", "a/x.png", "a/copy.png"]
    assert {(entry.label, entry.split) for entry in entries} == {("", "")}
    assert entries[0].member == entries[2].member
    with StoredContent(taken.content) as content:
        assert [content.read(each.member, sha256=each.sha256) for each in entries] == [red, blue, red]


def test_what_cannot_be_decoded_is_taken_and_what_is_too_large_is_only_named(tmp_path: Path) -> None:
    files = {"broken.png": a_png(hue=0)[:50], "large.png": a_png(hue=0, size=(60, 60))}

    taken = taken_in(an_archive(tmp_path / "files.tar", files), image_max_bytes=1000)

    broken, large = read_manifest(taken.manifest)
    assert broken.member
    assert (large.member, unlabelled.NOT_STORED in large.facts) == ("", True)
    assert "at most 1000 are allowed for one image" in str(large.facts[unlabelled.NOT_STORED])


def test_an_archive_without_examples_is_refused(tmp_path: Path) -> None:
    with pytest.raises(unlabelled.NoExamples, match="none of the 1 file"):
        taken_in(an_archive(tmp_path / "files.tar", {"notes.txt": b"no image"}))


def test_rules_of_archives_hold(tmp_path: Path) -> None:
    with pytest.raises(MemberNameRefused):
        taken_in(an_archive(tmp_path / "files.tar", {"../a.png": a_png(hue=0)}))
