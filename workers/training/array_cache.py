"""Arrays of a dataset's examples that later runs find again: files in the cache folder, whole or not at all.

Several processes may make the same array at once: each writes its own file, and the last whole one stays. Arrays that
no process holds leave the folder, the least recently used first, while it is above its limit.
"""

import fcntl
import os
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from models_store.errors import StorageFull

Array = npt.NDArray[Any]
SEAL = b"espalier-crc32:"  # what follows the array in a whole file, then eight hexadecimal digits
READ_BYTES = 1 << 22


@dataclass(frozen=True)
class Cached:
    """An array in mapped memory, and the file that keeps it from being removed while it is open."""

    array: Array
    held: BinaryIO


def cached(
    path: Path, shape: tuple[int, ...], dtype: str, *, fill: Callable[[Array], None], limit_bytes: int
) -> Cached:
    """Return the array at `path` when it is there whole; else one that `fill` writes into zeros, and keep it there.

    The folder of `path` may have up to `limit_bytes` of arrays.

    Raises:
        StorageFull: if the array does not fit on the disk.
    """
    folder, wanted = path.parent, np.dtype(dtype)
    folder.mkdir(parents=True, exist_ok=True)
    while (held := _hold(path)) is None or not _is_whole(path, shape, wanted):
        if held is not None:
            held.close()
        _sweep_orphans(folder)
        _build(path, shape, wanted, fill=fill)
    _make_room(folder, limit_bytes=limit_bytes)
    return Cached(np.load(path, mmap_mode="r"), held)


def _build(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], *, fill: Callable[[Array], None]) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.stem}.", suffix=".partial")
    partial = Path(name)
    with os.fdopen(descriptor, "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # held while we live: a file that nobody holds is an orphan
        try:
            start = _write_header(file, shape, dtype)
            size_bytes = int(np.prod(shape)) * dtype.itemsize
            _reserve(file, start + size_bytes)
            array = np.memmap(file, dtype=dtype, mode="r+", offset=start, shape=shape)
            fill(array)
            array.flush()
            file.seek(0)
            seal = SEAL + b"%08x" % _checksum(file, start + size_bytes)
            file.write(seal)
            file.flush()
            os.fsync(file.fileno())
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _write_header(file: BinaryIO, shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    file.flush()
    return file.tell()


def _reserve(file: BinaryIO, size_bytes: int) -> None:
    """Take the space first: a memory map that runs out of disk kills the process instead of raising."""
    try:
        os.posix_fallocate(file.fileno(), 0, size_bytes)
    except OSError as error:
        raise StorageFull(
            f"the decoded examples need {size_bytes:,} bytes in the work folder, and they are not there; "
            "free some, or set WORK_DIR to a folder on a larger disk"
        ) from error


def _is_whole(path: Path, shape: tuple[int, ...], wanted: np.dtype[Any]) -> bool:
    try:
        with path.open("rb") as file:
            if np.lib.format.read_magic(file) != (1, 0):
                return False
            found, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
            end = file.tell() + int(np.prod(shape)) * wanted.itemsize
            if found != shape or fortran_order or dtype != wanted or path.stat().st_size != end + len(SEAL) + 8:
                return False
            file.seek(0)
            return SEAL + b"%08x" % _checksum(file, end) == file.read()
    except (OSError, ValueError):
        return False


def _checksum(file: BinaryIO, size_bytes: int) -> int:
    """Return the CRC-32 of the next bytes, and leave the file behind them."""
    checksum = 0
    while size_bytes > 0:
        block = file.read(min(READ_BYTES, size_bytes))
        if not block:
            break
        checksum = zlib.crc32(block, checksum)
        size_bytes -= len(block)
    return checksum


def _hold(path: Path) -> BinaryIO | None:
    """Return the file, open and locked against sweeping and marked as used now; None when there is none."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None
    fcntl.flock(file, fcntl.LOCK_SH)
    try:
        os.utime(path)
        if path.stat().st_ino == os.fstat(file.fileno()).st_ino:
            return file
    except FileNotFoundError:
        pass  # swept between the two looks
    file.close()
    return None


def _make_room(cache: Path, *, limit_bytes: int) -> None:
    """Remove arrays that nobody holds, the least recently used first, until the folder is within its limit."""
    files = sorted(cache.glob("*.npy"), key=lambda path: path.stat().st_mtime)
    size_bytes = sum(path.stat().st_size for path in files)
    for path in files:
        if size_bytes <= limit_bytes:
            return
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            size_bytes -= path.stat().st_size
            path.unlink()


def _sweep_orphans(cache: Path) -> None:
    """Remove what killed processes left half-written."""
    for partial in cache.glob("*.partial"):
        try:
            with partial.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                partial.unlink(missing_ok=True)
        except OSError:
            continue  # somebody is writing it, or has just renamed it
