"""How good the answers are: loss, accuracies, one row per class, and the confusion matrix."""

# N examples, K classes

from typing import Any

import numpy as np
import numpy.typing as npt

SMALLEST_PROBABILITY = 1e-12


def evaluate(
    probabilities_NK: npt.NDArray[np.floating[Any]], labels_N: npt.NDArray[np.integer[Any]], classes: list[str]
) -> dict[str, Any]:
    """Return `loss`, `accuracy`, `top5_accuracy`, `per_class` and `confusion_matrix`, ready for JSON.

    `loss` is the mean of -log of the true class's probability. A precision, recall or F1 whose divisor is 0 is 0.
    Row i of the confusion matrix counts the examples of class i by the class answered.
    """
    count, class_count = probabilities_NK.shape
    assert count == len(labels_N), f"{count} answers to {len(labels_N)} labels"
    assert count > 0, "there is nothing to evaluate"
    assert class_count == len(classes), f"{class_count} probabilities for {len(classes)} classes"
    answers_N = probabilities_NK.argmax(axis=1)
    true_N = probabilities_NK[np.arange(count), labels_N].astype(np.float64)
    ranked_NK = (-probabilities_NK).argsort(
        axis=1, kind="stable"
    )  # of equal ones the first class stands first, as in argmax
    confusion_KK = np.zeros((class_count, class_count), dtype=np.int64)
    np.add.at(confusion_KK, (labels_N, answers_N), 1)
    return {
        "loss": float(-np.log(np.maximum(true_N, SMALLEST_PROBABILITY)).mean()),
        "accuracy": float((answers_N == labels_N).mean()),
        "top5_accuracy": float((ranked_NK[:, :5] == labels_N[:, None]).any(axis=1).mean()),
        "per_class": _per_class(confusion_KK, classes),
        "confusion_matrix": confusion_KK.tolist(),
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
            "precision": float(precision),
            "recall": float(recall),
            "f1": float(f1),
            "support": int(support),
        }
        for label, precision, recall, f1, support in zip(classes, precision_K, recall_K, f1_K, support_K, strict=True)
    ]
