"""Intervals of 95 % for figures by the percentile bootstrap (Efron 1979, Bootstrap methods).

Examples are drawn with replacement, the figure is calculated on each draw, and the middle 95 % of those are the
interval. Figures that depend on counts alone are drawn as counts: a multinomial over the kinds of example there are is
the same distribution, and costs nothing on a large split. The others are calculated for many draws at once.

A figure made of absolute values, as the expected calibration error is, comes out larger on a draw than on the split.
Its values are moved down by their estimated bias (Efron and Tibshirani 1993, An introduction to the bootstrap, ch. 10).
"""

# N examples, K classes, S resamples, C kinds of example

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from models_store.targets import ONE_CLASS
from workers.evaluation import calibration
from workers.evaluation.calibration import BINS, Scores
from workers.evaluation.metrics import TOP, Classes, in_top, losses

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Intervals = dict[str, dict[str, Any] | None]

LEVEL = 0.95
CHUNK = 2_000_000  # drawn examples at a time
COST_LIMIT = 500_000_000  # elements that one family of figures may cost: some seconds
FEWEST_SAMPLES = 100  # fewer say nothing of a tail of 2.5 %


def classification(probabilities_NK: Scores, labels_N: Classes, *, samples: int, seed: int) -> Intervals:
    """Return figure → `low`, `high` and `samples`; None where nothing defines it, or a split is too large for it.

    A resample that does not define a figure (an area below the curve, with one class) is left out. A split of one
    example, or with answers that are not finite, has no intervals.
    """
    if len(labels_N) < 2 or not np.isfinite(probabilities_NK).all():  # noqa: PLR2004  one example varies in nothing
        return {}
    generator = np.random.default_rng(seed)
    return {
        **_of_counts(probabilities_NK, labels_N, samples=samples, generator=generator),
        **_of_sums(probabilities_NK, labels_N, samples=samples, generator=generator),
        **of_rankings(
            probabilities_NK,
            labels_N[:, None] == np.arange(probabilities_NK.shape[1]),
            samples=samples,
            generator=generator,
        ),
    }


