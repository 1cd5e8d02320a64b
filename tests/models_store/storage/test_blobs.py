import os
from pathlib import Path

import pytest

from models_store.storage.blobs import BlobMissing, Blobs, sha256_of


def a_file(folder: Path, content: bytes = b"espalier") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "given"
    path.write_bytes(content)
    return path


def test_a_blob_is_named_by_its_digest_and_found_again(blobs: Blobs, tmp_path: Path) -> None:
    path = a_file(tmp_path)
    digest = sha256_of(path)

    blob = blobs.put(path)

    assert (blob.sha256, blob.size_bytes) == (digest, 8)
    assert blobs.local(digest).read_bytes() == b"espalier"
    assert not path.exists()


def test_the_same_bytes_are_kept_once(blobs: Blobs, tmp_path: Path) -> None:
    first = blobs.put(a_file(tmp_path / "one"))
    second = blobs.put(a_file(tmp_path / "two"))

    assert first == second
    assert len([path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]) == 1


def test_a_missing_blob_is_a_clear_error(blobs: Blobs) -> None:
    with pytest.raises(BlobMissing, match="make it again"):
        blobs.local("0" * 64)


def test_only_old_blobs_are_offered_to_the_sweeper(blobs: Blobs, tmp_path: Path) -> None:
    old, young = blobs.put(a_file(tmp_path, b"old")), blobs.put(a_file(tmp_path, b"young"))
    os.utime(blobs.local(old.sha256), (0, 0))

    assert list(blobs.older_than(60)) == [old.sha256]
    assert blobs.exists(young.sha256)


def test_a_remote_store_keeps_and_checks_blobs(tmp_path: Path) -> None:
    remote = Blobs("memory://espalier-test", scratch=tmp_path / "scratch")

    blob = remote.put(a_file(tmp_path))

    assert remote.exists(blob.sha256)
    assert remote.local(blob.sha256).read_bytes() == b"espalier"
    remote.delete(blob.sha256)
    assert not remote.exists(blob.sha256)
