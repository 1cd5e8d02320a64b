"""Facts of a dataset that are known when a spec is resolved."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Target = Literal["class", "labels", "number"]


@dataclass(frozen=True)
class DatasetFacts:
    """`counts` are the train split's images of each class (or with each label; empty for numbers).

    `target` is what an image has: one class, any number of labels, or a number. `median_side` is the shorter side of
    the middle image, in pixels. `grouped`: its table has a column of groups.
    `validation_count` are the images of the val split, as far as that is known. `largest_16_bit` is the largest value
    in images of 16 bits, 0 where there are none, null where that is not known.
    """

    train_count: int
    counts: Mapping[str, int] = field(default_factory=dict)
    target: Target = "class"
    median_side: int = 224
    grey: bool = False
    grouped: bool = False
    validation_count: int | None = None
    largest_16_bit: int | None = None

    @property
    def class_count(self) -> int:
        """Return the number of classes or labels; 1 for numbers."""
        return max(1, len(self.counts))


def fitting_white(largest: int) -> int | None:
    """Return the white of the fewest bits (8 or more) that hold the largest value; None if all 16 are needed."""
    bits = max(8, largest.bit_length())
    return (1 << bits) - 1 if bits < 16 else None  # noqa: PLR2004  those there are
