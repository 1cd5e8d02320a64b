"""Importance: the measures by which units are ranked, for torch-pruning's groups and for linear layers."""

# C channels of a group

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch_pruning
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from models_store.spec.pruning import StructuredPruning
from workers.compression.bundles import Importance, Worth

Backward = Callable[[nn.Module], None]
"""leaves in a net's weights the gradient of its loss on some training examples"""


def of_groups(part: StructuredPruning, *, seed: int) -> Importance:
    """Return what ranks the channels of torch-pruning's groups as `part` says."""
    library = torch_pruning.importance
    if part.importance == "random":
        generator = torch.Generator().manual_seed(seed)
        return lambda group: torch.rand(len(group[0].idxs), generator=generator)
    made: Importance = {
        "l2": partial(library.GroupMagnitudeImportance, p=2),
        "l1": partial(library.GroupMagnitudeImportance, p=1),
        "taylor": library.GroupTaylorImportance,
        "bn_scale": library.BNScaleImportance,
    }[part.importance]()
    return made


def of_linear_layers(part: StructuredPruning, *, seed: int) -> Worth:
    """Return what says of each weight of a linear layer what it is worth, as `part` says."""
    if part.importance == "random":
        generator = torch.Generator().manual_seed(seed)
        return lambda layer: torch.rand(layer.weight.shape, generator=generator)
    if part.importance == "taylor":
        return lambda layer: (layer.weight.detach() * _gradient(layer.weight)).abs()
    power = 1 if part.importance == "l1" else 2
    return lambda layer: layer.weight.detach().abs().pow(power)


def normalises(net: nn.Module) -> bool:
    """Return whether the net has a batch norm with scales."""
    return any(isinstance(module, _BatchNorm) and module.affine for module in net.modules())


def fill_in_gradients(net: nn.Module) -> None:
    """Give a gradient of zero to the weights that the loss does not depend on: taking them out costs nothing."""
    for weight in net.parameters():
        weight.grad = _gradient(weight)


def _gradient(weight: Any) -> Tensor:  # noqa: ANN401  a parameter, whose gradient may be missing
    return torch.zeros_like(weight) if weight.grad is None else weight.grad
