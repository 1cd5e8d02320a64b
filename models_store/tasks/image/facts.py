"""Facts of a dataset of images."""

from dataclasses import dataclass

from models_store.spec.facts import DatasetFacts


@dataclass(frozen=True)
class ImageFacts(DatasetFacts):
    """What the recipe looks at beside the counts.

    `median_side` is the shorter side of the middle image, in pixels. `grey`: every image has a single channel.
    `largest_16_bit` is the largest value in images of 16 bits, 0 where there are none, null where that is not known.
    """

    median_side: int = 224
    grey: bool = False
    largest_16_bit: int | None = None


def fitting_white(largest: int) -> int | None:
    """Return the white of the fewest bits (8 or more) that hold the largest value; None if all 16 are needed."""
    bits = max(8, largest.bit_length())
    return (1 << bits) - 1 if bits < 16 else None  # noqa: PLR2004  those there are
