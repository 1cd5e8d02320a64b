"""Figures of files, each measured on a provider and a host."""

from datetime import datetime
from typing import Annotated

from pydantic import ConfigDict, Field

from service.answers.answer import Answer

Interval95 = Annotated[list[float], Field(min_length=2, max_length=2)]
"""Low and high end of a 95 % interval"""


class Host(Answer):
    """Hardware of a measurement."""

    device: str = Field(description="model of the CPU, or name of the GPU")
    features: list[str] = Field(
        description="features that decide the speed of fewer bits: CPU features by Linux's names, or a GPU's compute "
        "capability",
        examples=[["avx2", "avx512_vnni"]],
    )
    onnxruntime: str = Field(description="version of the runtime")


class ConformalLevel(Answer):
    """Coverage that sets or intervals of a file are calibrated for, and what the test split shows of it."""

    coverage: float = Field(description="share of new examples whose set holds the truth, at least")
    threshold: float | None = Field(
        description="largest nonconformity in a set: 1 - the probability of a class or label, or the distance from a "
        "number; null: the validation split has too few examples for this coverage"
    )
    test_coverage: float | None = Field(
        description="share of the test split's sets that hold the truth; null without a test split"
    )
    mean_size: float | None = Field(
        description="mean number of classes or labels in the test split's sets, or the width of the interval"
    )


class Conformal(Answer):
    """Split conformal prediction with one file: `coverage` of `POST /predict` takes its thresholds from here.

    Lei et al. 2018, arXiv:1604.04173; Sadinle et al. 2019, arXiv:1609.00451.
    """

    calibrated_on: int = Field(description="number of validation examples behind the thresholds")
    tested_on: int = Field(description="number of test examples behind `test_coverage` and `mean_size`")
    levels: list[ConformalLevel]


class Measured(Answer):
    """Figures of a variant's file on one provider; figures that an earlier release did not measure are null."""

    model_config = ConfigDict(extra="allow")

    unmeasurable: str | None = Field(
        None, description="why the file can't be loaded or run on this provider; then there are no figures"
    )
    accepted: bool = Field(
        default=False,
        description="whether the interval of `accuracy_drop` stays within the spec's `max_accuracy_drop`, and the "
        "file is faster than fp32 and than its parent by more than the noise",
    )
    reasons: list[str] = Field(default_factory=list, description="why it was not accepted")
    accuracy: dict[str, float | None] | None = Field(
        None, description="split → share of right answers, or of right labels, or R² of numbers"
    )
    accuracy_drop: float | None = Field(
        None, description="loss of accuracy against fp32 on the validation split; negative: a gain"
    )
    accuracy_drop_interval: Interval95 | None = Field(
        None,
        description=(
            "95 % interval of `accuracy_drop`, over the same examples; null for fp32, which is not compared with itself"
        ),
    )
    validation_images: int | None = Field(
        None, description="number of examples behind the loss and its interval; null in figures of older versions"
    )
    agreement: float | None = Field(
        None,
        description="share of validation examples with the same answer as fp32; numbers may differ by a tenth of their "
        "standard deviation",
    )
    latency_ms: dict[str, float] | None = Field(
        None,
        description="p50 and p95 for one example at a time, by the clock of `speedup`: on the CPU the computing "
        "thread's own time, which excludes other processes; on CUDA the time from call to answer. p50 is "
        "that of fp32 divided by `speedup`; p95 is above it by the same ratio as in the variant's own "
        "calls",
    )
    throughput: dict[str, float] | None = Field(
        None,
        description="batch size (1, 8, 32) → examples per second by the same clock: that of fp32 multiplied by the "
        "median ratio of rounds in which both took turns at that size, so that variants are comparable",
    )
    speedup: float | None = Field(
        None,
        description="against fp32: median ratio of interleaved rounds at batch 1; on the CPU it uses the time that "
        "the thread ran, so other work on the host does not count",
    )
    speedup_interval: Interval95 | None = Field(None, description="its 95 % interval")
    parent_speedup: float | None = Field(None, description="speedup against the variant from which this one was made")
    parent_speedup_interval: Interval95 | None = Field(None, description="its 95 % interval")
    load_ms: float | None = Field(None, description="time from the file in memory to a session")
    peak_memory_bytes: int | None = Field(
        None, description="peak memory of a process that loaded only this file and ran a batch of 32"
    )
    provider: str | None = Field(None, description="onnxruntime's name of the execution provider")
    threads: int | None = Field(None, description="number of CPU threads")
    host: Host | None = Field(None, description="hardware on which it ran")
    measured_at: datetime | None = Field(None, description="when")
    images: dict[str, int] | None = Field(
        None, description="split → number of examples behind the accuracies: all, or a random part on a slow host"
    )
    conformal: Conformal | None = Field(
        None, description="calibrated coverage; null in figures of older versions, which `:measure` renews"
    )
    rounds: dict[str, int] | None = Field(
        None, description="batch size → number of rounds behind the speeds; fewer on a slow host"
    )


class Parity(Answer):
    """Comparison of a file with the trained net on the validation split.

    Raw examples through the served path, against torch.
    """

    images: int
    agreeing: int = Field(
        description="number of examples with the same class, the same labels, or the same number except for rounding"
    )
    share: float = Field(description="agreeing / images")
    max_difference: float | None = Field(
        description="largest difference of any probability or number; null: one of them is NaN"
    )
    batch_difference: float | None = Field(
        None,
        description="largest change of a probability or number by the other examples of its batch, as padding may "
        "cause it; null or absent: not measured",
    )
