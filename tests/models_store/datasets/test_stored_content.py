import hashlib
import zipfile
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import pytest

from models_store.datasets.stored_content import StoredContent
from models_store.storage.blobs import BlobMissing

SOME = [b"", b"one", b"two" * 1000]


def named(data: bytes) -> str:
    return f"{hashlib.sha256(data).hexdigest()}.png"


def written(path: Path, contents: list[bytes]) -> Path:
    with ZipFile(path, "w", ZIP_STORED) as archive:
        for data in contents:
            archive.writestr(ZipInfo(named(data)), data)
    return path


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_members_are_found_in_any_order(tmp_path: Path) -> None:
    with StoredContent(written(tmp_path / "content.zip", SOME)) as content:
        assert [content.read(named(data), sha256=sha256(data)) for data in reversed(SOME)] == SOME[::-1]


@pytest.mark.parametrize("count", [0xFFFE, 0xFFFF, 0x10000])
def test_a_zip_may_have_more_members_than_the_first_format_can_count(tmp_path: Path, count: int) -> None:
    contents = [str(number).encode() for number in range(count)]

    with StoredContent(written(tmp_path / "content.zip", contents)) as content:
        assert content.read(named(contents[-1]), sha256=sha256(contents[-1])) == contents[-1]
        assert content.read(named(contents[0]), sha256=sha256(contents[0])) == contents[0]


def test_offsets_may_be_larger_than_the_first_format_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)  # as if all were beyond 4 GiB
    path = written(tmp_path / "content.zip", SOME)

    with StoredContent(path) as content:
        assert [content.read(named(data), sha256=sha256(data)) for data in SOME] == SOME


def test_digests_may_have_zeros_anywhere(tmp_path: Path) -> None:
    contents = [str(number).encode() for number in range(2000)]
    with_zero = [data for data in contents if sha256(data)[30:32] == "00"]

    with StoredContent(written(tmp_path / "content.zip", contents)) as content:
        found = [content.read(named(data), sha256=sha256(data)) for data in contents]

    assert with_zero
    assert found == contents


def test_what_is_not_there_or_damaged_is_missing(tmp_path: Path) -> None:
    path = written(tmp_path / "content.zip", SOME)
    path.write_bytes(path.read_bytes().replace(b"one", b"ONE"))

    with StoredContent(path) as content:
        for data in (b"one", b"another"):
            with pytest.raises(BlobMissing):
                content.read(named(data), sha256=sha256(data))
