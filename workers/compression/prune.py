"""Structured pruning: whole channels leave, so that the net left is a smaller dense net that every runtime runs faster.

    bundles     what of a net can leave together (DepGraph, or the inner widths of a transformer)
    importance  what is worth keeping
    widths      how much leaves of each bundle
    prune       does it: `study` the net, choose widths, `remove` what is worth least

What was cut is a list of names and indexes: `restructure` repeats it on a fresh net in another process, so that a
checkpoint of the pruned net can be loaded there, whatever its weights have become.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
import torch_pruning
from torch import nn

from models_store.errors import Invalid
from models_store.spec.pruning import StructuredPruning
from models_store.wording import inflected
from workers.compression import bundles, importance, widths
from workers.compression.facts import PruningFacts
from workers.compression.importance import Backward
from workers.compression.widths import Studied, Widths
from workers.training.learner import Learner, Prepared

Net = TypeVar("Net", bound=nn.Module)
Cut = dict[str, list[int]]
"""what leaves at once: bundle → its units, by their numbers in the net before this cut"""
Cuts = list[Cut]
"""what was cut, one after the other"""
Choose = Callable[[Sequence[Studied]], Widths]
"""the bundles as they were found → how many units of each stay"""


INSTEAD = (
    "choose another backbone (a ResNet, MobileNet or EfficientNet can be cut), remove single weights "
    "(`unstructured_l1`), or set `compression.prune` to null and quantise alone"
)
"""what to do about a net of which no channels can be removed"""
NAMED = 3  # layers in an error


class PruningImpossible(Invalid):
    """Nothing of this net can be removed as asked."""

    code = "pruning_impossible"
    title = "The net can't be pruned as asked"


@dataclass(frozen=True)
class Pruned(Generic[Net]):
    """The smaller net, how to make its shape again, and what it saves."""

    net: Net
    cuts: Cuts
    facts: PruningFacts


def prune(
    parent: Net,
    part: StructuredPruning,
    *,
    example: Prepared,
    seed: int = 0,
    backward: Backward | None = None,
    choose: Choose | None = None,
) -> Pruned[Net]:
    """Return a smaller copy of `parent` (prepared inputs → logits (N, K)); it stays as it is.

    `example` are prepared inputs of one example, by which the net is traced.

    Left out, `choose` is what `part.ratio` says (see `widths.ladder`). The classes, the outputs of the last linear
    layer, always stay, and so does something of every layer. The copy is on the CPU, in evaluation mode, and every
    weight of it can be trained: a cut net recovers as a whole, also where its backbone was frozen. The same weights and
    `seed` are cut the same way. `backward` is needed where gradients rank (taylor).

    Raises:
        PruningImpossible: if a weight is not finite, the net can't be traced, or nothing can be removed as asked.
    """
    found = study(parent, part, example=example, seed=seed, backward=backward)
    chosen = (choose or at_ratio(part))(found)
    cut = leaving(found, chosen)
    if not cut:
        raise nothing_leaves(found, part)
    net = remove(parent, cut, example=example)
    return Pruned(net, [cut], compare(parent, net, example=example))


def study(
    parent: nn.Module,
    part: StructuredPruning,
    *,
    example: Prepared,
    seed: int = 0,
    backward: Backward | None = None,
) -> list[Studied]:
    """Return the bundles of the net that `part` can rank, in the net's order, with what each unit is worth.

    Raises:
        PruningImpossible: as `prune`.
    """
    _refuse_what_can_not_be_ranked(parent, part)
    net = _trainable_copy(parent)
    with explaining_errors():
        found = bundles.find(net, example)
        if part.importance == "taylor":
            assert backward is not None, "gradients come of a loss"
            with torch.enable_grad():
                backward(net)
            importance.fill_in_gradients(net)
        groups, layers = importance.of_groups(part, seed=seed), importance.of_linear_layers(part, seed=seed)
        scored = [(bundle, bundle.scores_W(groups, layers)) for bundle in found]
    studied = [
        Studied(bundle.name, bundle.channels, tuple(scores_W.nan_to_num().tolist()))
        for bundle, scores_W in scored
        if scores_W is not None
    ]
    if not studied:
        raise PruningImpossible(
            "the net has no channels, hidden units or heads that could leave: it has no convolution, and no linear "
            "layers one after the other; set `compression.prune` to null, or choose another backbone"
        )
    return studied


def at_ratio(part: StructuredPruning, *, share: float = 1.0, whole: Mapping[str, int] | None = None) -> Choose:
    """Return what chooses the widths for a share of the part's ratio; `whole` are the widths before any cut."""
    assert part.ratio is not None, "a speedup's widths are found by measuring"
    ratio = share * part.ratio

    def choose(found: Sequence[Studied]) -> Widths:
        of = whole or {each.name: each.width for each in found}
        rungs = widths.ladder(found, part, whole=of)
        return widths.after(rungs[: widths.count_at(rungs, found, part, ratio, whole=of)], found)

    return choose


def leaving(found: Sequence[Studied], chosen: Mapping[str, int]) -> Cut:
    """Return the units that leave for the chosen widths, those of least worth."""
    return {each.name: each.leaving(chosen[each.name]) for each in found if chosen[each.name] < each.width}


