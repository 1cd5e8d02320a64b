"""Networks of images: the sizes that each kind takes, and how its pixels are normalised."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from models_store.spec import network, patterns

Colours = tuple[float, float, float]

IMAGENET_MEAN: Colours = (0.485, 0.456, 0.406)
IMAGENET_STD: Colours = (0.229, 0.224, 0.225)
HALF: Colours = (0.5, 0.5, 0.5)

ANY_WEIGHTS = f"^(imagenet|{patterns.OWN_PART})$"
AnyWeights = Annotated[str, Field(pattern=ANY_WEIGHTS, max_length=130)] | None


@dataclass(frozen=True)
class Design:
    """The facts of a kind of backbone.

    `stages` are its parts from input to output, as `freeze: until:<stage>` and `transfer` name them. `input_size` is
    the side in pixels that it was made for, `smallest_size` the least that it can take, and every size is a multiple of
    `size_step`. `mean` and `std` are those of pixels in [0, 1] that its published weights were trained with.
    """

    stages: tuple[str, ...]
    input_size: int = 224
    smallest_size: int = 16
    size_step: int = 1
    mean: Colours = IMAGENET_MEAN
    std: Colours = IMAGENET_STD
    has_drop_path: bool = False


class Network(network.Network):
    """The base of every backbone."""

    design: ClassVar[Design]

    freeze: network.Freeze = Field(
        None,
        description=network.FREEZE
        + ": backbone for fewer than 500 photographs, until:stage3 of an EfficientNet-Lite for more of them, else none",
    )

    @property
    def stages(self) -> tuple[str, ...]:
        """Return the names of its parts, from input to output."""
        return self._design().stages

    @property
    def input_size(self) -> int:
        """Return the side of its input in pixels, unless the spec gives another."""
        return self._design().input_size

    @property
    def smallest_size(self) -> int:
        """Return the least side of its input, in pixels."""
        return self._design().smallest_size

    @property
    def size_step(self) -> int:
        """Return the step of the side of its input: each allowed side is a multiple of it."""
        return self._design().size_step

    @property
    def mean(self) -> Colours:
        """Return the mean of each colour that its input is normalised with, for pixels in [0, 1]."""
        return self._design().mean

    @property
    def std(self) -> Colours:
        """Return the standard deviation of each colour, as above."""
        return self._design().std

    @property
    def has_drop_path(self) -> bool:
        """Return whether it has residual branches that can be dropped at random."""
        return self._design().has_drop_path

    def _design(self) -> Design:
        return self.design


class Pretrained(Network):
    """The base of every backbone with published weights."""

    weights: AnyWeights = Field(
        "imagenet", description="imagenet: start from published ImageNet-1k weights; " + network.OWN_WEIGHTS
    )
