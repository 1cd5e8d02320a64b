"""How the exported file may be written in fewer bits. Each kind makes one variant, named after it, of every net there is."""

from typing import Annotated, Literal

from pydantic import Field

from models_store.spec.part import Part

SEEN = "training images, drawn evenly over the classes with the spec's seed, on which activation ranges are read"


class StaticInt8(Part):
    """Static quantisation: signed 8-bit weights, unsigned 8-bit activations with ranges seen on real training images (QDQ; Jacob et al. 2017, arXiv:1712.05877). Variant `int8`."""

    kind: Literal["static_int8"] = "static_int8"
    calibration_images: int = Field(128, ge=1, le=10_000, description=SEEN)
    calibration: Literal["minmax", "entropy", "percentile"] = Field(
        "minmax",
        description="range of an activation: all that was seen (minmax), the cut that loses least information (entropy; Migacz 2017), or all but the rarest values (percentile)",
    )
    percentile: float = Field(
        99.99,
        ge=90,
        le=100,
        description="of `calibration: percentile`: share of the seen values inside the range, in percent; zeros, of which ReLU makes many and every range holds them, don't count",
    )
    per_channel: bool = Field(
        default=True, description="one scale per output channel; one per tensor is smaller by little and worse by much"
    )


class MixedInt8(StaticInt8):
    """Static quantisation that leaves the most sensitive layers in float, one after the other, until the accuracy gate holds. Variant `mixed-int8`."""

    kind: Literal["mixed_int8"] = "mixed_int8"  # type: ignore[assignment]  # the discriminator of its own
    max_float_share: float = Field(
        0.5,
        gt=0,
        le=1,
        description="largest share of the layers with weights that may be in float, with those that are so in every 8-bit variant",
    )


class QatInt8(Part):
    """Quantisation-aware training (Jacob et al. 2017, arXiv:1712.05877): train on with 8-bit rounding simulated, batch norm folded in; for nets where static quantisation loses too much. Variant `qat-int8`."""

    kind: Literal["qat_int8"] = "qat_int8"
    epochs: int = Field(
        2, ge=1, le=1000, description="epochs of training with simulated rounding, with the spec's own recipe"
    )
    lr_scale: float = Field(
        0.1,
        gt=0,
        le=10,
        description="factor before `optimizer.lr`; the schedule runs again from there, without a warm-up",
    )
    calibration_images: int = Field(128, ge=1, le=10_000, description=SEEN)
    per_channel: bool = Field(default=True, description="one scale per output channel; else one per tensor")


class DynamicInt8(Part):
    """Dynamic quantisation: 8-bit weights, activation ranges found at each call. For nets that are mostly linear layers; convolutions become many times slower. Variant `dynamic-int8`."""

    kind: Literal["dynamic_int8"] = "dynamic_int8"
    layers: Literal["linear", "all"] = Field(
        "linear",
        description="linear: linear layers alone; all: convolutions too, which is slow, and is told so by measuring",
    )
    per_channel: bool = Field(
        default=False,
        description="one scale per output channel of a linear layer's weights; else one per tensor. A convolution has one in any case",
    )


class WeightsInt8(Part):
    """8-bit weights with a scale per output channel, computing in float. For size: the work stays the same. Variant `weights-int8`."""

    kind: Literal["weights_int8"] = "weights_int8"


class WeightsInt4(Part):
    """4-bit weights of linear layers in blocks, each with its scale, computing in float (MatMulNBits of onnxruntime). Variant `weights-int4`."""

    kind: Literal["weights_int4"] = "weights_int4"
    block_size: Literal[16, 32, 64, 128] = Field(32, description="successive weights of an output that share a scale")


class Fp16(Part):
    """16-bit floats (IEEE half): half the size; faster on GPUs, slower on CPUs. Inputs and outputs stay as they are. Variant `fp16`."""

    kind: Literal["fp16"] = "fp16"


class Bf16(Part):
    """16-bit floats (bfloat16, Kalamkar et al. 2019, arXiv:1905.12322): half the size, fp32's range, 8 bits of precision; runs where onnxruntime has kernels for it. Variant `bf16`."""

    kind: Literal["bf16"] = "bf16"


Quantization = Annotated[
    StaticInt8 | MixedInt8 | QatInt8 | DynamicInt8 | WeightsInt8 | WeightsInt4 | Fp16 | Bf16,
    Field(discriminator="kind"),
]

VARIANTS = {
    "static_int8": "int8",
    "mixed_int8": "mixed-int8",
    "qat_int8": "qat-int8",
    "dynamic_int8": "dynamic-int8",
    "weights_int8": "weights-int8",
    "weights_int4": "weights-int4",
    "fp16": "fp16",
    "bf16": "bf16",
}
"""kind → name of the variant made of fp32; of another variant it is that one's name, a hyphen, and this"""
