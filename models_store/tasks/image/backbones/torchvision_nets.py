"""Backbones as torchvision builds them, with its published ImageNet-1k weights. Each `kind` is torchvision's own name."""

from typing import ClassVar, Literal

from models_store.tasks.image.backbones.network import Design, Pretrained

LAYERS = ("stem", "layer1", "layer2", "layer3", "layer4")
VGG = ("stage1", "stage2", "stage3", "stage4", "stage5", "dense")
INVERTED = ("stem", "stage1", "stage2", "stage3", "stage4", "stage5", "top")
EFFICIENT = ("stem", "stage1", "stage2", "stage3", "stage4", "stage5", "stage6", "stage7", "top")
FOUR = ("stem", "stage1", "stage2", "stage3", "stage4")


class ResNet18(Pretrained):
    """ResNet-18 (He et al. 2015, arXiv:1512.03385), torchvision's."""

    design: ClassVar = Design(stages=LAYERS)

    kind: Literal["resnet18"] = "resnet18"


class ResNet34(Pretrained):
    """ResNet-34 (He et al. 2015, arXiv:1512.03385), torchvision's."""

    design: ClassVar = Design(stages=LAYERS)

    kind: Literal["resnet34"] = "resnet34"


class ResNet50(Pretrained):
    """ResNet-50 (He et al. 2015, arXiv:1512.03385), torchvision's."""

    design: ClassVar = Design(stages=LAYERS)

    kind: Literal["resnet50"] = "resnet50"


class WideResNet50(Pretrained):
    """Wide ResNet-50-2 (Zagoruyko and Komodakis 2016, arXiv:1605.07146), torchvision's."""

    design: ClassVar = Design(stages=LAYERS)

    kind: Literal["wide_resnet50_2"] = "wide_resnet50_2"


class Vgg11(Pretrained):
    """VGG-11 (Simonyan and Zisserman 2014, arXiv:1409.1556) with its two dense layers of 4096 and their dropout, torchvision's."""

    design: ClassVar = Design(stages=VGG, smallest_size=32)

    kind: Literal["vgg11"] = "vgg11"


class Vgg11Bn(Pretrained):
    """VGG-11 (arXiv:1409.1556) with batch norm (Ioffe and Szegedy 2015, arXiv:1502.03167), torchvision's."""

    design: ClassVar = Design(stages=VGG, smallest_size=32)

    kind: Literal["vgg11_bn"] = "vgg11_bn"


class Vgg16(Pretrained):
    """VGG-16 (Simonyan and Zisserman 2014, arXiv:1409.1556) with its two dense layers of 4096 and their dropout, torchvision's."""

    design: ClassVar = Design(stages=VGG, smallest_size=32)

    kind: Literal["vgg16"] = "vgg16"


class Vgg16Bn(Pretrained):
    """VGG-16 (arXiv:1409.1556) with batch norm (Ioffe and Szegedy 2015, arXiv:1502.03167), torchvision's."""

    design: ClassVar = Design(stages=VGG, smallest_size=32)

    kind: Literal["vgg16_bn"] = "vgg16_bn"


class MobileNetV2(Pretrained):
    """MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381), torchvision's."""

    design: ClassVar = Design(stages=INVERTED)

    kind: Literal["mobilenet_v2"] = "mobilenet_v2"


class MobileNetV3Small(Pretrained):
    """MobileNetV3-Small (Howard et al. 2019, arXiv:1905.02244) with its dense layer of 1024, torchvision's."""

    design: ClassVar = Design(stages=("stem", "stage1", "stage2", "stage3", "stage4", "top"))

    kind: Literal["mobilenet_v3_small"] = "mobilenet_v3_small"


class MobileNetV3Large(Pretrained):
    """MobileNetV3-Large (Howard et al. 2019, arXiv:1905.02244) with its dense layer of 1280, torchvision's."""

    design: ClassVar = Design(stages=INVERTED)

    kind: Literal["mobilenet_v3_large"] = "mobilenet_v3_large"


class EfficientNetB0(Pretrained):
    """EfficientNet-B0 (Tan and Le 2019, arXiv:1905.11946), torchvision's."""

    design: ClassVar = Design(stages=EFFICIENT, has_drop_path=True)

    kind: Literal["efficientnet_b0"] = "efficientnet_b0"


class EfficientNetB1(Pretrained):
    """EfficientNet-B1 (Tan and Le 2019, arXiv:1905.11946), torchvision's."""

    design: ClassVar = Design(stages=EFFICIENT, input_size=240, has_drop_path=True)

    kind: Literal["efficientnet_b1"] = "efficientnet_b1"


