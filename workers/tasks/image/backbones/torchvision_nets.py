"""Nets of torchvision without their classifiers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from models_store.tasks.image.backbones import torchvision_nets as spec
from models_store.tasks.image.backbones.network import Pretrained
from workers.tasks.image import weights
from workers.tasks.image.backbones.backbone import Backbone, build, named


@dataclass(frozen=True)
class Rest:
    """What is left of a net: how many features it gives, what its classifier was called, each stage's parameters."""

    feature_count: int
    classifier: str
    prefixes: Sequence[Sequence[str]]


def _resnet(net: Any) -> Rest:  # noqa: ANN401  torchvision's classes are imported when they are needed
    count = net.fc.in_features
    net.fc = nn.Identity()
    return Rest(count, "fc.", [("conv1", "bn1"), *((f"layer{number}",) for number in range(1, 5))])


def _vgg(net: Any) -> Rest:  # noqa: ANN401  as above
    net.classifier = net.classifier[:-1]  # its two dense layers of 4096 are part of what ImageNet taught it
    prefixes: list[list[str]] = [[]]
    for number, layer in enumerate(net.features):
        prefixes[-1].append(f"features.{number}")
        if isinstance(layer, nn.MaxPool2d):
            prefixes.append([])
    prefixes[-1].append("classifier")
    return Rest(4096, "classifier.6.", prefixes)


def _mobilenet_v2(net: Any) -> Rest:  # noqa: ANN401  as above
    count = net.last_channel
    net.classifier = nn.Identity()
    return Rest(count, "classifier.", _features([0], [1], [2, 3], [4, 5, 6], range(7, 14), range(14, 18), [18]))


def _mobilenet_v3(net: Any, *, stages: Sequence[Sequence[int]]) -> Rest:  # noqa: ANN401  as above
    count = net.classifier[0].out_features
    net.classifier = net.classifier[:2]  # its dense layer is part of what ImageNet taught it
    *earlier, top = _features(*stages)
    return Rest(count, "classifier.3.", [*earlier, [*top, "classifier"]])


def _efficientnet(net: Any) -> Rest:  # noqa: ANN401  as above
    count = net.classifier[-1].in_features
    net.classifier = nn.Identity()
    return Rest(count, "classifier.", _features(*([number] for number in range(len(net.features)))))


def _convnext(net: Any) -> Rest:  # noqa: ANN401  as above
    count = net.classifier[-1].in_features
    net.classifier = net.classifier[:-1]  # a norm before the linear layer
    *earlier, last = _features([0], [1], [2, 3], [4, 5], [6, 7])
    return Rest(count, "classifier.2.", [*earlier, [*last, "classifier"]])


def _vit(net: Any) -> Rest:  # noqa: ANN401  as above
    count = net.hidden_dim
    net.heads = nn.Identity()
    blocks = [[f"encoder.layers.{name}"] for name, _ in net.encoder.layers.named_children()]
    blocks[-1].append("encoder.ln")
    return Rest(count, "heads.", [("conv_proj", "class_token", "encoder.pos_embedding"), *blocks])


def _swin(net: Any) -> Rest:  # noqa: ANN401  as above
    count = net.head.in_features
    net.head = nn.Identity()
    *earlier, last = _features([0], [1], [2, 3], [4, 5], [6, 7])
    return Rest(count, "head.", [*earlier, [*last, "norm"]])


def _regnet(net: Any) -> Rest:  # noqa: ANN401  as above
    count = net.fc.in_features
    net.fc = nn.Identity()
    return Rest(count, "fc.", [("stem",), *((f"trunk_output.block{number}",) for number in range(1, 5))])


def _densenet(net: Any) -> Rest:  # noqa: ANN401  as above
    count = net.classifier.in_features
    net.classifier = nn.Identity()
    blocks = [[f"features.denseblock{number}", f"features.transition{number}"] for number in (1, 2, 3)]
    stem = ["features.conv0", "features.norm0"]
    return Rest(count, "classifier.", [stem, *blocks, ["features.denseblock4", "features.norm5"]])


def _shufflenet(net: Any) -> Rest:  # noqa: ANN401  as above
    count = net.fc.in_features
    net.fc = nn.Identity()
    return Rest(count, "fc.", [("conv1",), ("stage2",), ("stage3",), ("stage4",), ("conv5",)])


