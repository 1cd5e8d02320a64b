"""Structured pruning: whole channels leave, so that the net left is a smaller dense net that every runtime runs faster.

DepGraph (Fang et al. 2023, arXiv:2301.12900), by torch-pruning: layers whose channels hang together (a residual sum, a
depthwise convolution, a flatten before a dense layer) are cut together, channels of the smallest group L2 norm first.
What was cut is a list of names and indexes: `restructure` repeats it on a fresh net in another process, so that a
checkpoint of the pruned net can be loaded there, whatever its weights have become.
"""

import copy
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Generic, TypeVar

import torch
import torch_pruning
from torch import Tensor, nn

from models_store.errors import Invalid
from models_store.spec.pruning import StructuredPruning
from workers.training.learner import Learner

Net = TypeVar("Net", bound=nn.Module)
Cuts = list[list[Any]]
"""what was cut, in order: [name of the layer, of its outputs (True) or inputs (False), indexes of the channels]"""


class PruningImpossible(Invalid):
    """No channel of this net can be removed as asked."""

    code = "pruning_impossible"
    title = "The net can't be pruned as asked"


@dataclass(frozen=True)
class PruningFacts:
    """What the cut did. MACs are multiply-accumulate operations for one image; channels are those of all cut layers."""

    macs_before: int
    macs_after: int
    parameters_before: int
    parameters_after: int
    channels_before: int
    channels_removed: int

    def as_card(self) -> dict[str, int]:
        """Return what a variant's card says."""
        return asdict(self)


@dataclass(frozen=True)
class Pruned(Generic[Net]):
    """The smaller net, how to make its shape again, and what it saves."""

    classifier: Net
    cuts: Cuts
    facts: PruningFacts


def prune(classifier: Net, part: StructuredPruning, *, size: int, channels: int) -> Pruned[Net]:
    """Return a smaller copy of `classifier` (float (N, channels, size, size) → logits (N, K)); it stays as it is.

    Each group of layers loses `part.ratio` of its channels, and then as many as leave a multiple of `part.round_to`; a
    group that would be left with none stays whole. The classes, the outputs of the last linear layer, always stay. The
    copy is on the CPU, in evaluation mode, and every weight of it can be trained: a cut net recovers as a whole, also
    where its backbone was frozen. The same weights are cut the same way.

    Raises:
        PruningImpossible: if the net can't be traced, or nothing can be removed at this ratio and rounding.
    """
    net = _trainable_copy(classifier)
    example_NCHW = torch.zeros(1, channels, size, size)
    linear_layers = [module for module in net.modules() if isinstance(module, nn.Linear)]
    if not linear_layers:
        raise PruningImpossible("the net has no linear layer that gives its classes: what has to stay is not known")
    macs_before, parameters_before = _count(net, example_NCHW)
    widths = _widths(net)
    try:
        with torch.enable_grad():
            pruner = torch_pruning.pruner.BasePruner(
                net,
                example_NCHW,
                importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
                pruning_ratio=part.ratio,
                round_to=part.round_to,
                ignored_layers=linear_layers[-1:],
                in_channel_groups={},  # the library's defaults are shared by all calls, and keep every net alive
                out_channel_groups={},
                num_heads={},
            )
            pruner.step()
        macs_after, parameters_after = _count(net, example_NCHW)
    except Exception as error:  # the library fails on structures that it does not know in any way
        raise PruningImpossible(
            f"channels can't be removed from this net ({str(error)[:200] or type(error).__name__}); "
            "set `compression.prune` to null, or choose another backbone"
        ) from error
    widths_left = _widths(net)
    cut = [name for name, width in widths.items() if widths_left[name] < width]
    if not cut:
        raise PruningImpossible(
            f"at ratio {part.ratio:g}, rounded to multiples of {part.round_to}, no layer of this net can lose a "
            f"channel and keep one (the widest has {max(widths.values())}); raise `ratio` or change `round_to`"
        )
    facts = PruningFacts(
        macs_before=macs_before,
        macs_after=macs_after,
        parameters_before=parameters_before,
        parameters_after=parameters_after,
        channels_before=sum(widths[name] for name in cut),
        channels_removed=sum(widths[name] - widths_left[name] for name in cut),
    )
    return Pruned(net, _as_plain_lists(pruner.pruning_history()), facts)


def restructure(classifier: Net, cuts: Cuts, *, size: int, channels: int) -> Net:
    """Return a copy of `classifier`, a net of the parent's shape, with the shape that the cuts gave.

    Its weights are those of `classifier` at the places left; a state of the pruned net loads into it strictly. A
    learner comes back unfrozen, as from `prune`.
    """
    net = _trainable_copy(classifier)
    graph = torch_pruning.DependencyGraph()
    with torch.enable_grad():
        graph.build_dependency(net, example_inputs=torch.zeros(1, channels, size, size))
    graph.load_pruning_history(cuts)
    return net


def _trainable_copy(classifier: Net) -> Net:
    copied = copy.deepcopy(classifier).cpu().eval().requires_grad_(requires_grad=True)
    if isinstance(copied, Learner):
        copied.freeze("none")  # what is frozen is left out of the autograd graph, by which layers are found
    return copied


def _count(net: nn.Module, example_NCHW: Tensor) -> tuple[int, int]:
    macs, parameters = torch_pruning.utils.count_ops_and_params(net, example_NCHW)
    return int(macs), int(parameters)


def _widths(net: nn.Module) -> dict[str, int]:
    """Return the number of output channels of each layer with weights."""
    return {
        name: module.weight.shape[0]
        for name, module in net.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    }


def _as_plain_lists(history: Iterable[tuple[str, bool, Iterable[int]]]) -> Cuts:
    return [[name, bool(of_outputs), [int(index) for index in indexes]] for name, of_outputs, indexes in history]
