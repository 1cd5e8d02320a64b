"""Backbones as timm builds them (Wightman 2019, doi:10.5281/zenodo.4414861)."""

from typing import ClassVar, Literal, get_args

from models_store.tasks.image.backbones.network import HALF, Design, Pretrained

FOUR = ("stem", "stage1", "stage2", "stage3", "stage4")


def _blocks(count: int) -> tuple[str, ...]:
    return ("stem", *(f"stage{number}" for number in range(1, count + 1)), "top")


VIT = ("stem", *(f"block{number}" for number in range(1, 13)))


class EfficientNetLite0(Pretrained):
    """EfficientNet-Lite0 (Tan and Le 2019, arXiv:1905.11946; the Lite form of 2020), timm's `tf_efficientnet_lite0`."""

    design: ClassVar = Design(stages=_blocks(7), mean=HALF, std=HALF, has_drop_path=True)

    kind: Literal["efficientnet_lite0"] = "efficientnet_lite0"


class EfficientNetLite2(Pretrained):
    """EfficientNet-Lite2 (Tan and Le 2019, arXiv:1905.11946; the Lite form of 2020), timm's `tf_efficientnet_lite2`."""

    design: ClassVar = Design(stages=_blocks(7), input_size=260, mean=HALF, std=HALF, has_drop_path=True)

    kind: Literal["efficientnet_lite2"] = "efficientnet_lite2"


TimmName = Literal[
    "timm:mobilenetv4_conv_small",
    "timm:mobilenetv4_conv_medium",
    "timm:resnet26d",
    "timm:resnet50d",
    "timm:tf_efficientnetv2_b0",
    "timm:convnext_atto",
    "timm:convnext_femto",
    "timm:convnext_nano",
    "timm:vit_tiny_patch16_224",
    "timm:vit_small_patch16_224",
    "timm:deit_tiny_patch16_224",
    "timm:ghostnet_100",
    "timm:repvgg_a0",
    "timm:tinynet_a",
    "timm:edgenext_xx_small",
    "timm:lcnet_100",
    "timm:fbnetc_100",
    "timm:regnetx_002",
    "timm:ese_vovnet19b_dw",
]

TIMM: dict[TimmName, Design] = {
    "timm:mobilenetv4_conv_small": Design(_blocks(5), has_drop_path=True),
    "timm:mobilenetv4_conv_medium": Design(_blocks(5), input_size=256, has_drop_path=True),
    "timm:resnet26d": Design(("stem", "layer1", "layer2", "layer3", "layer4"), has_drop_path=True),
    "timm:resnet50d": Design(("stem", "layer1", "layer2", "layer3", "layer4"), has_drop_path=True),
    "timm:tf_efficientnetv2_b0": Design(_blocks(6), input_size=192, has_drop_path=True),
    "timm:convnext_atto": Design(FOUR, smallest_size=32, has_drop_path=True),
    "timm:convnext_femto": Design(FOUR, smallest_size=32, has_drop_path=True),
    "timm:convnext_nano": Design(FOUR, smallest_size=32, has_drop_path=True),
    "timm:vit_tiny_patch16_224": Design(VIT, smallest_size=32, size_step=16, mean=HALF, std=HALF, has_drop_path=True),
    "timm:vit_small_patch16_224": Design(VIT, smallest_size=32, size_step=16, mean=HALF, std=HALF, has_drop_path=True),
    "timm:deit_tiny_patch16_224": Design(VIT, smallest_size=32, size_step=16, has_drop_path=True),
    "timm:ghostnet_100": Design(_blocks(10)),
    "timm:repvgg_a0": Design(FOUR, has_drop_path=True),
    "timm:tinynet_a": Design(_blocks(7), input_size=192, has_drop_path=True),
    "timm:edgenext_xx_small": Design(FOUR, input_size=256, smallest_size=32, has_drop_path=True),
    "timm:lcnet_100": Design(_blocks(6)),
    "timm:fbnetc_100": Design(_blocks(7), has_drop_path=True),
    "timm:regnetx_002": Design(FOUR, has_drop_path=True),
    "timm:ese_vovnet19b_dw": Design(FOUR, smallest_size=32, has_drop_path=True),
}
assert tuple(TIMM) == get_args(TimmName), "each name has its design"


class Timm(Pretrained):
    """A net of timm's by its name there, one of those that export without errors; its page at timm names the paper and the weights' licence."""

    kind: TimmName = "timm:mobilenetv4_conv_small"

    def _design(self) -> Design:
        return TIMM[self.kind]
