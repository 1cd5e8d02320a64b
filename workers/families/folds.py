"""Folds of a dataset, and the summary of several runs: mean, spread, and the interval of the mean. No torch."""

# N examples

import math
import statistics
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from models_store.errors import Invalid
from models_store.wording import counted

Rows = npt.NDArray[np.int64]
Strata = npt.NDArray[Any]
Splits = npt.NDArray[np.str_]

VAL_SHARE = 10  # one in ten of what is not held out picks the best epoch
LEAST_PARTS = 2
WITHOUT_END = {"loss", "balanced_loss", "mae", "rmse", "median_absolute_error", "images"}
"""figures that are 0 or more; the others are shares, and R²"""


class TooFewGroups(Invalid):
    """Groups can't be cut, and there are not enough of them to fill every part."""

    code = "too_few_groups"
    title = "Too few groups"


def splits_of_fold(
    splits_N: Splits, *, index: int, folds: int, seed: int, strata_N: Strata | None, groups_N: Strata | None
) -> Splits:
    """Return each example's split in fold `index`: `test` is held out, `val` a tenth of the rest, `train` what remains.

    The parts are of the examples that the dataset has in train and val, drawn with `seed`, alike in `strata_N`
    (classes) and never cutting one of `groups_N`. The dataset's own test examples are `unused`.

    Raises:
        TooFewGroups: if there are fewer groups than folds, or the rest is a single one.
    """
    rows = np.flatnonzero(np.isin(splits_N, ("train", "val"))).astype(np.int64)
    held = list(_parts(rows, folds, seed=seed, strata_N=strata_N, groups_N=groups_N))[index]
    rest = np.setdiff1d(rows, held)
    parts = min(VAL_SHARE, _most_parts(rest, strata_N=strata_N, groups_N=groups_N))
    val = next(_parts(rest, max(parts, LEAST_PARTS), seed=seed, strata_N=strata_N, groups_N=groups_N))
    made = np.full(len(splits_N), "unused", dtype="<U6")
    made[rest], made[val], made[held] = "train", "val", "test"
    return made


def summary(runs: Sequence[Mapping[str, float | None]]) -> dict[str, dict[str, float | None]]:
    """Return the mean, standard deviation and 95 % interval of the mean (Student's t) of the figures that all have.

    An interval ends where its figure's range does. Of a single run, the spread and the interval are unknown: None.
    """
    figures: dict[str, dict[str, float | None]] = {}
    for name in runs[0] if runs else ():
        values = [value for run in runs if (value := run.get(name)) is not None and math.isfinite(value)]
        if len(values) == len(runs):
            figures[name] = _spread(values, bounds=_bounds(name))
    return figures


def _spread(values: list[float], *, bounds: tuple[float, float]) -> dict[str, float | None]:
    mean, count = statistics.fmean(values), len(values)
    if count == 1:
        return {"mean": mean, "standard_deviation": None, "low": None, "high": None, "runs": 1}
    from scipy import stats  # noqa: PLC0415  seconds that other supervisors are spared

    deviation = statistics.stdev(values)
    half = float(stats.t.ppf(0.975, count - 1)) * deviation / math.sqrt(count)
    low, high = max(bounds[0], mean - half), min(bounds[1], mean + half)
    return {"mean": mean, "standard_deviation": deviation, "low": low, "high": high, "runs": count}


def _bounds(name: str) -> tuple[float, float]:
    """Return the least and the most that a figure can be: of a share, 0 and 1."""
    if name == "r2":
        return -math.inf, 1.0
    return (0.0, math.inf) if name in WITHOUT_END else (0.0, 1.0)


def _parts(rows: Rows, count: int, *, seed: int, strata_N: Strata | None, groups_N: Strata | None) -> Iterator[Rows]:
    """Yield disjoint parts that together are `rows`."""
    from sklearn import model_selection  # noqa: PLC0415  seconds that jobs without folds are spared

    strata = None if strata_N is None else strata_N[rows]
    groups = None if groups_N is None else groups_N[rows]
    if groups is not None and len(np.unique(groups)) < count:
        raise TooFewGroups(
            f"{counted(len(np.unique(groups)), 'group')} can't fill {count} parts; lower `validation.folds`, "
            "or set `group: false`"
        )
    options = {"n_splits": count, "shuffle": True, "random_state": seed}
    if strata is not None and np.unique(strata, return_counts=True)[1].max() >= count:
        splitter = (model_selection.StratifiedKFold if groups is None else model_selection.StratifiedGroupKFold)(
            **options
        )
    else:
        splitter = (model_selection.KFold if groups is None else model_selection.GroupKFold)(**options)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")  # reported when the spec was resolved
        for _, part in splitter.split(rows, strata, groups):
            yield rows[part]


def _most_parts(rows: Rows, *, strata_N: Strata | None, groups_N: Strata | None) -> int:
    if groups_N is not None:
        return len(np.unique(groups_N[rows]))
    return len(rows) if strata_N is None else int(np.unique(strata_N[rows], return_counts=True)[1].max())