def affordable(samples: int, *, cost_of_one: int) -> int:
    """Return how many resamples are calculated: all, fewer on a large split, or none."""
    possible = min(samples, COST_LIMIT // max(cost_of_one, 1))
    return possible if possible >= min(samples, FEWEST_SAMPLES) else 0


def interval(values_S: Floats) -> dict[str, Any] | None:
    """Return the middle 95 % of the values that are defined; None where all are alike: resampling can't tell more."""
    defined = values_S[np.isfinite(values_S)]
    if len(defined) == 0 or np.ptp(defined) == 0:
        return None
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {"low": float(low), "high": float(high), "samples": len(defined)}


def without_bias(values_S: Floats, figure: float) -> Floats:
    """Return the values less their bias, which is their mean less the split's own figure; none is below 0."""
    unbiased_S: Floats = np.maximum(values_S - (values_S.mean() - figure), 0)
    return unbiased_S


def collect(
    names: tuple[str, ...],
    *,
    count: int,
    samples: int,
    generator: np.random.Generator,
    of: Callable[..., list[Floats]],
    biased: Mapping[str, float] = MappingProxyType({}),
) -> Intervals:
    """Return the intervals of what `of` calculates from drawn rows (S, N); each of its values is (S,).

    `biased` names the figures whose values are rid of their bias, each with what it is on the split itself.
    """
    parts = [of(drawn_SN) for drawn_SN in draws(count, samples=samples, generator=generator)]
    if not parts:
        return dict.fromkeys(names)
    columns = dict(zip(names, (np.concatenate(column) for column in zip(*parts, strict=True)), strict=True))
    columns |= {name: without_bias(columns[name], figure) for name, figure in biased.items()}
    return {name: interval(values_S) for name, values_S in columns.items()}


def draws(count: int, *, samples: int, generator: np.random.Generator) -> Iterator[Counts]:
    """Yield drawn rows (S, N), some resamples at a time, `samples` in all."""
    at_once = max(1, CHUNK // count)
    for start in range(0, samples, at_once):
        yield generator.integers(0, count, (min(at_once, samples - start), count))


def of_rankings(
    scores_NK: Scores, members_NK: npt.NDArray[np.bool_], *, samples: int, generator: np.random.Generator
) -> Intervals:
    """Return the intervals of the macro areas below the ROC and the precision-recall curves."""
    names = ("roc_auc_macro", "average_precision_macro")
    count, class_count = scores_NK.shape
    wanted_K = [number for number in range(class_count) if 0 < members_NK[:, number].sum() < count]
    possible = affordable(samples, cost_of_one=count * len(wanted_K))
    rankings = [_Ranking(scores_NK[:, number], members_NK[:, number]) for number in wanted_K] if possible else []

    def areas(drawn_SN: Counts) -> list[Floats]:
        weights_NS = times_drawn(drawn_SN).T.astype(np.int32, order="C")
        pairs = [each.areas(weights_NS) for each in rankings]
        return [mean_of_defined(np.stack(column)) for column in zip(*pairs, strict=True)]

    return collect(names, count=count, samples=possible if rankings else 0, generator=generator, of=areas)


def times_drawn(drawn_SN: Counts) -> Counts:
    """Return how often each example (S, N) is among the drawn rows (S, N)."""
    samples, count = drawn_SN.shape
    places_SN = drawn_SN + count * np.arange(samples)[:, None]
    return np.bincount(places_SN.ravel(), minlength=samples * count).reshape(samples, count)


def mean_of_defined(values_KS: Floats) -> Floats:
    """Return the mean over the classes that are defined, (S,); not a number where none is."""
    defined_KS = np.isfinite(values_KS)
    with np.errstate(invalid="ignore"):
        means_S: Floats = np.where(defined_KS, values_KS, 0).sum(axis=0) / defined_KS.sum(axis=0)
    return means_S


class _Ranking:
    """The examples by falling score, prepared once for every resample. Ties count half, as scikit-learn has it."""

    def __init__(self, scores_N: Scores, members_N: npt.NDArray[np.bool_]) -> None:
        self.order = np.argsort(-scores_N, kind="stable")
        sorted_N = scores_N[self.order]
        group_N = np.concatenate([[0], np.cumsum(sorted_N[1:] != sorted_N[:-1])])
        self.places = np.flatnonzero(members_N[self.order])  # of the class's own examples
        own_P = group_N[self.places]
        self.first = np.searchsorted(group_N, own_P, side="left")  # of those tied with each of its own
        self.end = np.searchsorted(group_N, own_P, side="right")
        self.own_first = np.searchsorted(own_P, own_P, side="left")
        self.own_end = np.searchsorted(own_P, own_P, side="right")

    def areas(self, weights_NS: npt.NDArray[np.int32]) -> tuple[Floats, Floats]:
        """Return the areas (S,) below the ROC and the precision-recall curve, where each example counts as often."""
        sorted_NS = weights_NS[self.order]
        own_PS = sorted_NS[self.places]
        above_NS, own_above_PS = _running(sorted_NS), _running(own_PS)
        total_S, own_S = above_NS[-1].astype(np.float64), own_above_PS[-1].astype(np.float64)
        others_before_PS = above_NS[self.first] - own_above_PS[self.own_first]
        others_after_PS = above_NS[self.end] - own_above_PS[self.own_end]
        with np.errstate(invalid="ignore", divide="ignore"):
            beaten_PS = (total_S - own_S) - (others_before_PS + others_after_PS) / 2
            area_S = (own_PS * beaten_PS).sum(axis=0) / (own_S * (total_S - own_S))
            precision_PS = own_above_PS[self.own_end] / np.maximum(above_NS[self.end], 1)
            average_S = (own_PS * precision_PS).sum(axis=0) / own_S
        return area_S, np.where(np.isfinite(area_S), average_S, np.nan)


def _of_counts(
    probabilities_NK: Scores, labels_N: Classes, *, samples: int, generator: np.random.Generator
) -> Intervals:
    """Return the intervals of what a confusion matrix holds, and of the top-5 accuracy."""
    class_count = probabilities_NK.shape[1]
    kinds_NX = np.stack([labels_N, ONE_CLASS.answers(probabilities_NK), in_top(probabilities_NK, labels_N)], axis=1)
    kinds_CX, counts_C = np.unique(kinds_NX, axis=0, return_counts=True)
    labels_C, answers_C, in_top_C = kinds_CX.T
    averages = ("precision_macro", "recall_macro", "f1_macro", "precision_weighted", "recall_weighted", "f1_weighted")
    names = ("accuracy", "top5_accuracy", "balanced_accuracy", *averages)
    possible = affordable(samples, cost_of_one=10 * len(counts_C) + 10 * class_count)
    if not possible:
        return dict.fromkeys(names)
    drawn_SC = generator.multinomial(len(labels_N), counts_C / counts_C.sum(), size=possible)
    right_C = labels_C == answers_C
    support_SK = _summed(drawn_SC, labels_C, class_count)
    answered_SK = _summed(drawn_SC, answers_C, class_count)
    right_SK = _summed(drawn_SC[:, right_C], labels_C[right_C], class_count)
    with np.errstate(invalid="ignore"):
        recall_SK = right_SK / support_SK  # without support not a number: left out of the means
        precision_SK = np.where(support_SK > 0, right_SK / np.maximum(answered_SK, 1), np.nan)
        f1_SK = np.where(support_SK > 0, 2 * right_SK / np.maximum(support_SK + answered_SK, 1), np.nan)
    macro = [mean_of_defined(values_SK.T) for values_SK in (precision_SK, recall_SK, f1_SK)]
    weighted = [
        np.nansum(values_SK * support_SK, axis=1) / len(labels_N) for values_SK in (precision_SK, recall_SK, f1_SK)
    ]
    accuracy_S = drawn_SC[:, right_C].sum(axis=1) / len(labels_N)
    top_S = drawn_SC[:, in_top_C.astype(bool)].sum(axis=1) / len(labels_N)
    columns = [accuracy_S, top_S, macro[1], *macro, *weighted]
    found = {name: interval(values_S) for name, values_S in zip(names, columns, strict=True)}
    if found["accuracy"] is None:
        found["accuracy"] = _of_all_alike(len(labels_N), accuracy=float(accuracy_S[0]), samples=possible)
    return found | ({} if class_count > TOP else {"top5_accuracy": None})


def _of_sums(probabilities_NK: Scores, labels_N: Classes, *, samples: int, generator: np.random.Generator) -> Intervals:
    """Return the intervals of the loss and of the expected calibration error."""
    count = len(labels_N)
    losses_N = losses(probabilities_NK, labels_N)
    confidences_N = probabilities_NK.max(axis=1).astype(np.float64)
    bins_N = calibration.bin_of(confidences_N)
    gaps_N = (ONE_CLASS.answers(probabilities_NK) == labels_N) - confidences_N

    def sums(drawn_SN: Counts) -> list[Floats]:
        places_SN = bins_N[drawn_SN] + BINS * np.arange(len(drawn_SN))[:, None]
        gaps_M = np.bincount(places_SN.ravel(), weights=gaps_N[drawn_SN].ravel(), minlength=BINS * len(drawn_SN))
        return [losses_N[drawn_SN].mean(axis=1), np.abs(gaps_M.reshape(-1, BINS)).sum(axis=1) / count]

    names = ("loss", "expected_calibration_error")
    possible = affordable(samples, cost_of_one=5 * count)
    error = calibration.expected_calibration_error(confidences_N, ONE_CLASS.answers(probabilities_NK) == labels_N)
    biased = {"expected_calibration_error": error}
    return collect(names, count=count, samples=possible, generator=generator, of=sums, biased=biased)


def _of_all_alike(count: int, *, accuracy: float, samples: int) -> dict[str, Any]:
    """Return the exact interval of a share of all or of none (Clopper and Pearson 1934): every resample is the same."""
    bound = ((1 - LEVEL) / 2) ** (1 / count)
    low, high = (bound, 1.0) if accuracy == 1 else (0.0, 1 - bound)
    return {"low": low, "high": high, "samples": samples}


def _summed(drawn_SC: Counts, groups_C: Counts, group_count: int) -> Floats:
    """Return the drawn counts (S, K) of each group of kinds."""
    sums_SK = np.zeros((len(drawn_SC), group_count))
    order = np.argsort(groups_C, kind="stable")
    present, starts = np.unique(groups_C[order], return_index=True)
    if len(present):
        sums_SK[:, present] = np.add.reduceat(drawn_SC[:, order], starts, axis=1)
    return sums_SK


def _running(values_NS: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Return the sums (N + 1, S) of the first 0, 1, … rows."""
    sums_NS = np.zeros((len(values_NS) + 1, values_NS.shape[1]), dtype=np.int32)
    np.cumsum(values_NS, axis=0, out=sums_NS[1:])
    return sums_NS
