"""Backbones of our own making."""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path

from torch import nn

from models_store.tasks.image.backbones.own import CifarResNet18, SmallCnn
from workers.tasks.image.backbones.backbone import Backbone, build, named

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": partial(nn.ReLU, inplace=True),  # a tenth of a small net's step on a CPU
    "leaky_relu": partial(nn.LeakyReLU, inplace=True),
    "silu": partial(nn.SiLU, inplace=True),
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
}
RESIDUAL_BLOCKS = (2, 2, 2, 2)


@build.register
def _(part: SmallCnn, *, size: int, channels: int, weights_dir: Path, drop_path: float = 0.0) -> Backbone:  # noqa: ARG001  no published weights, no branches
    stages: list[tuple[str, nn.Module]] = []
    width_in = channels
    for number, width in enumerate(part.widths, 1):
        stages.append((f"stage{number}", _stage(part, width_in, width)))
        width_in = width
    if part.dense_size is None:
        stages.append(("mean", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())))
    else:
        side = part.dense_side(size)
        shrink = part.map_side(size) // side
        pool = nn.AvgPool2d(shrink) if shrink > 1 else nn.Identity()  # a place in any case: tensors are named by it
        dense = nn.Linear(width_in * side * side, part.dense_size)
        stages.append(("dense", nn.Sequential(pool, nn.Flatten(), dense, ACTIVATIONS[part.activation]())))
    return Backbone(
        nn.Sequential(OrderedDict(stages)),
        feature_count=part.dense_size or width_in,
        stages=named(part.stages, [(name,) for name in part.stages]),
    )


def _stage(part: SmallCnn, width_in: int, width: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(part.depth):
        layers.append(
            nn.Conv2d(width_in, width, part.kernel_size, padding=part.kernel_size // 2, bias=not part.batch_norm)
        )
        if part.batch_norm:
            layers.append(nn.BatchNorm2d(width))
        layers.append(ACTIVATIONS[part.activation]())
        width_in = width
    return nn.Sequential(*layers, nn.MaxPool2d(2))


@build.register
def _(part: CifarResNet18, *, size: int, channels: int, weights_dir: Path, drop_path: float = 0.0) -> Backbone:  # noqa: ARG001  no published weights, and it pools whatever the size
    stem = nn.Sequential(
        nn.Conv2d(channels, part.width, 3, padding=1, bias=False), nn.BatchNorm2d(part.width), ACTIVATIONS["relu"]()
    )
    layers: list[tuple[str, nn.Module]] = [("stem", stem)]
    width_in, done = part.width, 0
    for number, count in enumerate(RESIDUAL_BLOCKS):
        width = part.width << number
        blocks = [
            _residual(
                width_in if first else width,
                width,
                stride=2 if first and number else 1,
                drop_path=drop_path * (done + position) / (sum(RESIDUAL_BLOCKS) - 1),
            )
            for position, first in enumerate([True] + [False] * (count - 1))
        ]
        layers.append((f"layer{number + 1}", nn.Sequential(*blocks)))
        width_in, done = width, done + count
    layers.append(("mean", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())))
    net = nn.Sequential(OrderedDict(layers))
    _initialise(net)
    return Backbone(net, feature_count=width_in, stages=named(part.stages, [(name,) for name in part.stages]))


def _residual(width_in: int, width: int, *, stride: int, drop_path: float) -> nn.Module:
    from timm.layers import DropPath  # noqa: PLC0415  timm takes seconds to import
    from timm.models.resnet import BasicBlock  # noqa: PLC0415  as above

    shortcut = None
    if stride != 1 or width_in != width:
        shortcut = nn.Sequential(nn.Conv2d(width_in, width, 1, stride=stride, bias=False), nn.BatchNorm2d(width))
    block: nn.Module = BasicBlock(
        width_in, width, stride=stride, downsample=shortcut, drop_path=DropPath(drop_path) if drop_path else None
    )
    return block


def _initialise(net: nn.Module) -> None:
    """Draw the convolutions as for ReLU (He et al. 2015, arXiv:1502.01852)."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
