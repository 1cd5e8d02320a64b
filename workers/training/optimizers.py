"""Optimizers: a part of the spec → a torch optimizer of parameter groups."""

from collections.abc import Callable
from functools import singledispatch
from typing import Any, Literal, Protocol, runtime_checkable

from torch import Tensor, nn, optim
from torch.nn.utils import parametrize

from models_store.spec.optimizer import (
    Adagrad,
    Adam,
    AdamW,
    Lamb,
    Lion,
    Muon,
    NAdam,
    RAdam,
    RmsProp,
    ScheduleFreeAdamW,
    Sgd,
)
from models_store.spec.part import Part

Groups = list[dict[str, Any]]
Role = Literal["hidden", "outer", "vector"]

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
ADAMW_EPSILON = 1e-8


@singledispatch
def build(part: Part, groups: Groups) -> optim.Optimizer:
    """Return the optimizer of what `groups` gave; fused where torch has it, else as torch finds best on the device."""
    raise NotImplementedError(f"no optimizer is built for {type(part).__name__} ({len(groups)} groups)")


@build.register
def _(part: Sgd, groups: Groups) -> optim.Optimizer:
    return optim.SGD(
        groups, lr=part.peak_lr, momentum=part.momentum, nesterov=part.nesterov and part.momentum > 0, fused=True
    )


@build.register
def _(part: Adam, groups: Groups) -> optim.Optimizer:
    return optim.Adam(groups, lr=part.peak_lr, betas=(part.beta1, part.beta2), fused=True)


@build.register
def _(part: AdamW, groups: Groups) -> optim.Optimizer:
    return optim.AdamW(groups, lr=part.peak_lr, betas=(part.beta1, part.beta2), fused=True)


@build.register
def _(part: NAdam, groups: Groups) -> optim.Optimizer:
    return optim.NAdam(
        groups,
        lr=part.peak_lr,
        betas=(part.beta1, part.beta2),
        momentum_decay=part.momentum_decay,
        decoupled_weight_decay=True,
    )


@build.register
def _(part: RAdam, groups: Groups) -> optim.Optimizer:
    return optim.RAdam(groups, lr=part.peak_lr, betas=(part.beta1, part.beta2), decoupled_weight_decay=True)


@build.register
def _(part: RmsProp, groups: Groups) -> optim.Optimizer:
    return optim.RMSprop(groups, lr=part.peak_lr, alpha=part.alpha, momentum=part.momentum, centered=part.centered)


@build.register
def _(part: Adagrad, groups: Groups) -> optim.Optimizer:
    return optim.Adagrad(groups, lr=part.peak_lr, lr_decay=part.lr_decay, fused=True)


@build.register
def _(part: Lion, groups: Groups) -> optim.Optimizer:
    import timm.optim  # noqa: PLC0415  it takes seconds to import

    lion: optim.Optimizer = timm.optim.Lion(groups, lr=part.peak_lr, betas=(part.beta1, part.beta2))
    return lion


@build.register
def _(part: Lamb, groups: Groups) -> optim.Optimizer:
    import timm.optim  # noqa: PLC0415  it takes seconds to import

    adapted = [group | {"always_adapt": group["role"] != "vector"} for group in groups]
    lamb: optim.Optimizer = timm.optim.Lamb(
        adapted,
        lr=part.peak_lr,
        betas=(part.beta1, part.beta2),
        max_grad_norm=None,  # the loop clips
    )
    return lamb


@build.register
def _(part: Muon, groups: Groups) -> optim.Optimizer:
    import timm.optim  # noqa: PLC0415  it takes seconds to import

    adamw = {"use_muon": False, "nesterov": False, "eps": ADAMW_EPSILON}  # with Nesterov, timm's would be NAdamW
    split = [group | ({"use_muon": True} if group["role"] == "hidden" else adamw) for group in groups]
    muon: optim.Optimizer = timm.optim.Muon(
        split,
        lr=part.peak_lr,
        momentum=part.momentum,
        nesterov=part.nesterov,
        ns_steps=part.ns_steps,
        ns_coefficients="original",
        adjust_lr_fn="match_rms_adamw",
        conv_mode="flatten",
        betas=(part.beta1, part.beta2),
    )
    return muon


