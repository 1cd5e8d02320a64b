"""Quantisation: exported files with fewer bits. Each kind makes one variant of every net, named after the kind."""

from typing import Annotated, Literal

from pydantic import Field

from models_store.spec.part import Part

SEEN = "training examples, drawn evenly over the classes with the spec's seed, on which activation ranges are read"


class StaticInt8(Part):
    """Static quantisation: signed 8-bit weights, unsigned 8-bit activations with ranges seen on real training examples (QDQ; Jacob et al. 2017, arXiv:1712.05877). Variant `int8`."""

    kind: Literal["static_int8"] = "static_int8"
    calibration_images: int = Field(128, ge=1, le=10_000, description=SEEN)
    calibration: Literal["minmax", "entropy", "percentile"] = Field(
        "minmax",
        description="range of an activation: all observed values (minmax), the limit that loses the least information (entropy; Migacz 2017), or all values except the rarest (percentile)",
    )
    percentile: float = Field(
        99.99,
        ge=90,
        le=100,
        description="for `calibration: percentile`: share of the observed values inside the range, in percent. Zeros don't count, because ReLU makes many of them and every range contains them",
    )
    per_channel: bool = Field(
        default=True,
        description="true: one scale per output channel; false: one per tensor, which is a little smaller and much less accurate",
    )


class MixedInt8(StaticInt8):
    """Static quantisation that leaves the most sensitive layers in float, one after the other, until the accuracy gate accepts the result. Variant `mixed-int8`."""

    kind: Literal["mixed_int8"] = "mixed_int8"  # type: ignore[assignment]  # the discriminator of its own
    max_float_share: float = Field(
        0.5,
        gt=0,
        le=1,
        description="largest share of the layers with weights that may stay in float, including those that stay in float in every 8-bit variant",
    )


class QatInt8(Part):
    """Quantisation-aware training (Jacob et al. 2017, arXiv:1712.05877): train on with simulated 8-bit rounding and folded batch norm; for nets where static quantisation loses too much accuracy. Variant `qat-int8`."""

    kind: Literal["qat_int8"] = "qat_int8"
    epochs: int = Field(
        2, ge=1, le=1000, description="epochs of training with simulated rounding, with the spec's own recipe"
    )
    lr_scale: float = Field(
        0.1,
        gt=0,
        le=10,
        description="factor for `optimizer.lr`; the schedule runs again from this rate, without a warm-up",
    )
    calibration_images: int = Field(128, ge=1, le=10_000, description=SEEN)
    per_channel: bool = Field(default=True, description="true: one scale per output channel; false: one per tensor")


class DynamicInt8(Part):
    """Dynamic quantisation: 8-bit weights; the ranges of activations are found at each call. For nets that consist mostly of linear layers; convolutions become many times slower. Variant `dynamic-int8`."""

    kind: Literal["dynamic_int8"] = "dynamic_int8"
    layers: Literal["linear", "all"] = Field(
        "linear",
        description="linear: only linear layers; all: convolutions too, which is slow, as the measured figures will show",
    )
    per_channel: bool = Field(
        default=False,
        description="true: one scale per output channel of a linear layer's weights; false: one per tensor. A convolution always has one per tensor",
    )


class WeightsInt8(Part):
    """8-bit weights with a scale per output channel, or per row of embeddings; computes in float. This saves size only: the work stays the same. Variant `weights-int8`."""

    kind: Literal["weights_int8"] = "weights_int8"
    target_size_bytes: int | None = Field(
        None,
        ge=10_000,
        le=1 << 31,
        description="largest size of the file, in bytes: the rows of embeddings that weigh least leave until it fits, and their tokens count as nothing (as fastText's autotune to a size); null: all stay",
    )


class WeightsInt4(Part):
    """4-bit weights of linear layers in blocks, each block with a scale; computes in float (MatMulNBits of onnxruntime). Variant `weights-int4`."""

    kind: Literal["weights_int4"] = "weights_int4"
    block_size: Literal[16, 32, 64, 128] = Field(32, description="successive weights of an output that share a scale")


class Fp16(Part):
    """16-bit floats (IEEE half): half the size; faster on GPUs, slower on CPUs. Inputs and outputs stay as they are. Variant `fp16`."""

    kind: Literal["fp16"] = "fp16"


class Bf16(Part):
    """16-bit floats (bfloat16, Kalamkar et al. 2019, arXiv:1905.12322): half the size, fp32's range, 8 bits of precision; runs only where onnxruntime has kernels for it. Variant `bf16`."""

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
"""kind → name of the variant made from fp32; a variant of another net has the name of that net, a hyphen, and this name"""
