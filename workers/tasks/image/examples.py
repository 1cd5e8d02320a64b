"""Image files → one memory-mapped uint8 array, decoded and resized once and kept for every later run."""

# N images, H height, W width, C channel

import functools
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from models_store.datasets.store import ManifestEntry
from models_store.tasks.image import codec
from models_store.tasks.image.input import Input
from workers.training.array_cache import cached
from workers.training.examples import Examples, targets_of

Bytes = npt.NDArray[np.uint8]
Decode = Callable[[bytes], Bytes]

INPUT = "images"
"""what the exported file calls its input"""
FORMAT = "v3"  # part of the file's name: raise it when the decoded pixels or the layout change (test_decoded_pixels.py)
CHUNK_IMAGES = 32


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
    Arrays that no process holds leave the folder while it is above `cache_max_bytes` (see `array_cache`).

    Raises:
        UndecodableImage: if a file of the dataset can't be read.
        StorageFull: if the array does not fit on the disk.
    """
    assert spec_input.size is not None, "the spec is resolved before training"
    shape = (len(manifest), spec_input.size, spec_input.size, spec_input.channels)
    white = "" if spec_input.white_level is None else f"-white{spec_input.white_level}"
    path = cache / f"{digest}-{spec_input.size}-{spec_input.channels}-{spec_input.fit}{white}-{FORMAT}.npy"
    decode = functools.partial(
        codec.decode,
        size=spec_input.size,
        channels=spec_input.channels,
        fit=spec_input.fit,
        white_level=spec_input.white_level,
        max_pixels=max_pixels,
    )
    images = cached(
        path,
        shape,
        "uint8",
        fill=lambda images_NHWC: _decode_all(
            images_NHWC, manifest, images_zip=images_zip, decode=decode, report=report
        ),
        limit_bytes=cache_max_bytes,
    )
    report(1.0)
    return Examples(
        inputs={INPUT: images.array},
        targets=targets_of(manifest, classes),
        splits_N=np.array([entry.split for entry in manifest], dtype=np.str_),
        classes=list(classes),
        held=images.held,
    )


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
