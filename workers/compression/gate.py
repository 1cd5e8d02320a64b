"""Decides which of the measured forms are good enough to be served, and which one is served by default.

A form is accepted when it keeps its accuracy within the spec's limit and is faster than fp32 and than the form it was
made from, by more than measuring can be wrong. One that isn't is published all the same, with the reasons: hiding it
would hide what was measured. All of it is judged on one provider: a form may be worth it on one and not on another.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workers.evaluation import bootstrap
from workers.export.figures import Figures, Measurement, Unmeasurable
from workers.training import scores
from workers.training.scores import Answers

if TYPE_CHECKING:  # the measuring process is spared pydantic
    from models_store.spec.compression import Objective
    from models_store.spec.train import Task

# N images, D distinct losses, S resamples

BASELINE = "fp32"
ROUNDING = 1e-9  # a drop of exactly the limit is within it, whatever binary fractions make of it
SAMPLES = 2000  # resamples of an interval
FASTER = 1.03
"""A form is faster when its whole interval is above this: sessions of the very same file were up to 2.5 % apart (a
MobileNetV3 at 224 pixels, on a machine with other work), by where their weights happen to lie in memory, and rounds of
the same sessions never average that out."""


@dataclass(frozen=True)
class Drop:
    """Accuracy lost (negative: won), and the ends of the 95 % interval of that."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Candidate:
    """A form at the gate, on one provider."""

    measurement: Measurement
    size_bytes: int
    parent: str | None = BASELINE
    """the form this one was made from; None for fp32 itself"""
    stopped: str | None = None
    """why it failed its gate on the way"""


@dataclass(frozen=True)
class Verdict:
    """What the gate says of one form."""

    accepted: bool
    reasons: tuple[str, ...]
    """why not; empty when accepted"""


@dataclass(frozen=True)
class Choice:
    """The verdict on every form, and the form to serve by default."""

    verdicts: dict[str, Verdict]
    default: str


def paired_drop(task: "Task", answered: Answers, others: Answers, targets: NDArray[Any], *, seed: int = 0) -> Drop:
    """Return the accuracy that `answered` loses against `others`, both of the same images, with its interval.

    The accuracies are those of `workers.training.scores`. Paired, because both see the same images: what is hard for
    both cancels out. The interval is a percentile bootstrap over the images (Efron 1979): where no image tells them
    apart, resampling can't either, and it is 0 to 0.
    """
    value = scores.accuracy(task, others, targets) - scores.accuracy(task, answered, targets)
    if not np.isfinite(value):
        return Drop(value, value, value)
    generator = np.random.default_rng(seed)
    if task == "image_regression":
        values_S = _lost_r2(answered, others, targets[:, 0].astype(np.float64), generator)
    else:
        lost_N = _right(task, others, targets) - _right(task, answered, targets)
        lost_D, counts_D = np.unique(lost_N, return_counts=True)
        values_S = generator.multinomial(len(lost_N), counts_D / len(lost_N), size=SAMPLES) @ lost_D / len(lost_N)
    tail = (1 - bootstrap.LEVEL) / 2
    low, high = np.quantile(values_S, [tail, 1 - tail])
    return Drop(value, float(low), float(high))


def choose(forms: Mapping[str, Candidate], *, max_accuracy_drop: float, objective: "Objective" = "latency") -> Choice:
    """Return which forms are accepted and why not the others; the default is the best accepted one by `objective`.

    `forms` holds `fp32`, measured, which is always accepted. Accuracy is compared with fp32, speed with fp32 and with
    the form's parent: a form that was quantised after pruning has to be worth its last step too. The best is the
    fastest (latency), the smallest file (size), or the most accurate on the validation split (accuracy).
    """
    verdicts = {name: _judge(name, candidate, max_accuracy_drop=max_accuracy_drop) for name, candidate in forms.items()}
    worth = _WORTH[objective]
    accepted = {
        name: (candidate.measurement, candidate.size_bytes)
        for name, candidate in forms.items()
        if verdicts[name].accepted and isinstance(candidate.measurement, Figures)
    }
    # between equals, the one named first
    return Choice(verdicts, max(accepted, key=lambda name: worth(*accepted[name])))


