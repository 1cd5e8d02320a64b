"""Facts of pruning and quantisation for a variant's card. No torch."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from workers.evaluation.calibration import Temperature


@dataclass(frozen=True)
class PruningFacts:
    """What a cut did. MACs are multiply-accumulate operations for one example; channels are those of all cut layers."""

    macs_before: int
    macs_after: int
    parameters_before: int
    parameters_after: int
    channels_before: int
    channels_removed: int

    def as_card(self) -> dict[str, int]:
        """Return what a variant's card says."""
        return asdict(self)


@dataclass(frozen=True)
class Sparsity:
    """Zeros in the place of single weights, among all weights of convolutions and linear layers."""

    kind: str
    weights: int
    zeros: int
    dense_weights: int | None = None
    """of n:m, weights outside of every group of m, for the input channels of their layer leave a remainder (all, in a
    first layer or a depthwise convolution): they stay as they are"""

    @property
    def size_only(self) -> bool:
        """Return True: no runtime here is faster for zeros."""
        return True

    def as_card(self) -> dict[str, Any]:
        """Return what a variant's card says."""
        facts = {"kind": self.kind, "weights": self.weights, "zeros": self.zeros, "sparsity": self.zeros / self.weights}
        return facts | ({} if self.dense_weights is None else {"dense_weights": self.dense_weights})

    def inherited(self) -> "Sparsity":
        """Return what is as true of a variant made of this one."""
        return self


@dataclass(frozen=True)
class VocabularyCut:
    """Entries of vocabularies (n-grams, tokens) that a net knows, of all its vocabularies together."""

    entries_before: int
    entries_kept: int
    target_size_bytes: int | None = None
    probes: Sequence[Mapping[str, float]] = ()
    """share that was kept, and the size of the file in bytes, of each candidate that was exported"""

    @property
    def size_only(self) -> bool:
        """Return True: a text has as many n-grams as before, and each is looked up."""
        return True

    def as_card(self) -> dict[str, Any]:
        """Return what a variant's card says."""
        facts = {
            "kind": "vocabulary",
            "entries_before": self.entries_before,
            "entries_kept": self.entries_kept,
            "keep": self.entries_kept / self.entries_before,
        }
        if self.target_size_bytes is None:
            return facts
        return facts | {"target_size_bytes": self.target_size_bytes, "probes": [dict(each) for each in self.probes]}

    def inherited(self) -> "VocabularyCut":
        """Return what is as true of a variant made of this one: its size was measured on another file."""
        return replace(self, target_size_bytes=None, probes=())


@dataclass(frozen=True)
class Ranges:
    """How the ranges of activations were found, on training examples."""

    calibration: str
    calibration_images: int
    per_channel: bool
    percentile: float | None = None


@dataclass(frozen=True)
class MixedLayers:
    """Layers that were left in float for the sake of the accuracy gate."""

    float_layers_allowed: int
    tried: Mapping[str, float]
    """number of layers in float → accuracy on the validation split"""
    gate_held: bool


@dataclass(frozen=True)
class RoundingTraining:
    """Training with simulated rounding. Accuracies are those of the variant's files on the validation split."""

    rounded: int
    simulated: int
    epochs: int
    best_epoch: int
    """0: the start is kept"""
    val_accuracy_before: float
    val_accuracy_after: float


@dataclass(frozen=True)
class Quantized:
    """What was done to a variant of fewer bits. None is not known, or does not apply."""

    layers: int | None = None
    """layers with weights"""
    float_layers: Sequence[str] | None = None
    """those of them that are left in float"""
    float_operators: Sequence[str] | None = None
    per_channel: bool | None = None
    block_size: int | None = None
    rows: int | None = None
    """rows of embeddings before some left, so that the file has the size that was asked for"""
    rows_kept: int | None = None
    ranges: Ranges | None = None
    mixed: MixedLayers | None = None
    training: RoundingTraining | None = None
    temperature: Temperature | None = None
    """its own, where its net was trained; a variant's card says it with its source's in one place"""
    size_only: bool = False
    """whether it is smaller and no faster"""

    def as_card(self) -> dict[str, Any]:
        """Return what a variant's card says, but for `size_only` and the temperature, which all variants have."""
        own = ("layers", "float_layers", "float_operators", "per_channel", "block_size", "rows", "rows_kept")
        parts = (self.ranges, self.mixed, self.training)
        facts = {name: getattr(self, name) for name in own}
        for part in parts:
            facts |= {} if part is None else {each.name: getattr(part, each.name) for each in fields(part)}
        return {name: value for name, value in facts.items() if value is not None}
