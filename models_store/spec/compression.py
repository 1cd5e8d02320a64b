"""How the trained net may be made smaller and faster. Each form is measured beside fp32 and refused when it is worse."""

from typing import Literal

from pydantic import Field

from models_store.spec.part import Part


class StructuredPruning(Part):
    """Remove whole channels of the smallest L2 norm (DepGraph, Fang et al. 2023, arXiv:2301.12900), then train on to recover."""

    kind: Literal["structured"] = "structured"
    ratio: float = Field(
        0.3,
        gt=0,
        lt=1,
        description="share of channels removed from each prunable layer; 0.3 of the channels is about half of the work",
    )
    round_to: int = Field(
        16,
        ge=1,
        le=64,
        description="channels left are a multiple of this; unaligned channels run slower than none removed",
    )
    recover_epochs: int = Field(
        3,
        ge=0,
        le=10_000,
        description="epochs of training after the cut, with the spec's own recipe at a tenth of its learning rate",
    )


class StaticInt8(Part):
    """Static quantisation: per-channel signed 8-bit weights, unsigned 8-bit activations with ranges seen on real training images (QDQ)."""

    kind: Literal["static_int8"] = "static_int8"
    calibration_images: int = Field(
        128,
        ge=1,
        le=10_000,
        description="training images, drawn evenly over the classes, on which activation ranges are read",
    )
    per_channel: bool = Field(
        default=True, description="one scale per output channel; one per tensor is smaller by little and worse by much"
    )


class Compression(Part):
    """Which smaller forms to make, and how much accuracy each may cost."""

    prune: StructuredPruning | None = Field(None, description="structured pruning with recovery; null: none")
    quantize: StaticInt8 | None = Field(StaticInt8(), description="int8 quantisation; null: none")
    max_accuracy_drop: float = Field(
        0.02,
        ge=0,
        le=1,
        description="most accuracy (share of right answers on the validation split; of labels, of right labels; of numbers, R²) that a smaller form may lose; past it the form is published as not accepted",
    )