_WORTH: dict["Objective", Callable[[Figures, int], tuple[float, float]]] = {
    "latency": lambda figures, _size_bytes: (figures.speedup, figures.accuracy["val"]),
    "size": lambda figures, size_bytes: (-size_bytes, figures.speedup),
    "accuracy": lambda figures, _size_bytes: (figures.accuracy["val"], figures.speedup),
}


def _judge(name: str, candidate: Candidate, *, max_accuracy_drop: float) -> Verdict:
    if name == BASELINE:
        return Verdict(accepted=True, reasons=())
    reasons = [] if candidate.stopped is None else [candidate.stopped]
    if isinstance(candidate.measurement, Unmeasurable):
        return Verdict(accepted=False, reasons=(*reasons, candidate.measurement.reason))
    figures = candidate.measurement
    reasons += _too_wrong(figures, max_accuracy_drop=max_accuracy_drop)
    reasons += _too_slow(BASELINE, figures.speedup, figures.speedup_interval)
    if candidate.parent not in {None, BASELINE} and figures.parent_speedup_interval is not None:
        assert figures.parent_speedup is not None, "an interval is of a figure"
        reasons += _too_slow(str(candidate.parent), figures.parent_speedup, figures.parent_speedup_interval)
    return Verdict(accepted=not reasons, reasons=tuple(reasons))


def _too_wrong(figures: Figures, *, max_accuracy_drop: float) -> list[str]:
    drop, (low, high) = figures.accuracy_drop, figures.accuracy_drop_interval
    if drop <= max_accuracy_drop + ROUNDING:  # False for what is no number
        return []
    own = figures.accuracy["val"]
    compared = f"{own:.4f} against {own + drop:.4f}; 95 % interval of the loss {low:.4f} to {high:.4f}"
    return [
        f"loses {drop:.4f} of accuracy on the validation split ({compared}); at most {max_accuracy_drop:g} is allowed"
    ]


def _too_slow(other: str, ratio: float, interval: tuple[float, float]) -> list[str]:
    low, high = interval
    if low > FASTER:  # False for what is no number
        return []
    measured = f"{ratio:.2f} times its speed (95 % interval {low:.2f} to {high:.2f})"
    if ratio > 1:
        return [f"is not faster than {other} beyond what measuring can be wrong: {measured}; {FASTER:g} is needed"]
    return [f"is not faster than {other}: {measured}"]


def _right(task: "Task", answered: Answers, targets: NDArray[Any]) -> NDArray[np.float64]:
    """Return the share of each image's answer that is right: 0 or 1, or of labels the share."""
    true = targets if task == "image_classification" else targets >= scores.THRESHOLD
    shares_N: NDArray[np.float64] = (answered == true).reshape(len(answered), -1).mean(axis=1)
    return shares_N


def _lost_r2(
    answered_N: Answers, others_N: Answers, true_N: NDArray[np.float64], generator: np.random.Generator
) -> NDArray[np.float64]:
    """Return the loss of R² in each resample; a resample of targets that are all alike is left out."""
    # R² = 1 - left / whole: the loss is the difference of what is left, and `whole` is of the resample itself
    worse_N = np.square(true_N - answered_N) - np.square(true_N - others_N)
    parts = []
    for drawn_SN in bootstrap.draws(len(true_N), samples=SAMPLES, generator=generator):
        drawn_true_SN = true_N[drawn_SN]
        whole_S = np.square(drawn_true_SN - drawn_true_SN.mean(axis=1, keepdims=True)).sum(axis=1)
        lost_S = worse_N[drawn_SN].sum(axis=1)
        parts.append(lost_S[whole_S > 0] / whole_S[whole_S > 0])
    values_S = np.concatenate(parts)
    return values_S if len(values_S) else np.zeros(1)
