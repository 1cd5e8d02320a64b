"""Ranking of one class's examples above the others by its score: ROC, precision and recall, and the areas below."""

# N examples, K classes, P points of a curve

from typing import Any

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.floating[Any]]
Members = npt.NDArray[np.bool_]

MOST_POINTS = 200


def roc_auc(members_N: Members, scores_N: Scores) -> float | None:
    """Return the area under the ROC curve of one class against the rest; None without an example of either."""
    from sklearn.metrics import roc_auc_score  # noqa: PLC0415  a second that other processes are spared

    return float(roc_auc_score(members_N, scores_N)) if _has_both(members_N) else None


def average_precision(members_N: Members, scores_N: Scores) -> float | None:
    """Return the mean precision over the recalls reached (no interpolation); None without an example of either."""
    from sklearn.metrics import average_precision_score  # noqa: PLC0415  as above

    return float(average_precision_score(members_N, scores_N)) if _has_both(members_N) else None


def roc_curve(members_N: Members, scores_N: Scores) -> dict[str, list[float]] | None:
    """Return `false_positive_rate` and `true_positive_rate`, both rising, at up to 200 thresholds; None as above."""
    from sklearn.metrics import roc_curve as whole_curve  # noqa: PLC0415  as above

    if not _has_both(members_N):
        return None
    false_P, true_P, _ = whole_curve(members_N, scores_N)
    return _thinned(false_positive_rate=false_P, true_positive_rate=true_P)


def precision_recall_curve(members_N: Members, scores_N: Scores) -> dict[str, list[float]] | None:
    """Return `recall`, falling, and `precision`, at up to 200 thresholds; None as above."""
    from sklearn.metrics import precision_recall_curve as whole_curve  # noqa: PLC0415  as above

    if not _has_both(members_N):
        return None
    precision_P, recall_P, _ = whole_curve(members_N, scores_N)
    return _thinned(recall=recall_P, precision=precision_P)


def _has_both(members_N: Members) -> bool:
    return bool(members_N.any()) and not bool(members_N.all())


def _thinned(**columns: npt.NDArray[np.float64]) -> dict[str, list[float]]:
    """Return the curve at evenly spaced points of its length, the first and the last among them."""
    steps_P = sum(np.abs(np.diff(column)) for column in columns.values())
    length_P = np.concatenate([[0.0], np.cumsum(steps_P)])
    wanted = np.linspace(0.0, length_P[-1], MOST_POINTS)
    kept = np.unique(np.concatenate([[0, len(length_P) - 1], np.searchsorted(length_P, wanted)]))
    kept = kept[kept < len(length_P)]
    return {name: column[kept].round(6).tolist() for name, column in columns.items()}
