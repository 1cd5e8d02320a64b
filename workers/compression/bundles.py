"""Bundles of channels, hidden units or attention heads that can be removed together without breaking a net.

In convolutional nets layers hang together in any way (a residual sum, a depthwise convolution, a flatten before a dense
layer): DepGraph (Fang et al. 2023, arXiv:2301.12900), by torch-pruning, finds what does. In nets with attention it does
not: their width runs through every block, with the tokens and the positions, and each head has to stay whole. There the
hidden units between two linear layers leave, and the heads of attention that keeps its numbers of them to itself.
"""

# W units of a bundle, C channels of a layer

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch_pruning
from torch import Tensor, nn

from workers.training.learner import Prepared

Importance = Callable[[Any], Tensor | None]
"""a group of torch-pruning's → what each of its channels is worth (C,); None where it can't tell"""
Worth = Callable[[nn.Linear], Tensor]
"""a linear layer → what each of its weights is worth, of the weight's shape"""

ELEMENTWISE = (nn.ReLU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.Dropout, nn.Identity)


class Bundle(Protocol):
    """Units of which any can leave, each of `channels` channels in the layer that the bundle is named by."""

    @property
    def name(self) -> str:
        """Return the name of the bundle's first layer."""
        ...

    @property
    def width(self) -> int:
        """Return how many units there are."""
        ...

    @property
    def channels(self) -> int:
        """Return how many channels one unit is of."""
        ...

    def scores_W(self, importance: Importance, worth: Worth) -> Tensor | None:  # noqa: N802  the shape is part of the name
        """Return what each unit is worth, on average 1; None where the importance can't tell."""
        ...

    def remove(self, units: Sequence[int]) -> None:
        """Take the units out of the net."""
        ...


def find(net: nn.Module, example: Prepared) -> list[Bundle]:
    """Return the bundles of `net`, in its order; its weights have to be trainable.

    The outputs of its last linear layer are in none: they are the classes.
    """
    places = {name: place for place, (name, _) in enumerate(net.named_modules())}
    found: list[Bundle] = []
    if attends(net):
        found += [*_hidden_units(net), *_heads(net)]
    else:
        found += _channels(net, example)
    return sorted(found, key=lambda bundle: places[bundle.name])


def attends(net: nn.Module) -> bool:
    """Return whether the net has attention of any kind."""
    return any(
        isinstance(module, nn.MultiheadAttention) or (hasattr(module, "num_heads") and hasattr(module, "qkv"))
        for module in net.modules()
    )


# ---- convolutional nets


@dataclass(frozen=True)
class Channels:
    """Channels that DepGraph found to hang together. Of grouped convolutions, one of each group is a unit."""

    name: str
    width: int
    channels: int
    graph: Any
    group: Any

    def scores_W(self, importance: Importance, worth: Worth) -> Tensor | None:  # noqa: ARG002, N802  see Bundle
        """Return what torch-pruning's importance says."""
        scores_C = importance(self.group)
        return None if scores_C is None else _normed(scores_C.view(self.channels, self.width).mean(dim=0))

    def remove(self, units: Sequence[int]) -> None:
        """Remove the channels from every layer that depends on them."""
        indexes = [unit + number * self.width for number in range(self.channels) for unit in units]
        root = self.group[0].dep
        self.graph.get_pruning_group(root.target.module, root.handler, indexes).prune(record_history=False)


