"""The gate: which of the measured variants are accepted, which are refused and why, and which one is the default.

A variant is accepted if the interval of its loss of accuracy stays within the spec's limit, and if it is faster than
fp32 and than the variant it was made from, by more than the noise of the measurement. Where the objective is size or
accuracy, it need not be faster, only not slower; where it is size, its file must be smaller too. A refused variant is
published all the same, with the reasons. Each provider is judged alone: a variant may be worth it on one and not on
another.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models_store.spec import sample_size
from models_store.targets import Answers, Target
from models_store.wording import inflected
from workers.export.figures import Figures, Measurement, Unmeasurable

if TYPE_CHECKING:  # the measuring process is spared pydantic
    from models_store.spec.compression import Objective

# N examples

BASELINE = "fp32"
CONTROL = "control"
ROUNDING = 1e-9  # a drop of exactly the limit is within it, whatever binary fractions make of it
FASTER = 1.03
"""A variant is faster when its whole interval is above this: sessions of the very same file were up to 2.5 % apart (a
MobileNetV3 at 224 pixels, on a machine with other work), by where their weights happen to lie in memory, and rounds of
the same sessions never average that out."""
MOST_PLACES = 9  # of a figure in a reason
AS_SMALL = 1.01  # files are as small as the smallest up to this factor
BATCH_DEPENDENT = (
    "an example's answer depends on the others of its request, because the ranges of activations are found over "
    "the whole batch (by `parity.batch_difference`, where it was measured). It is never served by default; name it in "
    "a request to use it"
)
YARDSTICK = "is the control for the pruned variant: the same net after the same further training, not a smaller variant"


@dataclass(frozen=True)
class Drop:
    """Accuracy lost (negative: won), and the ends of the 95 % interval of that."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Candidate:
    """A variant at the gate, on one provider."""

    measurement: Measurement
    size_bytes: int
    parent: str | None = BASELINE
    """the variant this one was made from; None for fp32 itself"""
    stopped: str | None = None
    """why it lost too much on the way; what its file loses is then not reported again"""
    batch_dependent: bool = False
    """an example's answer depends on the others of the call: two calls differ, and no figure here tells it"""
    sparse: bool = False
    """single weights of it are zero, which take as many bytes in the file as others"""


@dataclass(frozen=True)
class Verdict:
    """What the gate says of one variant."""

    accepted: bool
    reasons: tuple[str, ...]
    """why not; empty when accepted"""


@dataclass(frozen=True)
class Choice:
    """The verdict on every variant, and the variant to serve by default."""

    verdicts: dict[str, Verdict]
    default: str


def paired_drop(target: Target, answered: Answers, others: Answers, truths: NDArray[Any]) -> Drop:
    """Return the accuracy that `answered` loses against `others`, both of the same examples, with its interval.

    The accuracies are `Target.score`. Paired, because both see the same examples: what is hard for
    both cancels out. The interval holds the losses that a score test does not refuse (as Wilson's of a share, 1927,
    doi:10.1080/01621459.1927.10502953): the mean of an example's loss is tested with the variance that it would have if
    the loss were the tested one. That is the variance measured, and what the lost examples would add that were not
    drawn, each of which costs 1: it is right and becomes wrong, or its number becomes no better than the mean.
    So even answers that are all alike leave room for a loss, and the ends hold their level with few examples.
    """
    value = target.score(others, truths) - target.score(answered, truths)
    if not np.isfinite(value):
        return Drop(value, value, value)
    unseen = sample_size.unseen_loss(len(truths))
    lost_N = target.lost_each(answered, others, truths)
    if lost_N is None:
        return Drop(value, value - 1, value + 1)
    if not target.is_share:
        half_width = _half_width(unseen, float(lost_N.var(ddof=1)))
        return Drop(value, value - half_width, value + half_width)
    half_width = _half_width(unseen, float(lost_N.var()))
    return Drop(value, max(value - half_width, -1.0), min(value + half_width, 1.0))


def _half_width(unseen: float, variance: float) -> float:
    # h² = z² / N (variance + h · 1²), solved for h
    return (unseen + math.sqrt(unseen**2 + 4 * unseen * variance)) / 2


