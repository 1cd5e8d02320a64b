"""Images of an archive: which files are meant as images, and what each of them is."""

import functools
from dataclasses import dataclass

from models_store.archives.rules import CompressionTooHigh
from models_store.datasets.example import Inspected
from models_store.datasets.manifest import Facts
from models_store.tasks.image import codec
from models_store.tasks.image.formats import SUFFIX
from models_store.tasks.image.pixel_budget import PixelBudget, TooManyPixels

FREE_PIXELS = 1_000_000_000
MOST_PIXELS_PER_BYTE = 400
"""Of an archive, beyond FREE_PIXELS: scanned pages in black and white have 200, and blank images thousands."""

MOST_SHARED = 10_000
"""different facts that are kept for the next image of the same: a million images have some thousand sizes"""


@dataclass(frozen=True)
class ArchiveBudget:
    """How many pixels the images of an archive may have together, by its size."""

    archive_bytes: int
    pixels: PixelBudget

    @classmethod
    def of(cls, archive_bytes: int) -> "ArchiveBudget":
        """Return the budget of an archive of so many bytes."""
        return cls(archive_bytes, PixelBudget(FREE_PIXELS + MOST_PIXELS_PER_BYTE * archive_bytes))


def inspect(data: bytes, *, max_pixels: int, budget: ArchiveBudget) -> Inspected | str:
    """Return what an image is, after decoding all of it; or why it can't be decoded.

    Raises:
        CompressionTooHigh: if the archive's images have far more pixels than it has bytes.
    """
    try:
        found = codec.inspect(data, max_pixels=max_pixels, budget=budget.pixels)
    except codec.UndecodableImage as error:
        return error.detail
    except TooManyPixels as error:
        raise CompressionTooHigh(
            f"{error.detail}: the archive has {budget.archive_bytes} bytes, and each may hold {MOST_PIXELS_PER_BYTE} "
            "pixels"
        ) from error
    return Inspected(SUFFIX[found.format], _size(found.width, found.height), _depth(grey=found.grey, peak=found.peak))


@functools.lru_cache(MOST_SHARED)
def _size(width: int, height: int) -> Facts:
    return {"width": width, "height": height}


@functools.lru_cache(MOST_SHARED)
def _depth(*, grey: bool, peak: int | None) -> Facts:
    return {"grey": grey, "peak": peak}
