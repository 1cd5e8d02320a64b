"""Metrics of numbers: absolute and squared errors, and the explained share of the variance."""

# N examples, S resamples

from typing import Any

import numpy as np
import numpy.typing as npt

from models_store.targets import NUMBER
from workers.evaluation import bootstrap
from workers.evaluation.bootstrap import Counts, Floats, Intervals
from workers.evaluation.metrics import NOT_FINITE

ALIKE = "all numbers of the split are the same"


def evaluate(answers_N: Floats, true_N: Floats) -> dict[str, Any]:
    """Return `r2`, `mae`, `rmse`, `median_absolute_error` and `undefined`, ready for JSON.

    R² is the share of the split's variance that is explained, below 0 where answering its mean were better.
    """
    from sklearn import metrics  # noqa: PLC0415  a second that other processes are spared

    assert len(answers_N) == len(true_N) > 0, f"{len(answers_N)} answers to {len(true_N)} numbers"
    summary: dict[str, Any] = {"images": len(true_N), **dict.fromkeys(NUMBER.headline)}
    if not np.isfinite(answers_N).all():
        return summary | {"undefined": dict.fromkeys(NUMBER.headline, NOT_FINITE)}
    varies = bool(np.ptp(true_N) > 0)
    summary |= {
        "r2": NUMBER.score(answers_N, true_N[:, None]) if varies else None,
        "mae": float(metrics.mean_absolute_error(true_N, answers_N)),
        "rmse": float(metrics.root_mean_squared_error(true_N, answers_N)),
        "median_absolute_error": float(metrics.median_absolute_error(true_N, answers_N)),
    }
    return summary | {"undefined": {} if varies else {"r2": ALIKE}}


def intervals(answers_N: Floats, true_N: Floats, *, samples: int, seed: int) -> Intervals:
    """Return figure → `low`, `high` and `samples`; as `bootstrap.classification` does."""
    count = len(true_N)
    if count < 2 or not np.isfinite(answers_N).all():  # noqa: PLR2004  one example varies in nothing
        return {}
    errors_N: npt.NDArray[np.float64] = np.abs(answers_N - true_N).astype(np.float64)

    def figures(drawn_SN: Counts) -> list[Floats]:
        errors_SN, drawn_true_SN = errors_N[drawn_SN], true_N[drawn_SN]
        squares_S = np.square(errors_SN).mean(axis=1)
        variance_S = drawn_true_SN.var(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            explained_S = np.where(variance_S > 0, 1 - squares_S / variance_S, np.nan)
        return [explained_S, errors_SN.mean(axis=1), np.sqrt(squares_S), np.median(errors_SN, axis=1)]

    possible = bootstrap.affordable(samples, cost_of_one=10 * count)
    generator = np.random.default_rng(seed)
    return bootstrap.collect(NUMBER.headline, count=count, samples=possible, generator=generator, of=figures)