@build.register
def _(part: ScheduleFreeAdamW, groups: Groups) -> optim.Optimizer:
    from schedulefree import AdamWScheduleFree  # noqa: PLC0415  beside timm: one optimizer's own library

    schedule_free: optim.Optimizer = AdamWScheduleFree(groups, lr=part.peak_lr, betas=(part.beta1, part.beta2))
    for_training(schedule_free)
    return schedule_free


def groups(
    net: nn.Module, *, weight_decay: float, decay_norms: bool = False, scale_of: Callable[[str], float] = lambda _: 1.0
) -> Groups:
    """Return the trained parameters in groups, each with its `weight_decay`, `lr_scale` and `role`.

    `scale_of` gives the multiple of the learning rate by a parameter's name in `net`; whoever sets a group's `lr`
    multiplies by `lr_scale`. Roles: *hidden*, the weights of dense layers and ungrouped convolutions between the first
    and the last, which Muon takes; *outer*, other matrices; *vector*, norms, biases and the like, which decay only
    with `decay_norms`. The order is that of the net's parameters, so that a saved state fits again.
    """
    hidden = _hidden(net)
    found: dict[tuple[Role, float], list[nn.Parameter]] = {}
    for name, parameter in net.named_parameters():
        if parameter.requires_grad:
            role: Role = "hidden" if parameter in hidden else "outer" if is_matrix(parameter) else "vector"
            found.setdefault((role, scale_of(name)), []).append(parameter)
    return [
        {
            "params": parameters,
            "weight_decay": weight_decay if role != "vector" or decay_norms else 0.0,
            "lr_scale": scale,
            "role": role,
        }
        for (role, scale), parameters in found.items()
    ]


def is_matrix(parameter: nn.Parameter) -> bool:
    """Return whether decay and penalties act on it: not on norms and biases, which have one dimension."""
    return parameter.ndim > 1


@runtime_checkable
class KeepsTwoWeights(Protocol):
    """An optimizer that takes gradients at other weights than those to evaluate, and moves the net between them."""

    def train(self) -> None:
        """Put the weights to take gradients at into the net."""

    def eval(self) -> None:
        """Put the weights to evaluate into the net."""


def for_training(optimizer: optim.Optimizer) -> None:
    """Put the weights to train on into the net; does nothing where there is but one set of weights, or it is there.

    Going to and fro rounds: do it only where the uninterrupted run does, never just to save. A saved state knows where
    the net's weights stand.
    """
    if isinstance(optimizer, KeepsTwoWeights):
        optimizer.train()


def for_evaluation(optimizer: optim.Optimizer) -> None:
    """Put the weights to evaluate and to keep into the net; does nothing where there is but one set of weights.

    With two (`isinstance(optimizer, KeepsTwoWeights)`), batch norm's running statistics are of the weights to train on,
    and have to be taken anew at these.
    """
    if isinstance(optimizer, KeepsTwoWeights):
        optimizer.eval()


def _hidden(net: nn.Module) -> set[Tensor]:
    layers = [module for module in net.modules() if isinstance(module, LAYERS)]
    # a head alone begins with what is hidden in the whole net
    first = 1 if layers and isinstance(layers[0], nn.Conv2d) else 0
    weights = {_trained(layer) for layer in layers[first:-1] if isinstance(layer, nn.Linear) or layer.groups == 1}
    attention = {module.in_proj_weight for module in net.modules() if isinstance(module, nn.MultiheadAttention)}
    return weights | attention


def _trained(layer: nn.Module) -> Tensor:
    """Return what trains of a layer's weight: itself, or what it is computed from."""
    is_computed = parametrize.is_parametrized(layer, "weight")
    return layer.get_parameter("parametrizations.weight.original" if is_computed else "weight")