def choose(
    variants: Mapping[str, Candidate], *, max_accuracy_drop: float, objective: "Objective" = "latency"
) -> Choice:
    """Return which variants are accepted and why not the others; the default is the best accepted one by `objective`.

    `variants` holds `fp32`, measured, which is always accepted. Accuracy is compared with fp32, speed with fp32 and
    with the variant's parent: one that was quantised after pruning must be faster than the pruned one. For size and
    accuracy it is enough that a variant is not slower; for size its file has to be smaller than fp32's. The best is the
    fastest (latency), the smallest file (size), or the most accurate on the validation split (accuracy). Of those that
    are nearly as good in that, the next of speed, accuracy and size decides.
    """
    least = FASTER if objective == "latency" else 1 / FASTER
    below_bytes = variants[BASELINE].size_bytes if objective == "size" else None
    verdicts = {
        name: _judge(name, candidate, max_accuracy_drop=max_accuracy_drop, least=least, below_bytes=below_bytes)
        for name, candidate in variants.items()
    }
    best = {
        name: (candidate.measurement, candidate.size_bytes)
        for name, candidate in variants.items()
        if verdicts[name].accepted and isinstance(candidate.measurement, Figures)
    }
    for near_the_best in _ORDER[objective]:
        best = near_the_best(best)
    # what is left is alike in everything: the fastest, and of those the one named first
    return Choice(verdicts, max(best, key=lambda name: best[name][0].speedup))


def _fast(variants: "_Variants") -> "_Variants":
    """Return the fastest variant, and those that measuring can't tell from it."""
    fastest = max((figures for figures, _ in variants.values()), key=lambda figures: figures.speedup)
    return {
        name: variant
        for name, variant in variants.items()
        if FASTER * variant[0].speedup >= fastest.speedup
        or variant[0].speedup_interval[1] >= fastest.speedup_interval[0]
    }


def _small(variants: "_Variants") -> "_Variants":
    smallest = min(size_bytes for _, size_bytes in variants.values())
    return {name: variant for name, variant in variants.items() if variant[1] <= AS_SMALL * smallest}


def _accurate(variants: "_Variants") -> "_Variants":
    most = max(figures.accuracy["val"] for figures, _ in variants.values())
    return {name: variant for name, variant in variants.items() if variant[0].accuracy["val"] >= most - ROUNDING}


_Variants = dict[str, tuple[Figures, int]]
"""variant → what was measured, and the bytes of its file"""
_ORDER: dict["Objective", tuple[Callable[[_Variants], _Variants], ...]] = {
    "latency": (_fast, _accurate, _small),
    "size": (_small, _fast, _accurate),
    "accuracy": (_accurate, _fast, _small),
}


def _judge(
    name: str, candidate: Candidate, *, max_accuracy_drop: float, least: float, below_bytes: int | None
) -> Verdict:
    if name == BASELINE:
        return Verdict(accepted=True, reasons=())
    reasons = [] if candidate.stopped is None else [candidate.stopped]
    if candidate.batch_dependent:
        reasons.append(BATCH_DEPENDENT)
    if name == CONTROL:
        reasons.append(YARDSTICK)
    if isinstance(candidate.measurement, Unmeasurable):
        return Verdict(accepted=False, reasons=(*reasons, candidate.measurement.reason))
    figures = candidate.measurement
    if candidate.stopped is None:
        reasons += _too_wrong(figures, max_accuracy_drop=max_accuracy_drop)
    reasons += _too_slow(BASELINE, figures.speedup, figures.speedup_interval, least=least)
    if candidate.parent not in {None, BASELINE} and figures.parent_speedup_interval is not None:
        assert figures.parent_speedup is not None, "an interval is of a figure"
        reasons += _too_slow(
            str(candidate.parent), figures.parent_speedup, figures.parent_speedup_interval, least=least
        )
    if below_bytes is not None:
        reasons += _too_large(candidate, below_bytes=below_bytes)
    return Verdict(accepted=not reasons, reasons=tuple(reasons))


