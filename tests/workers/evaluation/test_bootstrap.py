import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from models_store.targets import ONE_CLASS
from workers.evaluation import bootstrap
from workers.evaluation.metrics import evaluate

GENERATOR = np.random.default_rng(0)
LABELS = GENERATOR.integers(0, 3, 400)
PROBABILITIES = (GENERATOR.dirichlet(np.ones(3), 400) + np.eye(3)[LABELS] * 0.5) / 1.5


def test_every_headline_figure_lies_in_its_interval() -> None:
    metrics = evaluate(PROBABILITIES, LABELS, list("abc"))

    intervals = bootstrap.classification(PROBABILITIES, LABELS, samples=500, seed=0)

    assert set(intervals) == set(ONE_CLASS.headline)
    for name in set(ONE_CLASS.headline) - {"top5_accuracy"}:
        found = intervals[name]
        assert found is not None
        assert found["low"] < metrics[name] < found["high"], name
        assert found["samples"] == 500


def test_the_same_seed_gives_the_same_intervals() -> None:
    first, again, other = (
        bootstrap.classification(PROBABILITIES, LABELS, samples=200, seed=seed) for seed in (1, 1, 2)
    )

    assert first == again != other


def test_accuracys_interval_is_the_binomials() -> None:
    right = PROBABILITIES.argmax(axis=1) == LABELS
    expected = np.quantile(GENERATOR.binomial(400, right.mean(), 200_000) / 400, [0.025, 0.975])

    found = bootstrap.classification(PROBABILITIES, LABELS, samples=20_000, seed=0)["accuracy"]

    assert found is not None
    np.testing.assert_allclose([found["low"], found["high"]], expected, atol=0.003)


@pytest.mark.parametrize("decimals", [1, 8])
def test_areas_below_the_curves_of_the_resamples_are_scikit_learns(decimals: int) -> None:
    scores, members = PROBABILITIES[:60].round(decimals), LABELS[:60, None] == np.arange(3)
    drawn = np.random.default_rng(5).integers(0, 60, (200, 60))
    areas = [roc_auc_score(members[rows], scores[rows], average="macro") for rows in drawn]
    precisions = [average_precision_score(members[rows], scores[rows], average="macro") for rows in drawn]

    found = bootstrap.of_rankings(scores, members, samples=200, generator=np.random.default_rng(5))

    for name, values in (("roc_auc_macro", areas), ("average_precision_macro", precisions)):
        low, high = np.quantile(values, [0.025, 0.975])
        assert found[name] == {"low": pytest.approx(low), "high": pytest.approx(high), "samples": 200}


def test_one_image_and_answers_that_are_no_numbers_have_no_intervals() -> None:
    broken = PROBABILITIES.copy()
    broken[7, 1] = np.nan

    assert bootstrap.classification(PROBABILITIES[:1], LABELS[:1], samples=100, seed=0) == {}
    assert bootstrap.classification(broken, LABELS, samples=100, seed=0) == {}


def test_a_split_of_one_class_has_intervals_of_what_it_defines() -> None:
    found = bootstrap.classification(PROBABILITIES[LABELS == 1], LABELS[LABELS == 1], samples=100, seed=0)

    assert found["accuracy"] is not None
    assert found["roc_auc_macro"] is None


def test_a_split_too_large_for_all_resamples_says_how_many_there_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "COST_LIMIT", 400 * 3 * 150)

    found = bootstrap.classification(PROBABILITIES, LABELS, samples=1000, seed=0)

    assert found["roc_auc_macro"] is not None
    assert found["roc_auc_macro"]["samples"] == 150
    assert found["loss"] is None


@pytest.mark.parametrize(("right", "low", "high"), [(True, 0.6915, 1.0), (False, 0.0, 0.3085)])
def test_ten_of_ten_are_no_certainty(right: bool, low: float, high: float) -> None:  # noqa: FBT001  a case, not a switch
    labels_N = np.arange(10) % 2
    probabilities_NK = np.where((labels_N[:, None] == np.arange(2)) == right, 0.9, 0.1)

    intervals = bootstrap.classification(probabilities_NK, labels_N, samples=200, seed=0)

    accuracy = intervals["accuracy"]
    assert accuracy is not None
    assert (accuracy["low"], accuracy["high"]) == pytest.approx((low, high), abs=1e-3)
    assert intervals["roc_auc_macro"] is None


@pytest.mark.parametrize("seed", range(5))
def test_a_small_calibration_error_lies_in_its_interval_though_draws_make_it_larger(seed: int) -> None:
    generator = np.random.default_rng(seed)
    scores_NK = generator.dirichlet(np.ones(3), 300)
    labels_N = (scores_NK.cumsum(axis=1) < generator.random((300, 1))).sum(axis=1)  # as likely as they are said to be
    error = evaluate(scores_NK, labels_N, list("abc"))["expected_calibration_error"]

    found = bootstrap.classification(scores_NK, labels_N, samples=500, seed=0)["expected_calibration_error"]

    assert found is not None
    assert 0 <= found["low"] < error < found["high"]


def test_values_are_moved_by_their_bias() -> None:
    assert bootstrap.without_bias(np.array([0.01, 0.05, 0.06]), 0.03) == pytest.approx([0.0, 0.04, 0.05])
