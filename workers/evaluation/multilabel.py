"""Metrics of labels: each label is a yes or no of its own, at 0.5."""

# N examples, K labels

from typing import Any

import numpy as np
import numpy.typing as npt

from models_store.targets import LABELS
from workers.evaluation import bootstrap, calibration, ranking
from workers.evaluation.bootstrap import Counts, Floats, Intervals
from workers.evaluation.calibration import BINS, SMALLEST_PROBABILITY, Scores
from workers.evaluation.metrics import NOT_FINITE

Members = npt.NDArray[np.bool_]

NOBODY, EVERYBODY = "no example in this split has this label", "every example in this split has this label"


def evaluate(probabilities_NK: Scores, members_NK: Members, labels: list[str]) -> dict[str, Any]:
    """Return the headline figures, `per_class` (a row per label), `reliability` and `undefined`, ready for JSON.

    `accuracy` is the share of right yes and no of all examples and labels, `exact_match` that of examples whose labels
    are all right, `loss` the binary cross-entropy. Everything macro, and the mean average precision, are means over the
    labels that define them. Confidence, for calibration, is that of each yes or no.
    """
    count = len(members_NK)
    assert probabilities_NK.shape == members_NK.shape == (count, len(labels)), "an answer per example and label"
    assert count > 0, "there is nothing to evaluate"
    is_finite = bool(np.isfinite(probabilities_NK).all())
    answers_NK = LABELS.answers(probabilities_NK)
    rows = [
        _row(label, members_NK[:, number], answers_NK[:, number], probabilities_NK[:, number] if is_finite else None)
        for number, label in enumerate(labels)
    ]
    right_NK = answers_NK == members_NK
    hit = int((answers_NK & members_NK).sum())
    summary: dict[str, Any] = {
        "images": count,
        "accuracy": LABELS.score(answers_NK, members_NK),
        "exact_match": float(right_NK.all(axis=1).mean()),
        **calibrated(probabilities_NK, members_NK),
        "precision_micro": _share(hit, int(answers_NK.sum())),
        "recall_micro": _share(hit, int(members_NK.sum())),
        "f1_micro": _share(2 * hit, int(answers_NK.sum() + members_NK.sum())),
        "f1_macro": _mean(rows, "f1"),
        "mean_average_precision": _mean(rows, "average_precision"),
        "roc_auc_macro": _mean(rows, "roc_auc"),
    }
    reason = "no label defines it: each is borne by all examples or by none" if is_finite else NOT_FINITE
    return summary | {
        "undefined": {name: reason for name in LABELS.headline if summary[name] is None},
        "per_class": rows,
    }


def calibrated(probabilities_NK: Scores, members_NK: Members) -> dict[str, Any]:
    """Return `loss`, `expected_calibration_error` and `reliability`; None where an answer is not finite."""
    if not np.isfinite(probabilities_NK).all():
        return dict.fromkeys(("loss", "expected_calibration_error", "reliability"))
    sure, right = confidences(probabilities_NK).ravel(), (LABELS.answers(probabilities_NK) == members_NK).ravel()
    return {
        "loss": float(losses(probabilities_NK, members_NK).mean()),
        "expected_calibration_error": calibration.expected_calibration_error(sure, right),
        "reliability": calibration.reliability(sure, right),
    }


def losses(probabilities_NK: Scores, members_NK: Members) -> npt.NDArray[np.float64]:
    """Return the binary cross-entropy of each example (N,), the mean over its labels."""
    likely_NK = np.where(members_NK, probabilities_NK, 1 - probabilities_NK.astype(np.float64))
    each_N: npt.NDArray[np.float64] = -np.log(np.maximum(likely_NK, SMALLEST_PROBABILITY)).mean(axis=1)
    return each_N


def confidences(probabilities_NK: Scores) -> npt.NDArray[np.float64]:
    """Return how sure each yes or no is, (N, K)."""
    sure_NK = probabilities_NK.astype(np.float64)
    return np.maximum(sure_NK, 1 - sure_NK)


def intervals(probabilities_NK: Scores, members_NK: Members, *, samples: int, seed: int) -> Intervals:
    """Return figure → `low`, `high` and `samples`, over draws of examples; as `bootstrap.classification` does."""
    count, label_count = members_NK.shape
    if count < 2 or not np.isfinite(probabilities_NK).all():  # noqa: PLR2004  one example varies in nothing
        return {}
    generator = np.random.default_rng(seed)
    answers_NK = LABELS.answers(probabilities_NK)
    right_NK = answers_NK == members_NK
    hit_NK, answered_NK, borne_NK = (
        each_NK.astype(np.float64) for each_NK in (answers_NK & members_NK, answers_NK, members_NK)
    )
    columns_NX = np.stack([right_NK.mean(axis=1), right_NK.all(axis=1), losses(probabilities_NK, members_NK)], axis=1)
    sure_NK = confidences(probabilities_NK)
    gaps_NM = np.zeros((count, BINS))
    np.add.at(gaps_NM, (np.arange(count)[:, None], calibration.bin_of(sure_NK)), (right_NK - sure_NK) / label_count)

    def figures(drawn_SN: Counts) -> list[Floats]:
        weights_SN = bootstrap.times_drawn(drawn_SN).astype(np.float64)
        means_SX = weights_SN @ columns_NX / count
        hit_SK, answered_SK, borne_SK = (weights_SN @ each_NK for each_NK in (hit_NK, answered_NK, borne_NK))
        hit_S, answered_S, borne_S = (each_SK.sum(axis=1) for each_SK in (hit_SK, answered_SK, borne_SK))
        with np.errstate(invalid="ignore"):
            f1_SK = np.where(borne_SK > 0, 2 * hit_SK / (answered_SK + borne_SK), np.nan)
            micro = [hit_S / answered_S, hit_S / borne_S, 2 * hit_S / (answered_S + borne_S)]
        error_S = np.abs(weights_SN @ gaps_NM).sum(axis=1) / count
        return [*means_SX.T, *micro, bootstrap.mean_of_defined(f1_SK.T), error_S]

    sums = ("precision_micro", "recall_micro", "f1_micro", "f1_macro", "expected_calibration_error")
    names = ("accuracy", "exact_match", "loss", *sums)
    possible = bootstrap.affordable(samples, cost_of_one=count * (label_count + 5))
    biased = {"expected_calibration_error": float(np.abs(gaps_NM.sum(axis=0)).sum() / count)}
    found = bootstrap.collect(names, count=count, samples=possible, generator=generator, of=figures, biased=biased)
    areas = bootstrap.of_rankings(probabilities_NK, members_NK, samples=samples, generator=generator)
    areas["mean_average_precision"] = areas.pop("average_precision_macro")
    return found | areas


def _row(label: str, members_N: Members, answers_N: Members, scores_N: Scores | None) -> dict[str, Any]:
    hit, answered, borne = int((members_N & answers_N).sum()), int(answers_N.sum()), int(members_N.sum())
    reason = NOBODY if borne == 0 else EVERYBODY if borne == len(members_N) else None
    return {
        "label": label,
        "precision": (hit / answered if answered else 0.0) if borne else None,
        "recall": _share(hit, borne),
        "f1": _share(2 * hit, answered + borne) if borne else None,
        "roc_auc": None if scores_N is None else ranking.roc_auc(members_N, scores_N),
        "average_precision": None if scores_N is None else ranking.average_precision(members_N, scores_N),
        "support": borne,
        "undefined": reason,
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _mean(rows: list[dict[str, Any]], name: str) -> float | None:
    defined = [row[name] for row in rows if row[name] is not None]
    return float(np.mean(defined)) if defined else None
