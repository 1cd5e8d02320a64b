"""Protocol of explanations: parts of an example are hidden, one after the other, and what the answer loses is drawn.

Occlusion (Zeiler & Fergus 2014, arXiv:1311.2901) needs nothing of a model but its outputs. What a part of an example is,
and how it is hidden and shown, is the task's own.
"""

# M hidden parts

from collections.abc import Iterator
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

Decoded_co = TypeVar("Decoded_co", covariant=True)
Losses = npt.NDArray[np.float64]
MOST_PARTS = 64
"""parts that an explanation may hide: as often the model is run for it"""


class Occlusion(Protocol[Decoded_co]):
    """One example, to be explained by hiding its parts."""

    def copies(self) -> Iterator[Decoded_co]:
        """Yield the example with each part hidden once: MOST_PARTS at most."""
        ...

    def draw(self, losses_M: Losses) -> bytes:
        """Return a PNG of the example that shows what the answer loses where a part is hidden."""
        ...