def _squeezenet(net: Any) -> Rest:  # noqa: ANN401  as above
    net.classifier = nn.AdaptiveAvgPool2d(1)  # its classifier is a convolution
    return Rest(512, "classifier.", _features([0], [3, 4], [6, 7], [9, 10, 11, 12]))


def _mnasnet(net: Any) -> Rest:  # noqa: ANN401  as above
    count = net.classifier[-1].in_features
    net.classifier = nn.Identity()
    # its own reading asks which of two versions of torchvision wrote the tensors, and they differ at other widths alone
    net._load_from_state_dict = partial(nn.Module._load_from_state_dict, net)  # noqa: SLF001  the method is torch's hook
    groups = [range(8), *([number] for number in range(8, 14)), [14, 15]]
    return Rest(count, "classifier.", [[f"layers.{number}" for number in group] for group in groups])


def _features(*groups: Sequence[int]) -> list[list[str]]:
    return [[f"features.{number}" for number in group] for group in groups]


NETS: dict[type[Pretrained], Callable[[Any], Rest]] = {
    spec.ResNet18: _resnet,
    spec.ResNet34: _resnet,
    spec.ResNet50: _resnet,
    spec.WideResNet50: _resnet,
    spec.Vgg11: _vgg,
    spec.Vgg11Bn: _vgg,
    spec.Vgg16: _vgg,
    spec.Vgg16Bn: _vgg,
    spec.MobileNetV2: _mobilenet_v2,
    spec.MobileNetV3Small: partial(_mobilenet_v3, stages=[[0], [1], [2, 3], range(4, 9), range(9, 12), [12]]),
    spec.MobileNetV3Large: partial(
        _mobilenet_v3, stages=[[0], [1], [2, 3], range(4, 7), range(7, 13), range(13, 16), [16]]
    ),
    spec.EfficientNetB0: _efficientnet,
    spec.EfficientNetB1: _efficientnet,
    spec.EfficientNetB2: _efficientnet,
    spec.EfficientNetB3: _efficientnet,
    spec.EfficientNetB4: _efficientnet,
    spec.EfficientNetV2S: _efficientnet,
    spec.ConvNextTiny: _convnext,
    spec.ConvNextSmall: _convnext,
    spec.VitB16: _vit,
    spec.SwinT: _swin,
    spec.RegNetY400Mf: _regnet,
    spec.RegNetY1600Mf: _regnet,
    spec.DenseNet121: _densenet,
    spec.ShuffleNetV2: _shufflenet,
    spec.SqueezeNet: _squeezenet,
    spec.MnasNet: _mnasnet,
}


def _build(part: Pretrained, *, size: int, channels: int, weights_dir: Path, drop_path: float = 0.0) -> Backbone:
    from torchvision import models  # noqa: PLC0415  it takes seconds to import

    options = {"image_size": size} if part.size_step > 1 else {}  # a vision transformer has a position for each patch
    net = models.get_model(part.kind, weights=None, **options)
    rest = NETS[type(part)](net)
    _take_channels(net, channels)
    _drop_paths(net, drop_path)
    if part.weights == "imagenet":
        published = weights.Published(url=models.get_model_weights(part.kind).DEFAULT.url)
        weights.load(net, part.kind, folder=weights_dir, published=published, classifier=rest.classifier)
    return Backbone(net, rest.feature_count, named(part.stages, rest.prefixes), rest.classifier)


def _take_channels(net: nn.Module, channels: int) -> None:
    """Put a convolution of as many input channels in the place of the first one."""
    name, first = next((name, module) for name, module in net.named_modules() if isinstance(module, nn.Conv2d))
    if channels == first.in_channels:
        return
    wanted = nn.Conv2d(
        channels,
        first.out_channels,
        first.kernel_size,  # type: ignore[arg-type]  # torch keeps what it took as a pair
        stride=first.stride,  # type: ignore[arg-type]  # as above
        padding=first.padding,  # type: ignore[arg-type]  # as above
        bias=first.bias is not None,
    )
    parent, _, child = name.rpartition(".")
    setattr(net.get_submodule(parent), child, wanted)


def _drop_paths(net: nn.Module, probability: float) -> None:
    """Let the last residual branch be left out so often, and those before it less, linearly down to the first."""
    from torchvision.ops import StochasticDepth  # noqa: PLC0415  as above

    branches = [module for module in net.modules() if isinstance(module, StochasticDepth)]
    for number, branch in enumerate(branches):
        branch.p = probability * number / (len(branches) - 1)


for _part in NETS:
    build.register(_part, _build)