class EfficientNetB2(Pretrained):
    """EfficientNet-B2 (Tan and Le 2019, arXiv:1905.11946), torchvision's."""

    design: ClassVar = Design(stages=EFFICIENT, input_size=288, has_drop_path=True)

    kind: Literal["efficientnet_b2"] = "efficientnet_b2"


class EfficientNetB3(Pretrained):
    """EfficientNet-B3 (Tan and Le 2019, arXiv:1905.11946), torchvision's."""

    design: ClassVar = Design(stages=EFFICIENT, input_size=300, has_drop_path=True)

    kind: Literal["efficientnet_b3"] = "efficientnet_b3"


class EfficientNetB4(Pretrained):
    """EfficientNet-B4 (Tan and Le 2019, arXiv:1905.11946), torchvision's."""

    design: ClassVar = Design(stages=EFFICIENT, input_size=380, has_drop_path=True)

    kind: Literal["efficientnet_b4"] = "efficientnet_b4"


class EfficientNetV2S(Pretrained):
    """EfficientNetV2-S (Tan and Le 2021, arXiv:2104.00298), torchvision's."""

    design: ClassVar = Design(
        stages=("stem", "stage1", "stage2", "stage3", "stage4", "stage5", "stage6", "top"),
        input_size=384,
        has_drop_path=True,
    )

    kind: Literal["efficientnet_v2_s"] = "efficientnet_v2_s"


class ConvNextTiny(Pretrained):
    """ConvNeXt-T (Liu et al. 2022, arXiv:2201.03545), torchvision's."""

    design: ClassVar = Design(stages=FOUR, smallest_size=32, has_drop_path=True)

    kind: Literal["convnext_tiny"] = "convnext_tiny"


class ConvNextSmall(Pretrained):
    """ConvNeXt-S (Liu et al. 2022, arXiv:2201.03545), torchvision's."""

    design: ClassVar = Design(stages=FOUR, smallest_size=32, has_drop_path=True)

    kind: Literal["convnext_small"] = "convnext_small"


class VitB16(Pretrained):
    """ViT-B/16 (Dosovitskiy et al. 2020, arXiv:2010.11929), torchvision's; positions are interpolated to other sizes."""

    design: ClassVar = Design(
        stages=("stem", *(f"block{number}" for number in range(1, 13))), smallest_size=32, size_step=16
    )

    kind: Literal["vit_b_16"] = "vit_b_16"


class SwinT(Pretrained):
    """Swin-T (Liu et al. 2021, arXiv:2103.14030), torchvision's."""

    design: ClassVar = Design(stages=FOUR, has_drop_path=True)

    kind: Literal["swin_t"] = "swin_t"


class RegNetY400Mf(Pretrained):
    """RegNetY-400MF (Radosavovic et al. 2020, arXiv:2003.13678), torchvision's."""

    design: ClassVar = Design(stages=FOUR)

    kind: Literal["regnet_y_400mf"] = "regnet_y_400mf"


class RegNetY1600Mf(Pretrained):
    """RegNetY-1.6GF (Radosavovic et al. 2020, arXiv:2003.13678), torchvision's."""

    design: ClassVar = Design(stages=FOUR)

    kind: Literal["regnet_y_1_6gf"] = "regnet_y_1_6gf"


class DenseNet121(Pretrained):
    """DenseNet-121 (Huang et al. 2016, arXiv:1608.06993), torchvision's."""

    design: ClassVar = Design(stages=FOUR, smallest_size=32)

    kind: Literal["densenet121"] = "densenet121"


class ShuffleNetV2(Pretrained):
    """ShuffleNetV2 1.0x (Ma et al. 2018, arXiv:1807.11164), torchvision's."""

    design: ClassVar = Design(stages=("stem", "stage2", "stage3", "stage4", "top"))

    kind: Literal["shufflenet_v2_x1_0"] = "shufflenet_v2_x1_0"


class SqueezeNet(Pretrained):
    """SqueezeNet 1.1 (Iandola et al. 2016, arXiv:1602.07360), torchvision's; its features are the mean of the last stage's maps."""

    design: ClassVar = Design(stages=("stem", "stage1", "stage2", "stage3"), smallest_size=17)

    kind: Literal["squeezenet1_1"] = "squeezenet1_1"


class MnasNet(Pretrained):
    """MnasNet-B1 1.0 (Tan et al. 2018, arXiv:1807.11626), torchvision's."""

    design: ClassVar = Design(stages=("stem", "stage1", "stage2", "stage3", "stage4", "stage5", "stage6", "top"))

    kind: Literal["mnasnet1_0"] = "mnasnet1_0"
