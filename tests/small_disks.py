"""Disks so small that they fill up: a tmpfs of its own, mounted for as long as a test lasts."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

CHUNK_BYTES = 4096


class SmallDisk:
    """A mounted file system; `fill` leaves as much room as asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, *, but_bytes: int = 0) -> None:
        """Take all room but so many bytes."""
        self.free()
        filler = os.open(self.folder / "filler", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            while True:
                os.write(filler, bytes(CHUNK_BYTES))
        except OSError:
            size_bytes = os.fstat(filler).st_size
            os.ftruncate(filler, max(0, size_bytes - but_bytes))
        finally:
            os.close(filler)

    def free(self) -> None:
        """Give the room back."""
        (self.folder / "filler").unlink(missing_ok=True)

    @property
    def files(self) -> list[str]:
        """Return the files that are on it, without the filler."""
        found = (path for path in self.folder.rglob("*") if path.is_file())
        return sorted(str(path.relative_to(self.folder)) for path in found if path.name != "filler")


@contextmanager
def small_disk(folder: Path, *, size_mb: int) -> Iterator[SmallDisk]:
    """Mount a disk of this size at `folder`; the test is skipped where that is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    unmount = ["umount", "--lazy", str(folder)]
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no `mount` here to make a small disk with")
    if mounted.returncode != 0:
        pytest.skip(f"a small disk can't be mounted here: {mounted.stderr.strip()}")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(unmount, check=True)
