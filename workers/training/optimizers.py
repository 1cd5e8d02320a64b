"""What moves the weights: a part of the spec → a torch optimizer, with no decay on norms and biases."""

from collections.abc import Iterable
from functools import singledispatch
from typing import Any

from torch import nn, optim

from models_store.spec.optimizer import Adam, AdamW, Sgd
from models_store.spec.part import Part

Groups = list[dict[str, Any]]


@singledispatch
def build(part: Part, groups: Groups) -> optim.Optimizer:
    """Return the optimizer of parameter groups, each with its own `weight_decay`."""
    raise NotImplementedError(f"no optimizer is built for {type(part).__name__} ({len(groups)} groups)")


@build.register
def _(part: Sgd, groups: Groups) -> optim.Optimizer:
    return optim.SGD(
        groups, lr=part.lr, momentum=part.momentum, nesterov=part.nesterov and part.momentum > 0, fused=True
    )


@build.register
def _(part: Adam, groups: Groups) -> optim.Optimizer:
    return optim.Adam(groups, lr=part.lr, betas=(part.beta1, part.beta2), fused=True)


@build.register
def _(part: AdamW, groups: Groups) -> optim.Optimizer:
    return optim.AdamW(groups, lr=part.lr, betas=(part.beta1, part.beta2), fused=True)


def groups(net: nn.Module, *, weight_decay: float) -> Groups:
    """Return the trained parameters in two groups: matrices and kernels with decay, norms and biases without."""
    trained = [parameter for parameter in net.parameters() if parameter.requires_grad]
    return [
        {"params": list(decayed(trained)), "weight_decay": weight_decay},
        {"params": [parameter for parameter in trained if parameter.ndim <= 1], "weight_decay": 0.0},
    ]


def decayed(parameters: Iterable[nn.Parameter]) -> Iterable[nn.Parameter]:
    """Return what decay and penalties act on: not norms and biases, which have one dimension."""
    return (parameter for parameter in parameters if parameter.ndim > 1)
