"""Variants of a version: how each file was made, with its figures.

Fields that a variant does not have are left out.
"""

from typing import Annotated, Any

from pydantic import ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from models_store.spec.pruning import Pruning, Recovery
from models_store.spec.quantization import Quantization
from service.answers.answer import Answer, ShapeOf
from service.answers.measured import Interval95, Measured, Parity

MadeBy = Annotated[dict[str, Any], ShapeOf(Pruning | Quantization | Recovery)]


class Temperature(Answer):
    """Temperature: the exported graph divides its logits by it (Guo et al. 2017, arXiv:1706.04599)."""

    value: float
    loss_before: float | None = Field(description="on the validation split, at a temperature of 1")
    loss_after: float | None
    reason: str | None = Field(description="why it was left at 1")


class Cut(Answer):
    """Effect of pruning: removed channels, single weights, or entries of a vocabulary."""

    model_config = ConfigDict(extra="allow")

    kind: str | None = Field(None, description="for single weights and vocabularies: the kind of pruning")
    macs_before: int | None = Field(None, description="multiply-accumulate operations for one example")
    macs_after: int | None = None
    parameters_before: int | None = None
    parameters_after: int | None = None
    channels_before: int | None = Field(None, description="of all pruned layers")
    channels_removed: int | None = None
    ratio: float | None = Field(None, description="removed share of what can be removed")
    steps: int | None = Field(None, description="rounds of pruning and recovery")
    target_speedup: float | None = Field(None, description="the requested speedup")
    speedup: float | None = Field(None, description="the speedup measured during the search for the ratio")
    probes: list[dict[str, float]] | None = Field(
        None, description="the candidates that were measured, each with what it keeps or loses, and its speedup or size"
    )
    weights: int | None = Field(None, description="weights of convolutions and linear layers")
    zeros: int | None = None
    sparsity: float | None = Field(None, description="zeros / weights")
    dense_weights: int | None = Field(None, description="for n:m: number of weights outside any group of m")
    entries_before: int | None = Field(None, description="for a vocabulary: n-grams or tokens before the cut")
    entries_kept: int | None = None
    keep: float | None = Field(None, description="entries_kept / entries_before")
    target_size_bytes: int | None = Field(None, description="the requested size of the file")


class Recovered(Answer):
    """Recovery of accuracy after pruning."""

    epochs: int
    val_accuracy_before: float | None
    val_accuracy_after: float | None


class AgainstControl(Answer):
    """The pruned net compared with the unpruned net after the same further training."""

    val_accuracy: dict[str, float] = Field(description="`control` and `pruned`")
    drop: float
    drop_interval: Interval95


class VariantCard(Answer):
    """How a file was made, and its figures by provider."""

    model_config = ConfigDict(extra="allow")

    size_bytes: int
    compressed_bytes: int | None = Field(None, description="size of the file after zlib at level 6")
    size_only: bool = Field(default=False, description="whether it saves size only")
    batch_dependent: bool = Field(
        default=False,
        description="whether an example's answer depends on the others of its batch, because each call finds the "
        "ranges of activations over the whole batch (dynamic quantisation). It is never the default, and "
        "is served only if a request names it",
    )
    standalone: bool = Field(
        default=False,
        description="whether the file is for use elsewhere: it can be downloaded, but is never measured or served",
    )
    compared_images: int | None = Field(
        None,
        description="for a standalone file: number of validation examples, at most 200, on which its answers were "
        "compared with those of `/predict`; its accuracy is that of fp32",
    )
    agreement_with_serving: float | None = Field(
        None, description="for a standalone file: share of those examples with the same answer as `/predict`"
    )
    kind: str | None = Field(None, description="name of the variant", examples=["int8"])
    parent: str | None = Field(None, description="the variant from which it was made; null: the trained net")
    made_by: MadeBy | None = Field(None, description="part of the spec that made it; null: none")
    parity: Parity | None = Field(
        None,
        description="difference of its answers to those of the trained net from which it, or its parent, was made",
    )
    measured: dict[str, Measured] = Field(default_factory=dict, description="provider (cpu, cuda) → figures")

    temperature: Temperature | None = Field(None, description="for a model of classes or labels")
    stopped: str | None = Field(None, description="why pruning stopped before its goal")
    pruning: Cut | None = Field(None, description="for a pruned variant, and variants made from it")
    recovery: Recovered | None = Field(None, description="for a variant with further training after pruning")
    control: AgainstControl | None = Field(None, description="for a pruned variant and its control")
    layers: int | None = Field(None, description="for a quantised variant: number of layers with weights")
    float_layers: list[str] | None = Field(None, description="for a quantised variant: layers that stay in float")
    float_operators: list[str] | None = Field(None, description="for a 16-bit variant: operators that stay in float")
    float_layers_allowed: int | None = Field(
        None, description="for mixed int8: number of layers that may stay in float"
    )
    tried: dict[str, float] | None = Field(None, description="for mixed int8: number of layers in float → accuracy")
    gate_held: bool | None = Field(None, description="for mixed int8: whether it reached the requested accuracy")
    calibration: str | None = Field(None, description="for int8: how the ranges of activations were found")
    calibration_images: int | None = None
    percentile: float | None = None
    per_channel: bool | None = Field(None, description="for int8: whether each output channel has a scale of its own")
    block_size: int | None = Field(None, description="for 4-bit weights: number of weights that share a scale")
    rows: int | None = Field(
        None, description="for a variant of a given size: number of rows of embeddings before some left"
    )
    rows_kept: int | None = Field(None, description="for a variant of a given size: number of rows that stayed")
    rounded: int | None = Field(
        None, description="for quantisation-aware training: number of tensors that the file rounds"
    )
    simulated: int | None = Field(
        None, description="for quantisation-aware training: number of these that training rounds too"
    )
    epochs: int | None = Field(None, description="for quantisation-aware training")
    best_epoch: int | None = Field(
        None, description="for quantisation-aware training: the epoch whose weights were kept"
    )
    val_accuracy_before: float | None = Field(None, description="before quantisation-aware training")
    val_accuracy_after: float | None = None

    @model_serializer(mode="wrap")
    def _without_facts_of_other_variants(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in serialize(self).items() if value is not None or name not in FACTS}


FACTS = frozenset(list(VariantCard.model_fields)[list(VariantCard.model_fields).index("temperature") :])
"""Fields that some variants have"""


class Variant(VariantCard):
    """One exported variant of a version; every figure was measured on this exact file."""

    name: str = Field(examples=["int8"])
    sha256: str = Field(description="digest of the file, which is also the ETag of its download")
    accepted: bool = Field(description="whether it is accepted on some provider")
    default: bool = Field(
        description=(
            "whether it is the version's `default_variant`; `defaults` of the version has the variant for each provider"
        )
    )