def _channels(net: nn.Module, example: Prepared) -> Iterator[Channels]:
    names = {module: name for name, module in net.named_modules()}
    last = [module for module in net.modules() if isinstance(module, nn.Linear)][-1:]
    graph = torch_pruning.DependencyGraph()
    with torch.enable_grad():
        graph.build_dependency(net, example_inputs=example)
    for group in graph.get_all_groups(ignored_layers=last):
        sets = max(_sets(graph, dependency) for dependency, _ in group)
        yield Channels(names[group[0].dep.target.module], len(group[0].idxs) // sets, sets, graph, group)


def _sets(graph: Any, dependency: Any) -> int:  # noqa: ANN401  torch-pruning has no types
    """Return in how many sets a layer takes its channels: a grouped convolution's, or a group norm's."""
    module = dependency.target.module
    if isinstance(module, nn.Conv2d) and module.groups == module.out_channels:
        return 1  # depthwise: a set goes with its channel
    pruner = graph.get_pruner_of_module(module)
    if pruner is None:
        return 1
    if graph.is_out_channel_pruning_fn(dependency.handler):
        return int(pruner.get_out_channel_groups(module))
    return int(pruner.get_in_channel_groups(module))


# ---- nets with attention


@dataclass(frozen=True)
class HiddenUnits:
    """What is between two linear layers with nothing but an activation in between."""

    name: str
    first: nn.Linear
    second: nn.Linear

    channels = 1

    @property
    def width(self) -> int:
        """Return how many hidden units there are."""
        return self.first.out_features

    def scores_W(self, importance: Importance, worth: Worth) -> Tensor:  # noqa: ARG002, N802  see Bundle
        """Return the worth of a unit's weights in both layers."""
        return _normed(worth(self.first).sum(dim=1) + worth(self.second).sum(dim=0))

    def remove(self, units: Sequence[int]) -> None:
        """Take the units out of both layers."""
        torch_pruning.prune_linear_out_channels(self.first, list(units))
        torch_pruning.prune_linear_in_channels(self.second, list(units))


@dataclass(frozen=True)
class Heads:
    """The heads of one of timm's attention modules: queries, keys and values are of one layer, in this order."""

    name: str
    attention: Any

    @property
    def width(self) -> int:
        """Return how many heads there are."""
        return int(self.attention.num_heads)

    @property
    def channels(self) -> int:
        """Return how many channels a head has."""
        return int(self.attention.head_dim)

    def scores_W(self, importance: Importance, worth: Worth) -> Tensor:  # noqa: ARG002, N802  see Bundle
        """Return the worth of a head's weights, in the layer before it and in that after it."""
        into_W = worth(self.attention.qkv).sum(dim=1).view(3, self.width, -1).sum(dim=(0, 2))
        out_of_W = worth(self.attention.proj).sum(dim=0).view(self.width, -1).sum(dim=1)
        return _normed(into_W + out_of_W)

    def remove(self, units: Sequence[int]) -> None:
        """Take the heads out of both layers, and tell the module how many there are."""
        width, size = self.width, self.channels
        places = [head * size + number for head in units for number in range(size)]
        threefold = [place + part * width * size for part in range(3) for place in places]
        torch_pruning.prune_linear_out_channels(self.attention.qkv, threefold)
        torch_pruning.prune_linear_in_channels(self.attention.proj, places)
        self.attention.num_heads = width - len(units)
        self.attention.attn_dim = self.attention.num_heads * size


def _hidden_units(net: nn.Module) -> Iterator[HiddenUnits]:
    for name, module in net.named_modules():
        prefix = f"{name}." if name else ""
        if isinstance(module, nn.Sequential):
            linear: tuple[str, nn.Linear] | None = None
            for child, layer in module.named_children():
                if isinstance(layer, nn.Linear):
                    if linear is not None:
                        yield HiddenUnits(f"{prefix}{linear[0]}", linear[1], layer)
                    linear = child, layer
                elif not isinstance(layer, ELEMENTWISE):
                    linear = None
        elif _is_mlp(module):
            yield HiddenUnits(f"{prefix}fc1", module.fc1, module.fc2)


def _is_mlp(module: nn.Module) -> bool:
    """Return whether it is one of timm's: two linear layers, and nothing but an activation between them."""
    first, second, norm = (getattr(module, name, None) for name in ("fc1", "fc2", "norm"))
    return (
        isinstance(first, nn.Linear)
        and isinstance(second, nn.Linear)
        and isinstance(norm, nn.Identity)
        and first.out_features == second.in_features
    )


def _heads(net: nn.Module) -> Iterator[Heads]:
    for name, module in net.named_modules():
        is_plain = (
            all(hasattr(module, each) for each in ("qkv", "proj", "num_heads", "head_dim", "attn_dim"))
            and isinstance(getattr(module, "norm", None), nn.Identity)
            and getattr(module, "gate", None) is None
        )
        if is_plain:
            yield Heads(name, module)


def _normed(scores_W: Tensor) -> Tensor:
    mean = float(scores_W.mean())
    return scores_W / mean if mean > 0 and math.isfinite(mean) else torch.ones_like(scores_W)
