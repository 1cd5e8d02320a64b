"""What holds the weights back: a part of the spec → a penalty on them, or a layer of noise before the classes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import singledispatch

import torch
from torch import Tensor, nn

from models_store.spec.part import Part
from models_store.spec.regularizer import L1, L2, Dropout


@dataclass(frozen=True)
class Penalty:
    """Added to the loss: a number of all trained weights but norms and biases."""

    of: Callable[[Sequence[Tensor]], Tensor]


@dataclass(frozen=True)
class Noise:
    """Put before the head's last layer; does nothing in evaluation."""

    layer: Callable[[], nn.Module]


@singledispatch
def build(part: Part) -> Penalty | Noise:
    """Return what the part does."""
    raise NotImplementedError(f"no regularizer is built for {type(part).__name__}")


@build.register
def _(part: L1) -> Penalty:
    return Penalty(lambda weights: part.strength * torch.stack([weight.abs().sum() for weight in weights]).sum())


@build.register
def _(part: L2) -> Penalty:
    return Penalty(lambda weights: part.strength / 2 * torch.stack([weight.square().sum() for weight in weights]).sum())


@build.register
def _(part: Dropout) -> Noise:
    return Noise(lambda: nn.Dropout(part.probability))


def penalties(parts: Sequence[Part]) -> list[Penalty]:
    """Return those parts that add to the loss."""
    return [built for built in map(build, parts) if isinstance(built, Penalty)]


def noise(parts: Sequence[Part]) -> list[nn.Module]:
    """Return the layers of those parts that disturb features, in the spec's order."""
    return [built.layer() for built in map(build, parts) if isinstance(built, Noise)]
