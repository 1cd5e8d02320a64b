"""Variants of a version: how each file was made, and what was measured of it.

Facts that a variant does not have are left out of its answer.
"""

from typing import Annotated, Any

from pydantic import ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from models_store.spec.pruning import Pruning, Recovery
from models_store.spec.quantization import Quantization
from service.answers.answer import Answer, ShapeOf
from service.answers.measured import Interval95, Measured, Parity

MadeBy = Annotated[dict[str, Any], ShapeOf(Pruning | Quantization | Recovery)]


class Temperature(Answer):
    """What the exported graph divides its logits by (Guo et al. 2017, arXiv:1706.04599)."""

    value: float
    loss_before: float | None = Field(description="on the validation split, at a temperature of 1")
    loss_after: float | None
    reason: str | None = Field(description="why it was left at 1")


class Cut(Answer):
    """What pruning has removed: channels, or single weights."""

    model_config = ConfigDict(extra="allow")

    kind: str | None = Field(None, description="of single weights: the kind of pruning")
    macs_before: int | None = Field(None, description="multiply-accumulate operations for one image")
    macs_after: int | None = None
    parameters_before: int | None = None
    parameters_after: int | None = None
    channels_before: int | None = Field(None, description="of all layers that are cut")
    channels_removed: int | None = None
    ratio: float | None = Field(None, description="share of what could be removed that was")
    steps: int | None = Field(None, description="rounds of cutting and recovery")
    target_speedup: float | None = Field(None, description="the speedup that was asked for")
    speedup: float | None = Field(None, description="the speedup that was measured for it while it was searched")
    probes: list[dict[str, float]] | None = Field(None, description="what was measured on the way to it")
    weights: int | None = Field(None, description="weights of convolutions and linear layers")
    zeros: int | None = None
    sparsity: float | None = Field(None, description="zeros / weights")
    dense_weights: int | None = Field(None, description="of n:m: weights that no group of m holds")


class Recovered(Answer):
    """How accuracy came back after a cut."""

    epochs: int
    val_accuracy_before: float | None
    val_accuracy_after: float | None


class AgainstControl(Answer):
    """The pruned net beside one that was trained on for as long, and not cut."""

    val_accuracy: dict[str, float] = Field(description="`control` and `pruned`")
    drop: float
    drop_interval: Interval95


class VariantCard(Answer):
    """How a file was made, and what was measured of it by provider."""

    model_config = ConfigDict(extra="allow")

    size_bytes: int
    compressed_bytes: int | None = Field(None, description="size of the file after zlib at level 6")
    size_only: bool = Field(default=False, description="made for size, not for speed")
    batch_dependent: bool = Field(
        default=False,
        description="an image's answer depends on the other images of its batch, over all of which the ranges of its "
        "activations are found at each call (dynamic quantisation): never a default, it answers where it is named",
    )
    standalone: bool = Field(
        default=False, description="a file to take elsewhere: it is downloaded, never measured and never served"
    )
    compared_images: int | None = Field(
        None,
        description="of a standalone file: validation images on which its answers were compared with serving's, 200 at "
        "most; it has no accuracy of its own, see fp32's",
    )
    agreement_with_serving: float | None = Field(
        None, description="of a standalone file: share of those images that it answers as `/predict` does"
    )
    kind: str | None = Field(None, description="name of the variant", examples=["int8"])
    parent: str | None = Field(None, description="the variant that it was made from; null: the trained net")
    made_by: MadeBy | None = Field(None, description="part of the spec that it was made by; null: none")
    parity: Parity | None = Field(
        None, description="how far its answers are from those of the trained net that it, or its parent, was made from"
    )
    measured: dict[str, Measured] = Field(
        default_factory=dict, description="provider (cpu, cuda) → what was measured there"
    )

    temperature: Temperature | None = Field(None, description="of a model of classes or labels")
    stopped: str | None = Field(None, description="why pruning stopped before its goal")
    pruning: Cut | None = Field(None, description="of a pruned variant, and of what is made of it")
    recovery: Recovered | None = Field(None, description="of a variant that was trained on after a cut")
    control: AgainstControl | None = Field(None, description="of a pruned variant and its control")
    layers: int | None = Field(None, description="of a quantised variant: layers with weights")
    float_layers: list[str] | None = Field(None, description="of a quantised variant: layers that stay in float")
    float_operators: list[str] | None = Field(None, description="of a 16-bit variant: operators that stay in float")
    float_layers_allowed: int | None = Field(None, description="of mixed int8: layers that may stay in float")
    tried: dict[str, float] | None = Field(None, description="of mixed int8: layers in float → accuracy")
    gate_held: bool | None = Field(None, description="of mixed int8: it is as accurate as was asked for")
    calibration: str | None = Field(None, description="of int8: how ranges of activations were found")
    calibration_images: int | None = None
    percentile: float | None = None
    per_channel: bool | None = Field(None, description="of int8: each output channel has a scale of its own")
    block_size: int | None = Field(None, description="of 4-bit weights: weights that share a scale")
    rounded: int | None = Field(None, description="of quantisation-aware training: tensors that the file rounds")
    simulated: int | None = Field(None, description="of quantisation-aware training: those rounded in training too")
    epochs: int | None = Field(None, description="of quantisation-aware training")
    best_epoch: int | None = Field(None, description="of quantisation-aware training: whose weights were kept")
    val_accuracy_before: float | None = Field(None, description="before quantisation-aware training")
    val_accuracy_after: float | None = None

    @model_serializer(mode="wrap")
    def _without_facts_of_other_variants(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in serialize(self).items() if value is not None or name not in FACTS}


FACTS = frozenset(list(VariantCard.model_fields)[list(VariantCard.model_fields).index("temperature") :])
"""Fields that some variants have"""


class Variant(VariantCard):
    """One exported variant of a version; every figure was measured on the file that ships."""

    name: str = Field(examples=["int8"])
    sha256: str = Field(description="digest of the file, which is also the ETag of its download")
    accepted: bool = Field(description="it is accepted on some provider")
    default: bool = Field(
        description="it is the version's `default_variant`; what answers on each provider is in its `defaults`"
    )
