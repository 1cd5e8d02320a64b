"""Metrics of a classifier's answers: loss, accuracies, one row per class, confusions, ranking and calibration.

A figure that the examples do not define is None, and `undefined` says why.
"""

# N examples, K classes

from typing import Any

import numpy as np
import numpy.typing as npt

from models_store.targets import ONE_CLASS
from workers.evaluation import calibration, ranking
from workers.evaluation.calibration import SMALLEST_PROBABILITY, Scores

Classes = npt.NDArray[np.integer[Any]]

TOP = 5
ABSENT = "the split has no example of it"
ALONE = "the split has examples of no other class"
NOT_FINITE = "some answers are not finite numbers"


def evaluate(probabilities_NK: Scores, labels_N: Classes, classes: list[str]) -> dict[str, Any]:
    """Return the headline figures, `per_class`, `confusion_matrix`, `reliability` and `undefined`, ready for JSON.

    `loss` is the mean of -log of the true class's probability. Balanced accuracy and everything macro are means over
    the classes that the split has examples of; a class that is never answered has a precision and an F1 of 0. Row i of
    the confusion matrix counts the examples of class i by the class answered.
    """
    count, class_count = probabilities_NK.shape
    assert count == len(labels_N), f"{count} answers to {len(labels_N)} labels"
    assert count > 0, "there is nothing to evaluate"
    assert class_count == len(classes), f"{class_count} probabilities for {len(classes)} classes"
    answers_N = ONE_CLASS.answers(probabilities_NK)
    confusion_KK = np.zeros((class_count, class_count), dtype=np.int64)
    np.add.at(confusion_KK, (labels_N, answers_N), 1)
    rows = _per_class(confusion_KK, classes)
    is_finite = bool(np.isfinite(probabilities_NK).all())
    if is_finite:
        _rank(rows, probabilities_NK, labels_N)
    summary = {
        "images": count,
        "accuracy": ONE_CLASS.score(answers_N, labels_N),
        "top5_accuracy": float(in_top(probabilities_NK, labels_N).mean()) if class_count > TOP else None,
        **calibrated(probabilities_NK, labels_N),
        "balanced_accuracy": ONE_CLASS.balanced_score(answers_N, labels_N),
        **_averages(rows),
    }
    return summary | {
        "undefined": _reasons(summary, is_finite=is_finite),
        "per_class": rows,
        "confusion_matrix": confusion_KK.tolist(),
    }


def in_top(probabilities_NK: Scores, labels_N: Classes) -> npt.NDArray[np.bool_]:
    """Return whether the true class is among the five likeliest; of equal ones the first counts first, as in argmax."""
    ranked_NK = (-probabilities_NK).argsort(axis=1, kind="stable")
    is_in_N: npt.NDArray[np.bool_] = (ranked_NK[:, :TOP] == labels_N[:, None]).any(axis=1)
    return is_in_N


def losses(probabilities_NK: Scores, labels_N: Classes) -> npt.NDArray[np.float64]:
    """Return -log of the true class's probability of each example (N,); one of 0 costs as much as 1e-12."""
    true_N = probabilities_NK[np.arange(len(labels_N)), labels_N].astype(np.float64)
    return -np.log(np.maximum(true_N, SMALLEST_PROBABILITY))


def calibrated(probabilities_NK: Scores, labels_N: Classes) -> dict[str, Any]:
    """Return `loss`, `expected_calibration_error` and `reliability`; None where an answer is not finite."""
    if not np.isfinite(probabilities_NK).all():
        return dict.fromkeys(("loss", "expected_calibration_error", "reliability"))
    confidences_N = probabilities_NK.max(axis=1)
    right_N = ONE_CLASS.answers(probabilities_NK) == labels_N
    return {
        "loss": float(losses(probabilities_NK, labels_N).mean()),
        "expected_calibration_error": calibration.expected_calibration_error(confidences_N, right_N),
        "reliability": calibration.reliability(confidences_N, right_N),
    }


def _per_class(confusion_KK: npt.NDArray[np.int64], classes: list[str]) -> list[dict[str, Any]]:
    right_K = confusion_KK.diagonal()
    support_K = confusion_KK.sum(axis=1)
    precision_K = right_K / np.maximum(confusion_KK.sum(axis=0), 1)
    recall_K = right_K / np.maximum(support_K, 1)
    sum_K = precision_K + recall_K
    f1_K = 2 * precision_K * recall_K / np.where(sum_K == 0, 1, sum_K)
    return [
        {
            "label": label,
            "precision": float(precision_K[number]) if support_K[number] else None,
            "recall": float(recall_K[number]) if support_K[number] else None,
            "f1": float(f1_K[number]) if support_K[number] else None,
            "roc_auc": None,
            "average_precision": None,
            "support": int(support_K[number]),
            "undefined": None if support_K[number] else ABSENT,
        }
        for number, label in enumerate(classes)
    ]


def _rank(rows: list[dict[str, Any]], probabilities_NK: Scores, labels_N: Classes) -> None:
    """Add each class's areas below its curves, one class against the rest."""
    for number, row in enumerate(rows):
        members_N = labels_N == number
        row["roc_auc"] = ranking.roc_auc(members_N, probabilities_NK[:, number])
        row["average_precision"] = ranking.average_precision(members_N, probabilities_NK[:, number])
        if row["roc_auc"] is None and row["support"]:
            row["undefined"] = ALONE


def _averages(rows: list[dict[str, Any]]) -> dict[str, float | None]:
    present = [row for row in rows if row["support"]]
    support = np.array([row["support"] for row in present])
    averages: dict[str, float | None] = {}
    for name in ("precision", "recall", "f1"):
        values = np.array([row[name] for row in present])
        averages[f"{name}_macro"] = float(values.mean())
        averages[f"{name}_weighted"] = float((values * support).sum() / support.sum())
    for name in ("roc_auc", "average_precision"):
        defined = [row[name] for row in present if row[name] is not None]
        averages[f"{name}_macro"] = float(np.mean(defined)) if defined else None
    return averages


def _reasons(summary: dict[str, Any], *, is_finite: bool) -> dict[str, str]:
    reason = "the split has examples of one class alone" if is_finite else NOT_FINITE
    reasons = {name: reason for name in ONE_CLASS.headline if summary[name] is None}
    few = {"top5_accuracy": "there are no more than five classes"} if "top5_accuracy" in reasons and is_finite else {}
    return reasons | few
