"""Protocol of a task in the workers: its examples, its nets, and how they are served.

A room (`workers.tasks.image`, …) supplies one object that subclasses `Task`. What a task need not have has a default.
"""

# N examples, B batch, K class or label (1 for a number), H height, W width

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt
from torch import nn

from models_store.datasets.store import ManifestEntry
from models_store.settings import Settings
from models_store.spec.train import ResolvedSpec
from workers.evaluation.features import Feature
from workers.export.served import Served
from workers.training.examples import Examples, Inputs, Rows
from workers.training.learner import Learner, Prepared

if TYPE_CHECKING:
    from workers.stages.context import Story

Outputs = npt.NDArray[np.float32]
"""what a file answers (N, K)"""
Picture = npt.NDArray[np.uint8]
"""pixels (H, W, C)"""
Worths = npt.NDArray[np.float64]
"""of each entry of a vocabulary, how much it matters: comparable within one vocabulary"""
Entries = npt.NDArray[np.int64]
"""numbers of entries of a vocabulary, from 0"""


class Task(Protocol):
    """What a task's room supplies to stages and stories."""

    names: ClassVar[Sequence[str]]
    """what `task` may say in a spec"""

    # ---- examples

    @abstractmethod
    def examples(
        self,
        spec: ResolvedSpec,
        manifest: Sequence[ManifestEntry],
        content: Path,
        *,
        classes: list[str],
        digest: str,
        auxiliary: Mapping[str, bytes],
        start: Path | None,
        settings: Settings,
        report: Callable[[float], None],
    ) -> Examples:
        """Return the dataset as arrays, decoded once and kept for later runs.

        `content` is the dataset's stored file, `digest` names what is in it, `auxiliary` has the dataset's other
        files by name, `start` is the file of weights that the net starts from, or that it was trained to, if any;
        `report` gets the share done.
        """
        ...

    @abstractmethod
    def noise(self, spec: ResolvedSpec, *, classes: Sequence[str], count: int, start: Path | None = None) -> Examples:
        """Return so many training examples of the spec's shape that show nothing, in the memory of a few.

        `start` is the file of weights that the net starts from, if any.
        """
        ...

    def show(self, examples: Examples, row: int) -> Picture | str | None:  # noqa: ARG002  see subclasses
        """Return one example as a report shows it, a picture or a text; None where there is nothing to see."""
        return None

    def features(self, net: Learner, examples: Examples) -> Sequence[Feature]:  # noqa: ARG002  see subclasses
        """Return what speaks most for each class, the most first, where a net adds up weights of parts of examples."""
        return ()

    # ---- nets

    def worths(self, net: Learner, examples: Examples) -> Sequence[Worths]:  # noqa: ARG002  see subclasses
        """Return how much each entry matters to the net, for each of its vocabularies; none where it has none.

        `examples` are those that the net was trained on.
        """
        return ()

    def with_entries(self, net: Learner, kept: Sequence[Entries]) -> Learner:  # noqa: ARG002  see subclasses
        """Return a copy of a net that knows these entries alone, ascending, of each of its vocabularies."""
        raise AssertionError(f"nets of {type(self).__name__} have no vocabulary")

    @abstractmethod
    def build(
        self,
        spec: ResolvedSpec,
        *,
        class_count: int,
        weights_dir: Path,
        examples: Examples,
        initial_weights: Path | None = None,
        last_layer: nn.Module | None = None,
    ) -> Learner:
        """Return the net that a resolved spec describes, on the CPU; its random weights come from the spec's seed.

        What it takes from the training rows of `examples`, such as the size of a vocabulary, is in its state.

        `class_count` is the number of its outputs; `last_layer`, when the targets have one, ends its head.
        `initial_weights` is the file that it starts from, when the spec names a model of ours or a user's file; what
        is published elsewhere is kept in `weights_dir`.
        """
        ...

    @abstractmethod
    def restore(
        self,
        spec: ResolvedSpec,
        path: Path,
        *,
        class_count: int,
        examples: Examples | None = None,
        last_layer: nn.Module | None = None,
    ) -> Learner:
        """Return the trained net whose weights are in the file at `path`, from the spec it was made by.

        `examples` are those that it may train on further; None: it answers alone.
        """
        ...

    @abstractmethod
    def trace_input(self, spec: ResolvedSpec, *, count: int = 1) -> Prepared:
        """Return prepared inputs of so many examples, zeros on the CPU, to trace a net with."""
        ...

    @abstractmethod
    def served(self, net: Learner, spec: ResolvedSpec, *, temperature: float = 1.0) -> Served:
        """Return a copy of the net as its file will answer, its logits divided by `temperature`."""
        ...

    @abstractmethod
    def described(self, spec: ResolvedSpec) -> dict[str, Any]:
        """Return what the cards of a version and of its files say of its net, and what the contract's codec reads."""
        ...

    def work(self, spec: ResolvedSpec) -> float:  # noqa: ARG002  see subclasses
        """Return how much work a net has with one example, in a unit of the task's own: only ratios are used."""
        return 1.0

    def in_words(self, spec: ResolvedSpec) -> str:  # noqa: ARG002  see subclasses
        """Return what a line about a plan says of its examples, such as ` at 224 pixels`."""
        return ""

    # ---- what a task may have besides

    def story(self) -> "Story | None":
        """Return what trains and publishes a net of this task; None: `workers.stories.supervised`."""
        return None

    def auxiliary_files(self, examples: Examples, folder: Path) -> Mapping[str, Path]:  # noqa: ARG002  see subclasses
        """Return files that a version's codec needs besides its card, written to `folder`, by name."""
        return {}

    def learned(self, examples: Examples) -> dict[str, Any]:  # noqa: ARG002  see subclasses
        """Return what cards and files' metadata say of what was learned beside the net, by name; JSON."""
        return {}

    def averaged(
        self,
        spec: ResolvedSpec,  # noqa: ARG002  see subclasses
        answer: Callable[[Inputs], Outputs],  # noqa: ARG002  see subclasses
        examples: Examples,  # noqa: ARG002  see subclasses
        rows: Rows,  # noqa: ARG002  see subclasses
    ) -> Iterator[Outputs]:
        """Yield the mean outputs over changed copies of the examples, batch by batch; nothing where none are wanted."""
        return iter(())

    def standalone(self, spec: ResolvedSpec) -> str | None:  # noqa: ARG002  see subclasses
        """Return the name of the variant that is made to be taken elsewhere; None where the spec wants none."""
        return None

    def write_standalone(
        self,
        path: Path,  # noqa: ARG002  see subclasses
        *,
        fixed: Path,  # noqa: ARG002  see subclasses
        spec: ResolvedSpec,  # noqa: ARG002  see subclasses
        examples: Examples,  # noqa: ARG002  see subclasses
        files: Callable[[Rows], Iterable[bytes]],  # noqa: ARG002  see subclasses
        settings: Settings,  # noqa: ARG002  see subclasses
    ) -> dict[str, Any]:
        """Write that variant to `path`, of the file at `fixed`; return what its card says of it.

        `files` gives the raw bytes of rows of the dataset.

        Raises:
            Invalid: if it can't be made of this file, or answers differently.
        """
        raise AssertionError(f"{type(self).__name__} has no standalone variant")

    def preview(
        self,
        document: Mapping[str, Any],  # noqa: ARG002  see subclasses
        manifest: Sequence[ManifestEntry],  # noqa: ARG002  see subclasses
        content: Path,  # noqa: ARG002  see subclasses
        *,
        auxiliary: Mapping[str, bytes],  # noqa: ARG002  see subclasses
        folder: Path,  # noqa: ARG002  see subclasses
        settings: Settings,  # noqa: ARG002  see subclasses
    ) -> Mapping[str, Path]:
        """Write what training would make of a few examples to `folder`, as `document` asks.

        Returns each file by its ending, those of the contract's `preview_forms`.
        """
        raise AssertionError(f"{type(self).__name__} has no preview")
