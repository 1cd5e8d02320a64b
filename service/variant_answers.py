"""Answers about a version's variants: each file, and what was measured of it on each provider."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from service.answer import Answer

Interval95 = Annotated[list[float], Field(min_length=2, max_length=2)]
"""Low and high end of a 95 % interval"""


class Host(Answer):
    """What ran a measurement."""

    device: str = Field(description="model of the CPU, or name of the GPU")
    features: list[str] = Field(
        description="what decides there how fast fewer bits are: CPU features by Linux's names, or a GPU's compute "
        "capability",
        examples=[["avx2", "avx512_vnni"]],
    )
    onnxruntime: str = Field(description="version of the runtime")


class Measured(Answer):
    """What was measured of a variant's file on one provider; figures that an earlier release did not take are null."""

    model_config = ConfigDict(extra="allow")

    unmeasurable: str | None = Field(
        None, description="why the file can't be loaded or run on this provider; there are no figures then"
    )
    accepted: bool = Field(
        default=False,
        description="the interval of `accuracy_drop` stays within the spec's `max_accuracy_drop` here, and the file is "
        "faster than fp32 and than its parent beyond noise",
    )
    reasons: list[str] = Field(default_factory=list, description="why it was not accepted")
    accuracy: dict[str, float | None] | None = Field(
        None, description="split → share of right answers, or of right labels, or R² of numbers"
    )
    accuracy_drop: float | None = Field(
        None, description="accuracy lost against fp32 on the validation split; negative: won"
    )
    accuracy_drop_interval: Interval95 | None = Field(
        None,
        description="95 % interval of that, over the same images; null for fp32, which is not compared with itself",
    )
    validation_images: int | None = Field(
        None, description="how many images the loss and its interval are of; null in figures of older versions"
    )
    agreement: float | None = Field(
        None,
        description="share of validation images with fp32's answer; numbers may differ by a tenth of their standard "
        "deviation",
    )
    latency_ms: dict[str, float] | None = Field(
        None,
        description="p50 and p95 of one image at a time, by the clock of `speedup`: on the CPU the computing thread's "
        "own time, in which other processes don't count; on CUDA the time from call to answer. p50 is fp32's over "
        "`speedup`, p95 as far above it as in the form's own calls",
    )
    throughput: dict[str, float] | None = Field(
        None,
        description="batch size (1, 8, 32) → images per second of the same clock's time: fp32's times the median ratio "
        "of rounds in which both took turns at that size, so that forms are comparable",
    )
    speedup: float | None = Field(
        None,
        description="against fp32: median of interleaved rounds' ratios at batch 1, on the CPU of the time that the "
        "thread ran, so that other work there does not count",
    )
    speedup_interval: Interval95 | None = Field(None, description="95 % interval of that")
    parent_speedup: float | None = Field(None, description="the same against the form that this one was made from")
    parent_speedup_interval: Interval95 | None = Field(None, description="95 % interval of that")
    load_ms: float | None = Field(None, description="from the file in memory to a session")
    peak_memory_bytes: int | None = Field(
        None, description="most memory of a process that has loaded this file alone and run a batch of 32"
    )
    provider: str | None = Field(None, description="onnxruntime's name of the execution provider that ran it")
    threads: int | None = Field(None, description="CPU threads that ran it")
    host: Host | None = Field(None, description="what it ran on")
    measured_at: datetime | None = Field(None, description="when")
    images: dict[str, int] | None = Field(
        None, description="split → images that accuracies are of: all, or a random part on a host too slow for all"
    )
    rounds: dict[str, int] | None = Field(
        None, description="batch size → rounds that speeds are of; fewer on a host too slow for more"
    )


class Parity(Answer):
    """A file compared with a trained net on the validation split: raw images as they are served, against torch."""

    images: int
    agreeing: int = Field(
        description="images with the same class, the same labels, or the same number but for rounding"
    )
    share: float = Field(description="agreeing / images")
    max_difference: float | None = Field(
        description="largest difference of any probability, or number; null: one of them is no number"
    )


class Variant(Answer):
    """One exported form of a version; every figure was measured on the file that ships."""

    model_config = ConfigDict(extra="allow")

    name: str = Field(examples=["int8"])
    sha256: str = Field(description="digest of the file, which is also the ETag of its download")
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
    accepted: bool = Field(description="it is accepted on some provider")
    default: bool = Field(
        description="it is the version's `default_variant`; what answers on each provider is in its `defaults`"
    )
    kind: str | None = Field(None, description="name of the form", examples=["int8"])
    parent: str | None = Field(None, description="the form that it was made from; null: the trained net")
    made_by: dict[str, Any] | None = Field(None, description="part of the spec that it was made by; null: none")
    parity: Parity | None = Field(
        None, description="how far its answers are from those of the trained net that it, or its parent, was made from"
    )
    measured: dict[str, Measured] = Field(
        default_factory=dict, description="provider (cpu, cuda) → what was measured there"
    )