def nothing_leaves(found: Sequence[Studied], part: StructuredPruning) -> PruningImpossible:
    """Return what to say of a net of which no layer can be narrower as asked."""
    widest = max(each.width * each.channels for each in found)
    asked = f"rounded to multiples of {part.round_to}"
    if part.ratio is not None:
        asked = f"at ratio {part.ratio:g}, {asked}"
    return PruningImpossible(
        f"{asked}, no layer of this net can lose a channel and keep one (the widest has {widest}); raise `ratio` or "
        "change `round_to`"
    )


def remove(parent: Net, cut: Cut, *, example: Prepared) -> Net:
    """Return a copy of the net, as `prune` has it, without the units of the cut.

    Raises:
        PruningImpossible: if the net can't be traced, a layer has nothing left, or it does not run without them.
    """
    net = _trainable_copy(parent)
    with explaining_errors():
        for bundle in bundles.find(net, example):
            if cut.get(bundle.name):
                bundle.remove(cut[bundle.name])
                _refuse_empty_layers(net)
        net.zero_grad(set_to_none=True)
        with torch.no_grad():
            net(example)
    return net


def restructure(parent: Net, cuts: Cuts, *, example: Prepared) -> Net:
    """Return a copy of `parent`, or of a net of its shape, with the shape that the cuts gave.

    Its weights are those of `parent` at the places left; a state of the pruned net loads into it strictly. A
    learner comes back unfrozen, as from `prune`.
    """
    net = parent
    for cut in cuts:
        net = remove(net, cut, example=example)
    return net


def compare(parent: nn.Module, pruned: nn.Module, *, example: Prepared) -> PruningFacts:
    """Return what `pruned` saves against the net that it was cut from, in one cut or in several."""
    with explaining_errors():
        (macs_before, parameters_before), (macs_after, parameters_after) = (
            _count(net, example) for net in (parent, pruned)
        )
    before, after = _widths(parent), _widths(pruned)
    cut = [name for name, width in before.items() if after[name] < width]
    return PruningFacts(
        macs_before=macs_before,
        macs_after=macs_after,
        parameters_before=parameters_before,
        parameters_after=parameters_after,
        channels_before=sum(before[name] for name in cut),
        channels_removed=sum(before[name] - after[name] for name in cut),
    )


def _refuse_what_can_not_be_ranked(net: nn.Module, part: StructuredPruning) -> None:
    broken = [name for name, tensor in net.state_dict().items() if not torch.isfinite(tensor).all()]
    if broken:
        raise PruningImpossible(
            f"{len(broken)} of the net's tensors {inflected(len(broken), 'holds', 'hold')} values that are not finite "
            f"({broken[0]} is the first): such a net can't be ranked; train it again, "
            "with a lower `optimizer.lr` or with `training.clip_grad_norm`"
        )
    if not any(isinstance(module, nn.Linear) for module in net.modules()):
        raise PruningImpossible(
            "the net has no linear layer that gives its classes, so the channels that must stay are unknown"
        )
    if part.importance == "bn_scale" and (bundles.attends(net) or not importance.normalises(net)):
        raise PruningImpossible(
            "`bn_scale` ranks channels by the scales of their batch norm, and those of this net have none; "
            "choose another `importance`: l2, l1, taylor or random"
        )


@contextmanager
def explaining_errors() -> Iterator[None]:
    """Turn what the libraries say of a net that they can't cut, or that does not run after it, into our error.

    What they say is of their own insides, and kept as the error's cause.
    """
    try:
        yield
    except Invalid:
        raise  # ours already
    except Exception as error:  # the library fails on structures that it does not know in any way
        raise PruningImpossible(
            "channels can't be removed from this net: the dependencies between its layers can't be traced, or it "
            f"does not run without them, as when channels are split and shuffled or their number is fixed; {INSTEAD}"
        ) from error


def _refuse_empty_layers(net: nn.Module) -> None:
    """Refuse a cut after which a layer has nothing left.

    Raises:
        PruningImpossible: naming the first such layers.
    """
    empty = [name for name, module in net.named_modules() if 0 in getattr(getattr(module, "weight", None), "shape", ())]
    if empty:
        listed = ", ".join(repr(name) for name in empty[:NAMED]) + (" …" if len(empty) > NAMED else "")
        raise PruningImpossible(
            f"channels can't be removed from this net as asked: {len(empty)} of its layers would have none left "
            f"({listed}), because channels that depend on them are removed more than once; lower `ratio`, or {INSTEAD}"
        )


def _trainable_copy(net: Net) -> Net:
    copied = copy.deepcopy(net).cpu().eval().requires_grad_(requires_grad=True)
    if isinstance(copied, Learner):
        copied.freeze("none")  # what is frozen is left out of the autograd graph, by which layers are found
    return copied


def _count(net: nn.Module, example: Prepared) -> tuple[int, int]:
    macs, parameters = torch_pruning.utils.count_ops_and_params(_trainable_copy(net), example)
    return int(macs), int(parameters)


def _widths(net: nn.Module) -> dict[str, int]:
    """Return the number of output channels of each layer with weights."""
    return {
        name: module.weight.shape[0]
        for name, module in net.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    }
