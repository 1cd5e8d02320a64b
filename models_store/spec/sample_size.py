"""Sample sizes: how many validation examples a verdict on a loss of accuracy needs.

The 95 % interval of a loss is wider than its examples' scatter alone: examples that were not drawn may be lost as well.
Where a smaller variant answers all of N examples as fp32 does, its loss may still be z²/N (Wilson 1927,
doi:10.1080/01621459.1927.10502953). `workers.compression.gate` has the interval, `python -m benchmarks.gate` what it
accepts. This module is read without pydantic and numpy.
"""

import math
from statistics import NormalDist

LEVEL = 0.95
Z = NormalDist().inv_cdf((1 + LEVEL) / 2)
"""standard deviations on either side of a normal mean that hold LEVEL of it"""


def unseen_loss(examples: int) -> float:
    """Return the loss that so many examples can't exclude though none of them is lost."""
    return min(Z**2 / examples, 1.0)


def fewest_examples(max_loss: float) -> int:
    """Return how many examples exclude a loss of more than `max_loss` (above 0) where none of them is lost."""
    return 1 if max_loss >= 1 else math.ceil(Z**2 / max_loss)


def examples_needed(loss: float, *, max_loss: float, variance: float) -> int | None:
    """Return how many examples would exclude a loss of more than `max_loss`, if they scattered as those at hand do.

    `loss` and `variance` are of one example's loss, as measured. None where no number of examples would.
    """
    room = max_loss - loss
    return math.ceil(Z**2 * (room + variance) / room**2) if room > 0 else None
