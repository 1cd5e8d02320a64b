"""What may be trained on: the network below the head, the weights it starts from, and what of it stays as it is."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from models_store.spec.part import Part

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)

Weights = Literal["imagenet"] | None
Freeze = Literal["none", "backbone"] | None

WEIGHTS: Any = Field(
    "imagenet", description="imagenet: start from published ImageNet-1k weights; null: start from scratch"
)
FREEZE: Any = Field(
    None,
    description="backbone: its weights stay as they are and the head trains on features computed once; none: everything trains; "
    "null: backbone with pretrained weights, none without",
)


class SmallCnn(Part):
    """Three 3x3 convolutions (32, 64, 128 channels; batch norm, ReLU, pooling) and a dense layer of 512: a net to train from scratch."""

    input_size: ClassVar[int] = 64
    mean: ClassVar[tuple[float, float, float]] = HALF
    std: ClassVar[tuple[float, float, float]] = HALF

    kind: Literal["small_cnn"] = "small_cnn"
    weights: None = Field(None, description="always null: there are no published weights")
    freeze: Literal["none"] = Field(
        "none", description="always none: without published weights there is nothing to keep"
    )


class ResNet18(Part):
    """ResNet-18 (He et al. 2015, arXiv:1512.03385), as torchvision builds it."""

    input_size: ClassVar[int] = 224
    mean: ClassVar[tuple[float, float, float]] = IMAGENET_MEAN
    std: ClassVar[tuple[float, float, float]] = IMAGENET_STD

    kind: Literal["resnet18"] = "resnet18"
    weights: Weights = WEIGHTS
    freeze: Freeze = FREEZE


class MobileNetV2(Part):
    """MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381), as torchvision builds it."""

    input_size: ClassVar[int] = 224
    mean: ClassVar[tuple[float, float, float]] = IMAGENET_MEAN
    std: ClassVar[tuple[float, float, float]] = IMAGENET_STD

    kind: Literal["mobilenet_v2"] = "mobilenet_v2"
    weights: Weights = WEIGHTS
    freeze: Freeze = FREEZE


class EfficientNetLite0(Part):
    """EfficientNet-Lite0 (Tan and Le 2019, arXiv:1905.11946; the Lite form of 2020), timm's `tf_efficientnet_lite0`."""

    input_size: ClassVar[int] = 224
    mean: ClassVar[tuple[float, float, float]] = HALF
    std: ClassVar[tuple[float, float, float]] = HALF

    kind: Literal["efficientnet_lite0"] = "efficientnet_lite0"
    weights: Weights = WEIGHTS
    freeze: Freeze = FREEZE


class Vgg16(Part):
    """VGG-16 (Simonyan and Zisserman 2014, arXiv:1409.1556), as torchvision builds it."""

    input_size: ClassVar[int] = 224
    mean: ClassVar[tuple[float, float, float]] = IMAGENET_MEAN
    std: ClassVar[tuple[float, float, float]] = IMAGENET_STD

    kind: Literal["vgg16"] = "vgg16"
    weights: Weights = WEIGHTS
    freeze: Freeze = FREEZE


Backbone = Annotated[SmallCnn | ResNet18 | MobileNetV2 | EfficientNetLite0 | Vgg16, Field(discriminator="kind")]
