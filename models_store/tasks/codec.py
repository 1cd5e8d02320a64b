"""Protocol of a task's codec: from the data of a client or a dataset to a file's named inputs, in training and serving.

    given (bytes | JSON) ─► decode ─► one decoded example ─► collate, with others ─► {name of an input: array}
                                                        ◄─ examples_of ─────────────

A decoded example is the codec's own: an array, or a tuple of them; only `collate` and its own room look into it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from models_store.errors import FieldError, Invalid, TooLarge
from models_store.tasks.explanation import Occlusion, SelfExplaining

Decoded = TypeVar("Decoded")
Inputs = dict[str, npt.NDArray[Any]]
"""a file's inputs by their names, each with the examples along its first axis"""
MOST_PER_BATCH = 32


class BadExample(Invalid):
    """One example can't be decoded; `errors` point into the example, "" at all of it."""

    code = "bad_example"
    title = "An example can't be used"


class OverBudget(TooLarge):
    """The examples of one request are too large together."""

    code = "over_budget"
    title = "Too much at once"


@dataclass(frozen=True)
class Tensor:
    """An input of a file: its name, numpy's name of its type, and one example's shape; None is any length."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]

    def zeros(self, count: int, *, free: int = 1) -> npt.NDArray[Any]:
        """Return `count` examples of zeros, with `free` along each axis of any length."""
        return np.zeros((count, *(free if length is None else length for length in self.shape)), self.dtype)


class Batch(Generic[Decoded]):
    """Decoded examples that will run together."""

    def __init__(self, collate: Callable[[Sequence[Decoded]], Inputs]) -> None:
        self._collate = collate
        self._examples: list[Decoded] = []

    def add(self, example: Decoded) -> None:
        """Add one more."""
        self._examples.append(example)

    def inputs(self) -> Inputs:
        """Return those that were added, one at least, as a file's inputs."""
        return self._collate(self._examples)


class Codec(Protocol[Decoded]):
    """How examples of one model are decoded. It has no state: one serves all threads."""

    @property
    def most_per_batch(self) -> int:
        """Largest number of examples that run together: more would gain nothing, and delay the next request."""
        return MOST_PER_BATCH

    @property
    def lengths(self) -> tuple[int, ...]:
        """Lengths to which examples of any length are padded with zeros, ascending; none: batches have any length.

        Only examples of the same padded length run together, so padding costs little. Zeros after an example's end must
        not change its outputs.
        """
        return ()

    @property
    def exact(self) -> bool:
        """Return whether a file must give its net's outputs, but for rounding, in a batch and alone: not only its answers.

        It is for inputs of which a file's graph, or the length of a batch, could change a little on every example.
        """
        return False

    def describe(self) -> tuple[Tensor, ...]:
        """Return the inputs that a file must have."""
        ...

    def budget(self) -> Any:  # noqa: ANN401  the codec's own
        """Return the budget of one request's examples, which `decode` spends; None: there is no limit."""
        return None

    def decode(self, given: Any, *, budget: Any = None) -> Decoded:  # noqa: ANN401  any JSON, or a file's bytes
        """Return one example, the same on every call.

        Raises:
            EspalierError: if it can't be decoded: `BadExample`, or one of the room's own.
            OverBudget: if the rest of the request's budget is too small.
        """
        ...

    def decodes_quickly(self, given: Any) -> bool:  # noqa: ANN401, ARG002  any JSON, or a file's bytes
        """Return whether decoding surely takes far less than a millisecond, as its size and its head show."""
        return False

    def length(self, example: Decoded) -> int:  # noqa: ARG002  for codecs with `lengths`
        """Return the length of a decoded example along the axes of any length, where the codec has `lengths`."""
        return 1

    def collate(self, examples: Sequence[Decoded]) -> Inputs:
        """Return one or more decoded examples as a file's inputs."""
        ...

    def examples_of(self, inputs: Inputs) -> list[Decoded]:
        """Return the decoded examples that `collate` would make these inputs of: the rows of each, not copied.

        The inputs have the names, types and shapes that `describe` says, and as many rows each. A codec whose examples
        are neither an array nor a tuple of arrays in the order of `describe` has its own.
        """
        arrays = [inputs[tensor.name] for tensor in self.describe()]
        examples: Any = list(arrays[0]) if len(arrays) == 1 else list(zip(*arrays, strict=True))
        rows: list[Decoded] = examples
        return rows

    def notes(self, example: Decoded) -> dict[str, Any]:  # noqa: ARG002  most examples need none
        """Return what an answer about the example says beside the model's outputs, such as that it was cut; JSON."""
        return {}

    def occlusion(self, given: Any, example: Decoded) -> Occlusion[Decoded] | None:  # noqa: ANN401, ARG002  any JSON; most tasks explain nothing
        """Return how an answer about an example is explained; None: the task's examples have no parts to hide.

        `given` is what `decode` has made `example` of.
        """
        return None

    def self_explaining(self, path: Path) -> SelfExplaining[Decoded] | None:  # noqa: ARG002  most files don't explain themselves
        """Return a model's file as it explains itself; None: it does not."""
        return None

    def batch(self, most: int) -> Batch[Decoded]:  # noqa: ARG002  for codecs that take the room at once
        """Return an empty batch for up to `most` examples, to be filled as they are decoded."""
        return Batch(self.collate)


def bad_example(code: str, message: str, *, pointer: str = "", allowed: Any = None) -> BadExample:  # noqa: ANN401  any JSON
    """Return the error for an example; `pointer` leads into it."""
    return BadExample(message, errors=[FieldError(pointer, code, message, allowed)])
