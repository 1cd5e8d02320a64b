"""Protocol of explanations: parts of an example are hidden or left out, one after the other, and the loss is shown.

Where a file's own tensors say what each part adds to each output, that is shown instead: one run is enough.

Occlusion (Zeiler & Fergus 2014, arXiv:1311.2901) and erasure (Li et al. 2016, arXiv:1612.08220) need nothing of a model
but its outputs. What a part of an example is, how it is hidden, and how the losses are shown, is the task's own.
"""

# M hidden parts

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

Decoded_co = TypeVar("Decoded_co", covariant=True)
Decoded = TypeVar("Decoded")
Losses = npt.NDArray[np.float64]
Method = Literal["class_activation", "exact", "occlusion", "leave_one_out"]
CONTRIBUTIONS = "espalier.contributions"
"""output of a graph that explains itself: what each place adds to each of the file's outputs, before any activation"""
MOST_PARTS = 256
"""parts that an explanation may hide: as often the model is run for it"""


class Occlusion(Protocol[Decoded_co]):
    """One example, to be explained by hiding its parts."""

    @property
    def method(self) -> Method:
        """Return how parts are hidden."""
        ...

    def copies(self) -> Iterator[Decoded_co]:
        """Yield the example with each part hidden once: MOST_PARTS at most, and maybe none."""
        ...

    def show(self, losses_M: Losses) -> dict[str, Any]:
        """Return what the answer loses where a part is hidden, as JSON.

        It is `heat_map`, a PNG in base64, or `weights`: for each part its text, `start` and `end` in characters, and
        its weight.
        """
        ...


@dataclass(frozen=True)
class SelfExplaining(Generic[Decoded]):
    """A file that explains itself, by one more output than it has for predictions."""

    method: Method
    graph: bytes
    """ONNX, with the output CONTRIBUTIONS, float32 (N, K, …)"""
    show: Callable[[Decoded, Losses], dict[str, Any]]
    """what the places of an example add to its answer → JSON, as `Occlusion.show` has it"""
