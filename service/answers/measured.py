"""Figures of files: what was measured of each on a provider, and where."""

from datetime import datetime
from typing import Annotated

from pydantic import ConfigDict, Field

from service.answers.answer import Answer

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
        "`speedup`, p95 as far above it as in the variant's own calls",
    )
    throughput: dict[str, float] | None = Field(
        None,
        description="batch size (1, 8, 32) → images per second of the same clock's time: fp32's times the median ratio "
        "of rounds in which both took turns at that size, so that variants are comparable",
    )
    speedup: float | None = Field(
        None,
        description="against fp32: median of interleaved rounds' ratios at batch 1, on the CPU of the time that the "
        "thread ran, so that other work there does not count",
    )
    speedup_interval: Interval95 | None = Field(None, description="95 % interval of that")
    parent_speedup: float | None = Field(None, description="the same against the variant that this one was made from")
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
