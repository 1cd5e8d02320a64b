"""Image files → one memory-mapped uint8 array, decoded and resized once and kept for every later run."""

# N images, H height, W width, C channel

import fcntl
import functools
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import torch

from models_store.datasets.store import ManifestEntry
from models_store.errors import StorageFull
from models_store.tasks.image import codec
from models_store.tasks.image.input import Input
from workers.training.examples import Examples

Bytes = npt.NDArray[np.uint8]
Indices = npt.NDArray[np.int64]
Decode = Callable[[bytes], Bytes]

INPUT = "images"
"""what the exported file calls its input"""
FORMAT = "v3"  # part of the file's name: raise it when the decoded pixels or the layout change (test_decoded_pixels.py)
SEAL = b"espalier-crc32:"  # what follows the array in a whole file, then eight hexadecimal digits
CHUNK_IMAGES = 32
READ_BYTES = 1 << 22


def prepare(
    manifest: Sequence[ManifestEntry],
    images_zip: Path,
    *,
    classes: list[str],
    digest: str,
    spec_input: Input,
    cache: Path,
    cache_max_bytes: int,
    max_pixels: int,
    report: Callable[[float], None],
) -> Examples:
    """Return the dataset's arrays, from the folder `cache` when they are there whole, else decoded now.

    `digest` names the dataset's content; `spec_input` is resolved (it has a size). `report` gets the share done.
    Several processes may prepare the same array at once: each writes its own file, and the last whole one stays. Arrays
    that no process holds leave the folder, the least recently used first, while it is above `cache_max_bytes`.

    Raises:
        UndecodableImage: if a file of the dataset can't be read.
        StorageFull: if the array does not fit on the disk.
    """
    assert spec_input.size is not None, "the spec is resolved before training"
    cache.mkdir(parents=True, exist_ok=True)
    shape = (len(manifest), spec_input.size, spec_input.size, spec_input.channels)
    white = "" if spec_input.white_level is None else f"-white{spec_input.white_level}"
    path = cache / f"{digest}-{spec_input.size}-{spec_input.channels}-{spec_input.fit}{white}-{FORMAT}.npy"
    while (held := _hold(path)) is None or not _is_whole(path, shape):
        if held is not None:
            held.close()
        _sweep_orphans(cache)
        decode = functools.partial(
            codec.decode,
            size=spec_input.size,
            channels=spec_input.channels,
            fit=spec_input.fit,
            white_level=spec_input.white_level,
            max_pixels=max_pixels,
        )
        _build(path, shape, manifest=manifest, images_zip=images_zip, decode=decode, report=report)
    _make_room(cache, limit_bytes=cache_max_bytes)
    report(1.0)
    return Examples(
        inputs={INPUT: np.load(path, mmap_mode="r")},
        targets=_targets(manifest, classes),
        splits_N=np.array([entry.split for entry in manifest], dtype=np.str_),
        classes=list(classes),
        held=held,
    )


def _targets(manifest: Sequence[ManifestEntry], classes: Sequence[str]) -> Indices | npt.NDArray[np.float32]:
    """Return what is to be learned of each image, as `Examples` has it."""
    places = {name: place for place, name in enumerate(classes)}
    if any(entry.value is not None for entry in manifest):
        return np.array([[entry.value] for entry in manifest], dtype=np.float32)
    if any(entry.label for entry in manifest):
        return np.array([places[entry.label] for entry in manifest], dtype=np.int64)
    labels_NK = np.zeros((len(manifest), len(classes)), dtype=np.float32)
    for row, entry in enumerate(manifest):
        labels_NK[row, [places[name] for name in entry.labels]] = 1
    return labels_NK


def _build(
    path: Path,
    shape: tuple[int, int, int, int],
    *,
    manifest: Sequence[ManifestEntry],
    images_zip: Path,
    decode: Decode,
    report: Callable[[float], None],
) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.stem}.", suffix=".partial")
    partial = Path(name)
    with os.fdopen(descriptor, "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # held while we live: a file that nobody holds is an orphan
        try:
            start = _write_header(file, shape)
            _reserve(file, start + int(np.prod(shape)))
            images_NHWC = np.memmap(file, dtype=np.uint8, mode="r+", offset=start, shape=shape)
            _decode_all(images_NHWC, manifest, images_zip=images_zip, decode=decode, report=report)
            images_NHWC.flush()
            file.seek(0)
            seal = SEAL + b"%08x" % _checksum(file, start + images_NHWC.nbytes)
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


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> int:
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    file.flush()
    return file.tell()


def _reserve(file: BinaryIO, size_bytes: int) -> None:
    """Take the space first: a memory map that runs out of disk kills the process instead of raising."""
    try:
        os.posix_fallocate(file.fileno(), 0, size_bytes)
    except OSError as error:
        raise StorageFull(
            f"the decoded images need {size_bytes:,} bytes in the work folder, and they are not there; "
            "free some, or set WORK_DIR to a folder on a larger disk"
        ) from error


def _decode_all(
    images_NHWC: Bytes,
    manifest: Sequence[ManifestEntry],
    *,
    images_zip: Path,
    decode: Decode,
    report: Callable[[float], None],
) -> None:
    starts = range(0, len(manifest), CHUNK_IMAGES)
    with zipfile.ZipFile(images_zip) as archive, ThreadPoolExecutor(torch.get_num_threads()) as pool:

        def decode_chunk(start: int) -> None:
            for row, entry in enumerate(manifest[start : start + CHUNK_IMAGES], start):
                images_NHWC[row] = decode(archive.read(entry.member))

        try:
            for done, _ in enumerate(pool.map(decode_chunk, starts), 1):
                report(done / len(starts))
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _is_whole(path: Path, shape: tuple[int, ...]) -> bool:
    try:
        with path.open("rb") as file:
            if np.lib.format.read_magic(file) != (1, 0):
                return False
            found, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
            end = file.tell() + int(np.prod(shape))
            if found != shape or fortran_order or dtype != np.uint8 or path.stat().st_size != end + len(SEAL) + 8:
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
