import math
import statistics

import numpy as np
import pytest

from workers.families import folds as cross_validation
from workers.families.folds import TooFewGroups, splits_of_fold

SPLITS_N = np.array(["train"] * 90 + ["val"] * 10 + ["test"] * 20)
CLASSES_N = np.array([0, 0, 0, 1] * 30)


def folds_of(count: int, *, seed: int = 0, strata_N: object = CLASSES_N, groups_N: object = None) -> list[np.ndarray]:
    return [
        splits_of_fold(SPLITS_N, index=index, folds=count, seed=seed, strata_N=strata_N, groups_N=groups_N)
        for index in range(count)
    ]


def rows(splits_N: np.ndarray, name: str) -> set[int]:
    return set(np.flatnonzero(splits_N == name))


def test_each_image_of_train_and_val_is_held_out_once_and_the_test_split_is_untouched() -> None:
    folds = folds_of(5)

    held = [rows(fold, "test") for fold in folds]
    assert sorted(row for each in held for row in each) == list(range(100))
    assert all(rows(fold, "unused") == set(range(100, 120)) for fold in folds)
    assert all(len(rows(fold, "val")) == 8 for fold in folds)
    assert all(len(rows(fold, "train")) == 72 for fold in folds)


def test_every_part_has_the_classes_in_their_shares() -> None:
    for fold in folds_of(5):
        assert CLASSES_N[list(rows(fold, "test"))].mean() == pytest.approx(0.25)
        assert CLASSES_N[list(rows(fold, "val"))].mean() == pytest.approx(0.25)


def test_folds_follow_the_seed() -> None:
    assert all(np.array_equal(one, other) for one, other in zip(folds_of(4), folds_of(4), strict=True))
    assert not np.array_equal(folds_of(4)[0], folds_of(4, seed=1)[0])


@pytest.mark.parametrize("strata_N", [CLASSES_N, None])
def test_groups_are_never_cut(strata_N: object) -> None:
    groups_N = np.array([f"patient {number // 3}" for number in range(120)])

    for fold in folds_of(4, strata_N=strata_N, groups_N=groups_N):
        parts = [set(groups_N[list(rows(fold, name))]) for name in ("train", "val", "test")]
        assert all(parts)
        assert sum(map(len, parts)) == len(set.union(*parts))


def test_too_few_groups_for_the_folds_are_refused() -> None:
    groups_N = np.array(["left"] * 60 + ["right"] * 60)

    with pytest.raises(TooFewGroups, match="2 groups"):
        folds_of(5, groups_N=groups_N)


def test_labels_and_numbers_are_folded_without_strata() -> None:
    held = [rows(fold, "test") for fold in folds_of(3, strata_N=None)]

    assert sorted(row for each in held for row in each) == list(range(100))


def test_a_class_rarer_than_the_folds_is_folded_all_the_same() -> None:
    rare_N = np.array([1] * 3 + [0] * 117)

    held = [rows(fold, "test") for fold in folds_of(5, strata_N=rare_N)]

    assert sorted(row for each in held for row in each) == list(range(100))


def test_the_interval_is_students() -> None:
    values = [0.8, 0.9, 0.85, 0.95]

    (figures,) = cross_validation.summary([{"accuracy": value} for value in values]).values()

    half = 3.182446 * statistics.stdev(values) / math.sqrt(4)
    assert figures["mean"] == pytest.approx(0.875)
    assert (figures["low"], figures["high"]) == (pytest.approx(0.875 - half), pytest.approx(0.875 + half))


@pytest.mark.parametrize(
    ("name", "values", "low", "high"),
    [
        ("accuracy", [0.5, 1.0], 0.0, 1.0),
        ("loss", [0.5, 1.0], 0.0, 0.75 + 12.7062 * 0.25),
        ("balanced_loss", [0.5, 1.0], 0.0, 0.75 + 12.7062 * 0.25),
        ("r2", [0.5, 1.0], 0.75 - 12.7062 * 0.25, 1.0),
    ],
)
def test_an_interval_ends_where_its_figures_range_does(name: str, values: list[float], low: float, high: float) -> None:
    figures = cross_validation.summary([{name: value} for value in values])[name]

    assert (figures["low"], figures["high"]) == (pytest.approx(low, rel=1e-4), pytest.approx(high, rel=1e-4))


def test_a_single_run_has_no_spread_and_a_figure_that_one_run_lacks_is_left_out() -> None:
    assert cross_validation.summary([{"accuracy": 0.5}])["accuracy"]["standard_deviation"] is None
    assert cross_validation.summary([{"accuracy": 0.5, "auc": 0.6}, {"accuracy": 0.5, "auc": None}]).keys() == {
        "accuracy"
    }


def test_a_single_group_is_counted_in_the_singular() -> None:
    with pytest.raises(TooFewGroups, match="1 group can't fill 5 parts"):
        folds_of(5, groups_N=np.array(["patient"] * 120))
