"""Weights of a net from a file: read, compared with the net's own tensors, and copied into them."""

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from models_store.errors import Invalid

OURS = "backbone."
MOST_FAULTS_SHOWN = 3

State = Mapping[str, Tensor]
Adapt = Callable[[Tensor, Tensor], Tensor]
"""a weight, and the net's own in its place → the weight in that shape, where a task can bring it there"""


class WeightsUnfit(Invalid):
    """A file of weights does not fit the net it is meant for."""

    code = "weights_unfit"
    title = "These weights don't fit the backbone"


def as_it_is(weight: Tensor, wanted: Tensor) -> Tensor:  # noqa: ARG001  nothing can be adapted
    """Return the weight."""
    return weight


def start_from(net: nn.Module, path: Path, *, classifier: str | None, shown_name: str, adapt: Adapt = as_it_is) -> None:
    """Fill `net`, a backbone, with weights of the user's: a model of ours, whatever its head, or another file.

    A file of ours names its tensors `backbone.…` and `head.…`; another one may have those of the backbone's classifier
    besides. `shown_name` is what the spec calls it.

    Raises:
        WeightsUnfit: if the tensors are not the backbone's; says the first differences.
    """
    state = read(path, shown_name)
    if any(key.startswith(OURS) for key in state):
        own = {key.removeprefix(OURS): value for key, value in state.items() if key.startswith(OURS)}
    else:
        own = {key: value for key, value in state.items() if not (classifier and key.startswith(classifier))}
    fit(net, own, shown_name, adapt=adapt)


def fill(net: nn.Module, path: Path, *, shown_name: str) -> None:
    """Fill a whole net with its own weights, written by it before.

    Raises:
        WeightsUnfit: if the tensors are not the net's.
    """
    fit(net, read(path, shown_name), shown_name)


def read(path: Path, shown_name: str | None = None) -> State:
    """Return the file's tensors.

    `shown_name` is what its owner calls it, who knows nothing of the worker's folders.

    Raises:
        WeightsUnfit: if it can't be read.
    """
    try:
        if path.suffix != ".pth":
            return load_file(path)
        state: State = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, OSError, EOFError) as error:
        name = shown_name or path.name
        reason = str(error).replace(str(path), name)
        raise WeightsUnfit(f"{name} can't be read as a file of weights ({reason}); replace or remove it") from error
    return state


def fit(net: nn.Module, state: State, source: str, *, adapt: Adapt = as_it_is) -> None:
    """Copy tensors into a net that has the same, in name and shape.

    Raises:
        WeightsUnfit: if it hasn't, or a value is no number; says the first differences.
    """
    own = net.state_dict()
    adapted = {key: adapt(value, own[key]) if key in own else value for key, value in state.items()}
    faults = [
        f"lacks {key!r} {tuple(value.shape)}"
        for key, value in own.items()
        if key not in adapted and not key.endswith("num_batches_tracked")
    ]
    faults += [f"has {key!r}, which the backbone has not" for key in adapted if key not in own]
    faults += [
        f"has {key!r} as {tuple(adapted[key].shape)}, and the backbone needs {tuple(value.shape)}"
        for key, value in own.items()
        if key in adapted and adapted[key].shape != value.shape
    ]
    faults = faults or [
        f"has values in {key!r} that are no numbers"
        for key, value in adapted.items()
        if not value.float().isfinite().all()
    ]
    if faults:
        others = f" (and {len(faults) - MOST_FAULTS_SHOWN} more)" if len(faults) > MOST_FAULTS_SHOWN else ""
        reported = ", ".join(faults[:MOST_FAULTS_SHOWN])
        raise WeightsUnfit(f"{source} {reported}{others}; what is needed are weights of this very net")
    net.load_state_dict(own | adapted)  # copies into the net's own tensors, so half precision is cast up
