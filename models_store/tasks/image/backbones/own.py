"""Backbones of our own: nets to train from scratch, with a structure that the spec sets."""

from dataclasses import replace
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from models_store.tasks.image.backbones.network import HALF, Design, Network

LARGEST_MAP = 4  # at 8 by 8 the dense layer would be most of a small net


class SmallCnn(Network):
    """Stages of 3x3 convolutions with batch norm, an activation and max pooling, then a dense layer: a net to train from scratch."""

    design: ClassVar = Design(stages=(), input_size=64, mean=HALF, std=HALF)

    kind: Literal["small_cnn"] = "small_cnn"
    widths: list[Annotated[int, Field(ge=1, le=2048)]] = Field(
        [32, 64, 128], min_length=1, max_length=6, description="channels of each stage; each halves the image's sides"
    )
    depth: int = Field(1, ge=1, le=8, description="convolutions in each stage")
    kernel_size: Literal[3, 5, 7] = Field(3, description="side of the convolutions' kernels, in pixels")
    activation: Literal["relu", "leaky_relu", "gelu", "silu", "tanh"] = Field(
        "relu", description="activation after each convolution and after the dense layer"
    )
    batch_norm: bool = Field(default=True, description="whether there is a batch norm before each activation")
    dense_size: Annotated[int, Field(ge=1, le=16_384)] | None = Field(
        512, description="size of the dense layer after the last stage; null: the mean over the image instead"
    )

    def map_side(self, size: int) -> int:
        """Return the side of the last stage's output for images of this size, both in pixels."""
        return size >> len(self.widths)

    def dense_side(self, size: int) -> int:
        """Return the side of the dense layer's input; larger maps are averaged down to it."""
        side = self.map_side(size)
        return side // max(1, side // LARGEST_MAP)

    @property
    def has_batch_norm(self) -> bool:
        """Return whether its layers have one."""
        return self.batch_norm

    def _design(self) -> Design:
        stages = [f"stage{number}" for number in range(1, len(self.widths) + 1)]
        stages += ["dense"] if self.dense_size else []
        return replace(self.design, stages=tuple(stages), smallest_size=max(16, 2 ** len(self.widths)))


class CifarResNet18(Network):
    """ResNet-18 for small images (He et al. 2015, arXiv:1512.03385): a 3x3 stem of stride 1 without pooling, as is usual for CIFAR."""

    design: ClassVar = Design(
        stages=("stem", "layer1", "layer2", "layer3", "layer4"), input_size=32, mean=HALF, std=HALF, has_drop_path=True
    )

    kind: Literal["cifar_resnet18"] = "cifar_resnet18"
    width: int = Field(64, ge=4, le=512, description="channels of the first stage; each later stage doubles them")
