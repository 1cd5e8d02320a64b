"""Figures of one file on one provider, and their part of a variant's card."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Figures:
    """The figures of one file on one provider. Times and speeds are of `threads` threads (1)."""

    accuracy: dict[str, float]
    """share of right answers (of numbers, R²: see `models_store.targets`), by split"""
    accuracy_drop: float
    """what is lost against fp32 on the validation split; negative when the file is better"""
    accuracy_drop_interval: tuple[float, float] | None
    """the 95 % interval of that, over the same examples; None for fp32, which is not compared with itself"""
    agreement: float
    """share of validation examples with fp32's answer; numbers may differ by a tenth of a standard deviation"""
    latency_ms: dict[str, float]
    """p50 and p95 of one example, by the clock of the speedup: on the CPU the time that the computing thread ran"""
    throughput: dict[str, float]
    """examples per second of that time, at batch 1, 8 and 32; comparable between variants (see `timing.pace`)"""
    speedup: float
    """fp32's time / this file's, one example at a time: the median over interleaved rounds (see `timing`)"""
    speedup_interval: tuple[float, float]
    """the 95 % interval of that"""
    parent_speedup: float | None
    """the same against the variant that this one was made from; None for fp32, or where that one can't be measured"""
    parent_speedup_interval: tuple[float, float] | None
    load_ms: float
    """from a file in memory to a session, in a process that had none"""
    peak_memory_bytes: int
    """most memory (resident set) of a process that has loaded this file alone and run a batch of 32"""
    provider: str
    """onnxruntime's name of what ran it"""
    threads: int
    host: dict[str, Any]
    """`device` (model of the CPU or GPU), `features` that decide what is fast there, version of `onnxruntime`"""
    measured_at: str
    """ISO 8601, UTC"""
    validation_images: int | None = None
    """how many examples `accuracy_drop` and its interval are of"""
    images: dict[str, int] = field(default_factory=dict)
    """examples that accuracies are of, by split: all of it, or a random part where the time for all was not there"""
    rounds: dict[str, int] = field(default_factory=dict)
    """rounds that speeds are of, by batch size; fewer where the time for more was not there"""

    conformal: dict[str, Any] | None = None
    """`calibrated_on` examples of the validation split, and `levels` (see `conformal`); None where none were made"""

    def as_card(self) -> dict[str, Any]:
        """Return what a variant's card says."""
        card = asdict(self)
        for name in ("accuracy_drop_interval", "speedup_interval", "parent_speedup_interval"):
            card[name] = None if card[name] is None else list(card[name])
        return card


@dataclass(frozen=True)
class Unmeasurable:
    """The file can't be loaded or run on this provider."""

    reason: str

    def as_card(self) -> dict[str, Any]:
        """Return what a variant's card says."""
        return {"unmeasurable": self.reason}


Measurement = Figures | Unmeasurable