def loss_beyond_limit(drop: Drop, *, accuracy: float, allowed: float) -> str | None:
    """Return that a variant of this accuracy loses more than is allowed, and how much; None where it doesn't."""
    if drop.value <= allowed + ROUNDING:  # False for what is no number
        return None
    places = _places(drop.value, beside=allowed, least=4)
    return (
        f"loses {drop.value:.{places}f} of accuracy on the validation split ({accuracy:.{places}f} against "
        f"{accuracy + drop.value:.{places}f}; 95 % interval of the loss {drop.low:.4f} to {drop.high:.4f}); at most "
        f"{allowed:g} is allowed"
    )


def too_few_examples(drop: Drop, *, accuracy: float, allowed: float, examples: int | None) -> str | None:
    """Return that the examples are too few to exclude a larger loss than is allowed; None where they are enough.

    `examples` is how many the interval is of; None leaves out how many would be needed.
    """
    if drop.high <= allowed + ROUNDING:  # False for what is no number
        return None
    places = _places(drop.high, beside=allowed, least=4)
    on = "the validation examples" if examples is None else f"{examples:,} validation {inflected(examples, 'example')}"
    return (
        f"not enough examples to decide: on {on} its loss of accuracy is {drop.value:.4f} "
        f"({accuracy:.4f} against {accuracy + drop.value:.4f}), and its 95 % interval, {drop.low:.4f} to "
        f"{drop.high:.{places}f}, reaches beyond the allowed "
        f"{allowed:g}{'' if examples is None else _needed(drop, allowed=allowed, examples=examples)}"
    )


def _needed(drop: Drop, *, allowed: float, examples: int) -> str:
    half_width = drop.high - drop.value
    variance = max(half_width**2 / sample_size.unseen_loss(examples) - half_width, 0.0)
    likely = max(drop.value, 0.0)  # more examples would hardly win as much again
    needed = sample_size.examples_needed(likely, max_loss=allowed - ROUNDING, variance=variance)
    if needed is None:
        return "; no number of examples can prove that nothing is lost: allow a loss above 0" if allowed == 0 else ""
    step = 10 ** max(len(str(needed)) - 3, 0)
    return f"; at least about {step * math.ceil(needed / step):,} validation examples would be needed"


def _too_wrong(figures: Figures, *, max_accuracy_drop: float) -> list[str]:
    assert figures.accuracy_drop_interval is not None, "only fp32 has none, and it is not judged"
    drop, accuracy = Drop(figures.accuracy_drop, *figures.accuracy_drop_interval), figures.accuracy["val"]
    reported = loss_beyond_limit(drop, accuracy=accuracy, allowed=max_accuracy_drop) or too_few_examples(
        drop, accuracy=accuracy, allowed=max_accuracy_drop, examples=figures.validation_images
    )
    return [] if reported is None else [reported]


def _too_slow(other: str, ratio: float, interval: tuple[float, float], *, least: float) -> list[str]:
    low, high = interval
    if low > least:  # False for what is no number
        return []
    places = max(_places(value, beside=least, least=2) for value in (low, ratio))
    measured = f"{ratio:.{places}f} times its speed (95 % interval {low:.{places}f} to {high:.{places}f})"
    if ratio > min(least, 1):
        needed = f"the whole interval must be above {least:.3g}"
        wanted = "faster than" if least > 1 else "as fast as"
        return [f"is not {wanted} {other} by more than the noise of the measurement: {measured}; {needed}"]
    return [f"is {'not faster' if least > 1 else 'slower'} than {other}: {measured}"]


def _too_large(candidate: Candidate, *, below_bytes: int) -> list[str]:
    if AS_SMALL * candidate.size_bytes < below_bytes:
        return []
    reported = (
        f"is not smaller than {BASELINE} by more than {100 * (AS_SMALL - 1):.0f} %: its file has "
        f"{candidate.size_bytes:,} bytes, {BASELINE}'s {below_bytes:,}"
    )
    return [f"{reported}; its zeros save space only when the file is compressed" if candidate.sparse else reported]


def _places(value: float, *, beside: float, least: int) -> int:
    """Return how many decimal places tell the value from what it is held against: `least`, MOST_PLACES at most."""
    places = least
    while places < MOST_PLACES and value != beside and f"{value:.{places}f}" == f"{beside:.{places}f}":
        places += 1
    return places
