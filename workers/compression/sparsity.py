"""Pruning of single weights: the smallest become zero, and the net keeps its shape.

No runtime here is faster for it, only the compressed file shrinks: the variants say `size_only`. Two kinds, as the
field defines them: by magnitude over all layers together (Han et al. 2015, arXiv:1506.02626; the *global* L1 pruning of
Zhu & Gupta 2017, arXiv:1710.01878, and of torch.nn.utils.prune), and n:m, in which each group of m successive input
channels of an output keeps its n largest weights (Mishra et al. 2021, arXiv:2104.08378; for a convolution the groups
lie along the input channels at each place of its kernel, as NVIDIA's tensor cores and its ASP take them).

The weights are those of all convolutions and linear layers, the one that gives the classes included: ranked with all
others, it keeps what it needs. Biases and norms stay. Removed weights stay removed in training: the net calculates with
`weight * mask`, so that their gradients are zero, whatever moves or averages the weights.
"""

# O output, I input channel

import copy
from collections.abc import Iterator, Mapping
from functools import singledispatch
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils import parametrize

from models_store.spec.part import Part
from models_store.spec.pruning import NM, UnstructuredL1
from models_store.wording import inflected
from workers.compression.facts import Sparsity
from workers.compression.prune import PruningImpossible

Net = TypeVar("Net", bound=nn.Module)
Masks = dict[str, Tensor]
"""a weight's name → bool of its shape: what is kept"""


class Mask(nn.Module):
    """Lets the kept weights through."""

    kept: Tensor

    def __init__(self, kept: Tensor) -> None:
        super().__init__()
        self.register_buffer("kept", kept, persistent=False)  # a state is that of the weights

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight with zeros in the place of what was removed."""
        return weight * self.kept


def masks_of(net: nn.Module, part: UnstructuredL1 | NM) -> Masks:
    """Return what of each layer's weight is kept. The same weights give the same masks.

    Raises:
        PruningImpossible: if a weight is not finite, or nothing can be removed.
    """
    weights = {name: getattr(layer, kind).detach().cpu() for name, layer, kind in _places(net)}
    if not weights:
        raise PruningImpossible("the net has no convolution and no linear layer: there are no weights to remove")
    for name, weight in weights.items():
        if not torch.isfinite(weight).all():
            raise PruningImpossible(
                f"the weights {name!r} hold values that are not finite; train again, with a lower `optimizer.lr` or "
                "with `training.clip_grad_norm`"
            )
    masks = _masks(part, weights)
    if all(bool(kept.all()) for kept in masks.values()):
        count = sum(map(torch.numel, weights.values()))
        raise PruningImpossible(
            f"nothing can be removed: of the net's {count:,} {inflected(count, 'weight')}, {_shortage(part)}"
        )
    return masks


def hold(net: Net, masks: Mapping[str, Tensor]) -> Net:
    """Return a copy of the net in which what the masks don't keep is zero, and stays so in training.

    It is on the CPU; `settle` makes a plain net of it.
    """
    held = copy.deepcopy(net).cpu()
    for name, layer, kind in list(_places(held)):
        with torch.no_grad():
            getattr(layer, kind).mul_(masks[name])
        parametrize.register_parametrization(layer, kind, Mask(masks[name].clone()))
    return held


def settle(net: Net) -> Net:
    """Turn a held net, in place, into a plain one with the zeros in its weights; return it."""
    for module in list(net.modules()):
        if parametrize.is_parametrized(module):
            for kind in list(module.parametrizations):  # type: ignore[arg-type]  # a ModuleDict, which has keys
                parametrize.remove_parametrizations(module, kind, leave_parametrized=True)
    return net


def zeros_of(net: nn.Module) -> Masks:
    """Return the masks that keep what is not zero in a pruned net."""
    return {name: (getattr(layer, kind) != 0).detach().cpu() for name, layer, kind in _places(net)}


def facts_of(part: UnstructuredL1 | NM, masks: Mapping[str, Tensor]) -> Sparsity:
    """Return how many weights the masks remove."""
    total = sum(kept.numel() for kept in masks.values())
    removed = sum(int((~kept).sum()) for kept in masks.values())
    dense = None
    if isinstance(part, NM):
        dense = sum(kept.numel() * (kept.shape[1] % part.m) // kept.shape[1] for kept in masks.values())
    return Sparsity(part.kind, total, removed, dense)


@singledispatch
def _masks(part: Part, weights: Mapping[str, Tensor]) -> Masks:
    raise NotImplementedError(f"no masks are made for {type(part).__name__} ({len(weights)} weights)")


@_masks.register
def _(part: UnstructuredL1, weights: Mapping[str, Tensor]) -> Masks:
    sizes = torch.cat([weight.abs().flatten() for weight in weights.values()])
    count = round(part.ratio * len(sizes))
    kept = torch.ones(len(sizes), dtype=torch.bool)
    if count:
        limit = sizes.kthvalue(count).values
        kept = sizes > limit
        tied = (sizes == limit).nonzero().flatten()
        kept[tied[count - int((sizes < limit).sum()) :]] = (
            True  # exactly the share asked for, the first of equals leave
        )
    ends = torch.tensor([weight.numel() for weight in weights.values()]).cumsum(0)
    parts = kept.tensor_split(ends[:-1])
    return {name: part.view(weight.shape) for (name, weight), part in zip(weights.items(), parts, strict=True)}


@_masks.register
def _(part: NM, weights: Mapping[str, Tensor]) -> Masks:
    return {name: _largest_of_groups(weight, part) for name, weight in weights.items()}


def _largest_of_groups(weight: Tensor, part: NM) -> Tensor:
    """Return what is kept of a weight (O, I, …): of each group of m along I the n largest, and all of the remainder."""
    grouped = weight.shape[1] // part.m * part.m
    kept = torch.ones_like(weight, dtype=torch.bool)
    if grouped == 0:
        return kept
    sizes = torch.unflatten(weight[:, :grouped].abs(), 1, (-1, part.m))
    largest = sizes.topk(part.n, dim=2).indices
    kept[:, :grouped] = torch.zeros_like(sizes, dtype=torch.bool).scatter(2, largest, value=True).flatten(1, 2)
    return kept


def _shortage(part: UnstructuredL1 | NM) -> str:
    if isinstance(part, NM):
        return (
            f"no {part.m} lie side by side along a layer's input channels; lower `m`, or take another kind of pruning"
        )
    return f"a share of {part.ratio:g} removes less than one weight; raise `ratio`"


def _places(net: nn.Module) -> Iterator[tuple[str, nn.Module, str]]:
    """Yield each weight's name, its layer, and what it is called there."""
    for name, layer in net.named_modules():
        prefix = f"{name}." if name else ""
        if isinstance(layer, nn.Linear) or (isinstance(layer, _ConvNd) and not isinstance(layer, _ConvTransposeNd)):
            yield f"{prefix}weight", layer, "weight"
        elif isinstance(layer, nn.MultiheadAttention) and layer.in_proj_weight is not None:
            yield f"{prefix}in_proj_weight", layer, "in_proj_weight"  # queries, keys and values are linear layers too
