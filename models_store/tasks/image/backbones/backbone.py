"""Backbones of images: the network below the head, its initial weights, and the layers that stay frozen."""

from typing import Annotated, get_args

from pydantic import Field

from models_store.tasks.image.backbones.own import CifarResNet18, SmallCnn
from models_store.tasks.image.backbones.timm_nets import EfficientNetLite0, EfficientNetLite2, Timm
from models_store.tasks.image.backbones.torchvision_nets import (
    ConvNextSmall,
    ConvNextTiny,
    DenseNet121,
    EfficientNetB0,
    EfficientNetB1,
    EfficientNetB2,
    EfficientNetB3,
    EfficientNetB4,
    EfficientNetV2S,
    MnasNet,
    MobileNetV2,
    MobileNetV3Large,
    MobileNetV3Small,
    RegNetY400Mf,
    RegNetY1600Mf,
    ResNet18,
    ResNet34,
    ResNet50,
    ShuffleNetV2,
    SqueezeNet,
    SwinT,
    Vgg11,
    Vgg11Bn,
    Vgg16,
    Vgg16Bn,
    VitB16,
    WideResNet50,
)

TorchvisionNet = (
    ResNet18
    | ResNet34
    | ResNet50
    | WideResNet50
    | Vgg11
    | Vgg11Bn
    | Vgg16
    | Vgg16Bn
    | MobileNetV2
    | MobileNetV3Small
    | MobileNetV3Large
    | EfficientNetB0
    | EfficientNetB1
    | EfficientNetB2
    | EfficientNetB3
    | EfficientNetB4
    | EfficientNetV2S
    | ConvNextTiny
    | ConvNextSmall
    | VitB16
    | SwinT
    | RegNetY400Mf
    | RegNetY1600Mf
    | DenseNet121
    | ShuffleNetV2
    | SqueezeNet
    | MnasNet
)

Backbone = Annotated[
    SmallCnn | CifarResNet18 | TorchvisionNet | EfficientNetLite0 | EfficientNetLite2 | Timm,
    Field(discriminator="kind"),
]

KINDS: tuple[str, ...] = tuple(
    kind for part in get_args(get_args(Backbone)[0]) for kind in get_args(part.model_fields["kind"].annotation)
)
"""Every value that `backbone.kind` takes."""
