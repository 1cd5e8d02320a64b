"""Regularizers: a part of the spec → its effect, and the moment of a run at which it acts.

Penalty           adds a number of the weights to the loss
AnswerPenalty     adds a number of the net's answers to the loss
Noise, PathNoise  disturb the net while it trains
Shrinkage, Limit  change the weights at each step, beside the optimizer
Averaging         lets an average of the weights stand for them (`averaging.py`)
Sharpness         takes the gradient elsewhere (`sharpness.py`)
"""

# B batch, K class or label

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from models_store.spec.part import Part
from models_store.spec.regularizer import (
    L1,
    L2,
    ConfidencePenalty,
    Dropout,
    DropPath,
    Elastic,
    Ema,
    L2Sp,
    MaxNorm,
    Sam,
    Swa,
)
from models_store.targets import Activation
from workers.training import averaging
from workers.training.averaging import Averaging
from workers.training.optimizers import is_matrix
from workers.training.sharpness import Sharpness


@dataclass(frozen=True)
class Penalty:
    """Of a net as it stands, `of` gives what to add to the loss, as often as it is called."""

    of: Callable[[nn.Module], Callable[[], Tensor]]


@dataclass(frozen=True)
class AnswerPenalty:
    """What to add to the loss for a batch's logits (B, K), by the task's activation."""

    of: Callable[[Tensor, Activation], Tensor]


@dataclass(frozen=True)
class Noise:
    """Put before the head's last layer; does nothing in evaluation."""

    layer: Callable[[], nn.Module]


@dataclass(frozen=True)
class PathNoise:
    """The backbone is built with it."""

    probability: float


@dataclass(frozen=True)
class Shrinkage:
    """Weights lose this share, times the learning rate, at each step."""

    strength: float

    @torch.no_grad()
    def apply(self, weights: Iterable[nn.Parameter], *, rate: float) -> None:
        """Shrink those of the weights that move at this step."""
        for weight in weights:
            if weight.grad is not None and is_matrix(weight):
                weight.mul_(1 - rate * self.strength)


@dataclass(frozen=True)
class Limit:
    """The largest norm of one output unit's weights."""

    norm: float

    @torch.no_grad()
    def apply(self, weights: Iterable[nn.Parameter]) -> None:
        """Scale the units down that are above it."""
        for weight in weights:
            if weight.requires_grad and is_matrix(weight):
                weight.renorm_(p=2, dim=0, maxnorm=self.norm)


Effect = Penalty | AnswerPenalty | Noise | PathNoise | Shrinkage | Limit | Averaging | Sharpness
Kind = TypeVar("Kind", bound=Effect)


@singledispatch
def build(part: Part) -> Effect:
    """Return what the part does."""
    raise NotImplementedError(f"no regularizer is built for {type(part).__name__}")


@build.register
def _(part: L1) -> Effect:
    return _elastic(part.strength, 0.0)


@build.register
def _(part: L2) -> Effect:
    return Shrinkage(part.strength) if part.decoupled else _elastic(0.0, part.strength)


@build.register
def _(part: Elastic) -> Effect:
    return _elastic(part.strength * part.l1_ratio, part.strength * (1 - part.l1_ratio))


@build.register
def _(part: L2Sp) -> Effect:
    def of(net: nn.Module) -> Callable[[], Tensor]:
        backbone = [weight for name, weight in _weights(net) if name.startswith("backbone.")]
        head = [weight for name, weight in _weights(net) if not name.startswith("backbone.")]
        starts = [weight.detach().clone() for weight in backbone]
        return lambda: (
            part.strength
            / 2
            * _total((weight - start).square() for weight, start in zip(backbone, starts, strict=True))
            + part.head_strength / 2 * _total(weight.square() for weight in head)
        )

    return Penalty(of)


@build.register
def _(part: Dropout) -> Effect:
    return Noise(lambda: nn.Dropout(part.probability))


@build.register
def _(part: DropPath) -> Effect:
    return PathNoise(part.probability)


@build.register
def _(part: MaxNorm) -> Effect:
    return Limit(part.limit)


@build.register
def _(part: ConfidencePenalty) -> Effect:
    return AnswerPenalty(lambda logits_BK, activation: -part.strength * entropy(logits_BK, activation))


@build.register
def _(part: Ema) -> Effect:
    return averaging.exponential(part.decay)


@build.register
def _(part: Swa) -> Effect:
    return averaging.stochastic(start=part.start, lr_fraction=part.lr_fraction)


@build.register
def _(part: Sam) -> Effect:
    return Sharpness(part.rho, adaptive=part.adaptive)


def effects(parts: Sequence[Part], kind: type[Kind]) -> list[Kind]:
    """Return what those parts do that have an effect of one kind, in the spec's order."""
    return [effect for effect in map(build, parts) if isinstance(effect, kind)]


def effect(parts: Sequence[Part], kind: type[Kind]) -> Kind | None:
    """Return the one effect of a kind of which a spec has one at most."""
    return next(iter(effects(parts, kind)), None)


def noise(parts: Sequence[Part]) -> list[nn.Module]:
    """Return the layers of those parts that disturb features, in the spec's order."""
    return [each.layer() for each in effects(parts, Noise)]


def drop_path(parts: Sequence[Part]) -> float:
    """Return how often the backbone's last residual branch is left out."""
    found = effect(parts, PathNoise)
    return 0.0 if found is None else found.probability


def entropy(logits_BK: Tensor, activation: Activation) -> Tensor:
    """Return the mean entropy of a batch's answers, in nats; of labels, that of each label by itself, summed."""
    if activation == "softmax":
        log_BK = functional.log_softmax(logits_BK, dim=1)
        return -(log_BK.exp() * log_BK).sum(dim=1).mean()
    assert activation == "sigmoid", "a number has no entropy"
    return functional.binary_cross_entropy_with_logits(logits_BK, logits_BK.sigmoid(), reduction="none").sum(1).mean()


def _elastic(absolute: float, squared: float) -> Penalty:
    def of(net: nn.Module) -> Callable[[], Tensor]:
        weights = [weight for _, weight in _weights(net)]

        def penalty() -> Tensor:
            total = torch.zeros((), device=weights[0].device)
            if absolute:
                total = total + absolute * _total(weight.abs() for weight in weights)
            if squared:
                total = total + squared / 2 * _total(weight.square() for weight in weights)
            return total

        return penalty

    return Penalty(of)


def _total(tensors: Iterable[Tensor]) -> Tensor:
    sums = [tensor.sum() for tensor in tensors]
    return torch.stack(sums).sum() if sums else torch.zeros(())


def _weights(net: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [(name, weight) for name, weight in net.named_parameters() if weight.requires_grad and is_matrix(weight)]
