"""Multiplications of every backbone, counted with hooks on its convolutions and linear layers. Its speed depends on them."""

from collections.abc import Mapping
from typing import Any

SIDE = 224
GIGA_MACS = {
    "resnet18": 1.81,
    "resnet34": 3.66,
    "resnet50": 4.09,
    "wide_resnet50_2": 11.4,
    "vgg11": 7.61,
    "vgg11_bn": 7.61,
    "vgg16": 15.5,
    "vgg16_bn": 15.5,
    "mobilenet_v2": 0.299,
    "mobilenet_v3_small": 0.0555,
    "mobilenet_v3_large": 0.215,
    "efficientnet_b0": 0.385,
    "efficientnet_b1": 0.597,
    "efficientnet_b2": 0.657,
    "efficientnet_b3": 1.02,
    "efficientnet_b4": 1.53,
    "efficientnet_v2_s": 2.85,
    "convnext_tiny": 4.45,
    "convnext_small": 8.68,
    "vit_b_16": 11.3,
    "swin_t": 2.96,
    "regnet_y_400mf": 0.401,
    "regnet_y_1_6gf": 1.61,
    "densenet121": 2.83,
    "shufflenet_v2_x1_0": 0.144,
    "squeezenet1_1": 0.263,
    "mnasnet1_0": 0.313,
    "efficientnet_lite0": 0.384,
    "efficientnet_lite2": 0.637,
    "timm:mobilenetv4_conv_small": 0.185,
    "timm:mobilenetv4_conv_medium": 0.826,
    "timm:resnet26d": 2.58,
    "timm:resnet50d": 4.33,
    "timm:tf_efficientnetv2_b0": 0.717,
    "timm:convnext_atto": 0.547,
    "timm:convnext_femto": 0.779,
    "timm:convnext_nano": 2.44,
    "timm:vit_tiny_patch16_224": 1.07,
    "timm:vit_small_patch16_224": 4.24,
    "timm:deit_tiny_patch16_224": 1.07,
    "timm:ghostnet_100": 0.14,
    "timm:repvgg_a0": 1.51,
    "timm:tinynet_a": 0.457,
    "timm:edgenext_xx_small": 0.195,
    "timm:lcnet_100": 0.154,
    "timm:fbnetc_100": 0.383,
    "timm:regnetx_002": 0.199,
    "timm:ese_vovnet19b_dw": 1.33,
}
"""kind → thousand millions of multiply-accumulate operations for one image of `SIDE` by `SIDE` pixels"""
OTHERWISE = 1.0


def giga_macs(backbone: Mapping[str, Any], size: int) -> float:
    """Return the multiplications of a resolved spec's backbone (a document) for one image of a side in pixels."""
    kind = str(backbone["kind"])
    if kind == "small_cnn":
        return _small_cnn(backbone, size)
    if kind == "cifar_resnet18":
        return 0.556 * float(size / 32) ** 2 * float(backbone["width"] / 64) ** 2
    return GIGA_MACS.get(kind, OTHERWISE) * (size / SIDE) ** 2


def _small_cnn(backbone: Mapping[str, Any], size: int) -> float:
    total, channels, side = 0, 3, size
    for width in backbone["widths"]:
        taps = side**2 * backbone["kernel_size"] ** 2
        total += taps * channels * width + (backbone["depth"] - 1) * taps * width**2
        channels, side = width, side // 2
    side = max(1, min(side, 7))  # a larger map is averaged before the dense layer
    total += channels * side**2 * (backbone["dense_size"] or 0)
    return float(total) / 1e9
