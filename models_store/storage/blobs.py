"""Content-addressed files on any fsspec URL: a blob's name is the SHA-256 of its bytes, so it can't change or clash.

A blob counts only when a row names it. One without a row (a crash came between the file and the row) is swept when it
is old.
"""

import errno
import hashlib
import os
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import fsspec

from models_store.errors import NotFound
from models_store.storage import disk

CHUNK_BYTES = 1 << 20


class BlobMissing(NotFound):
    """A row names a file that the store does not have, or has with other bytes."""

    code = "blob_missing"
    title = "A stored file is missing or damaged"


@dataclass(frozen=True)
class Blob:
    """A stored file."""

    sha256: str
    size_bytes: int


class Blobs:
    """The store of blobs below one URL; `scratch` is a folder of this host for downloads and temporary files."""

    def __init__(self, url: str, *, scratch: Path) -> None:
        parts = urlsplit(url)
        self._root = Path(parts.path) if parts.scheme in {"", "file"} else None
        self._scratch = scratch / "blob-cache"
        self._url = url.rstrip("/")

    def put(self, path: Path) -> Blob:
        """Move the local file at `path` in, and return its name. On return it is on disk, or uploaded.

        Raises:
            StorageFull: if there is no room.
        """
        blob = Blob(sha256_of(path), path.stat().st_size)
        with disk.reported_full("a file of the store"):
            if self._root is not None:
                self._move_in(path, blob)
            else:
                self._upload(path, blob)
        return blob

    def local(self, sha256: str) -> Path:
        """Return a file of this host with the blob's bytes: the blob itself, or a checked download of it.

        Raises:
            BlobMissing: if the store does not have it, or what came has another digest.
        """
        if self._root is not None:
            path = self._root / _relative(sha256)
            if not path.is_file():
                raise BlobMissing(f"the stored file {sha256} is gone; restore it from a backup, or make it again")
            return path
        return self._download(sha256)

    def exists(self, sha256: str) -> bool:
        """Tell whether the store has the blob."""
        if self._root is not None:
            return (self._root / _relative(sha256)).is_file()
        filesystem, root = self._remote()
        return bool(filesystem.exists(f"{root}/{_relative(sha256)}"))

    def delete(self, sha256: str) -> None:
        """Remove the blob; nothing happens when it is not there."""
        (self._scratch / sha256).unlink(missing_ok=True)
        if self._root is not None:
            (self._root / _relative(sha256)).unlink(missing_ok=True)
            return
        filesystem, root = self._remote()
        if filesystem.exists(f"{root}/{_relative(sha256)}"):
            filesystem.rm_file(f"{root}/{_relative(sha256)}")

    def older_than(self, age_s: float) -> Iterator[str]:
        """Yield the digest of each blob written more than `age_s` seconds ago (by this host's clock)."""
        limit = time.time() - age_s
        if self._root is not None:
            for path in self._root.glob("sha256/??/*"):
                if path.stat().st_mtime >= limit:
                    continue
                if path.name.startswith("."):
                    path.unlink(missing_ok=True)  # a crash came before its last rename
                else:
                    yield path.name
            return
        filesystem, root = self._remote()
        for found in filesystem.find(f"{root}/sha256", detail=True).values():
            modified = found.get("LastModified")
            if modified is not None and modified.timestamp() < limit:
                yield found["name"].rpartition("/")[2]

    def _move_in(self, path: Path, blob: Blob) -> None:
        assert self._root is not None
        target = self._root / _relative(blob.sha256)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_file():
            os.utime(target)  # the sweeper goes by age: somebody wants it again
            path.unlink()
            return
        arriving = target.parent / f".{blob.sha256}.{os.getpid()}.{threading.get_native_id()}"
        try:
            try:
                path.rename(arriving)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                shutil.copyfile(path, arriving)
                path.unlink()
            _sync(arriving)
            arriving.chmod(0o644)
            arriving.rename(target)
            os.utime(target)
            _sync(target.parent)
        finally:
            arriving.unlink(missing_ok=True)

    def _upload(self, path: Path, blob: Blob) -> None:
        filesystem, root = self._remote()
        target = f"{root}/{_relative(blob.sha256)}"
        filesystem.makedirs(target.rpartition("/")[0], exist_ok=True)
        filesystem.put_file(str(path), target)
        path.unlink()

    def _download(self, sha256: str) -> Path:
        cached = self._scratch / sha256
        if cached.is_file():
            return cached
        self._scratch.mkdir(parents=True, exist_ok=True)
        arriving = self._scratch / f".{sha256}.{os.getpid()}.{time.monotonic_ns()}"
        filesystem, root = self._remote()
        try:
            filesystem.get_file(f"{root}/{_relative(sha256)}", str(arriving))
            if sha256_of(arriving) != sha256:
                raise BlobMissing(f"the stored file {sha256} is damaged; restore it from a backup, or make it again")
            arriving.rename(cached)
        except FileNotFoundError as error:
            raise BlobMissing(
                f"the stored file {sha256} is gone; restore it from a backup, or make it again"
            ) from error
        finally:
            arriving.unlink(missing_ok=True)
        return cached

    def _remote(self) -> tuple[fsspec.AbstractFileSystem, str]:
        filesystem, root = fsspec.core.url_to_fs(self._url)
        return filesystem, root.rstrip("/")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of the file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _relative(sha256: str) -> str:
    assert len(sha256) == 64 and sha256.isalnum(), sha256  # noqa: PLR2004, PT018  hexadecimal SHA-256
    return f"sha256/{sha256[:2]}/{sha256}"


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
