import numpy as np
import pytest

from models_store.targets import LABELS, NUMBER, ONE_CLASS
from workers.families.comparison import compare


def answers(right: list[bool]) -> dict[str, np.ndarray]:
    """Return answers of two classes to images that are all of class 1."""
    outputs = np.array([[0.2, 0.8] if is_right else [0.8, 0.2] for is_right in right])
    return {"test_rows": np.arange(len(right)), "test_outputs": outputs, "test_targets": np.ones(len(right), dtype=int)}


def test_mcnemars_test_looks_at_the_images_that_one_alone_has_right() -> None:
    before = answers([True] * 50 + [False] * 10 + [True] * 2)
    after = answers([True] * 50 + [True] * 10 + [False] * 2)

    gain = compare(before, after, target=ONE_CLASS, seed=0)

    assert gain is not None
    assert (gain["only_best_right"], gain["only_baseline_right"]) == (10, 2)
    assert gain["p_value"] == pytest.approx(2 * (1 + 12 + 66) / 2**12)  # binomial, 12 draws at a half
    assert gain["gain"] == pytest.approx(8 / 62)


def test_equal_answers_are_no_gain() -> None:
    gain = compare(answers([True, False]), answers([True, False]), target=ONE_CLASS, seed=0)

    assert gain is not None
    assert (gain["gain"], gain["low"], gain["high"], gain["p_value"]) == (0, 0, 0, 1)


def test_the_interval_covers_the_true_gain_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        before, after = generator.random(200) < 0.7, generator.random(200) < 0.8
        gain = compare(answers(list(before)), answers(list(after)), target=ONE_CLASS, seed=seed)
        assert gain is not None
        covered += gain["low"] <= 0.1 <= gain["high"]

    assert 180 <= covered <= 198


def test_numbers_gain_by_squared_error_and_are_compared_by_ranks() -> None:
    truth = np.arange(40.0)[:, None]
    before = {"test_rows": np.arange(40), "test_outputs": truth + 2, "test_targets": truth}
    after = {"test_rows": np.arange(40), "test_outputs": truth + 1, "test_targets": truth}

    gain = compare(before, after, target=NUMBER, seed=0)

    assert gain is not None
    assert (gain["baseline"], gain["best"], gain["gain"]) == (4, 1, 3)
    assert (gain["test"], gain["p_value"] < 1e-6) == ("wilcoxon_signed_rank", True)


def test_labels_gain_by_the_share_of_right_labels() -> None:
    truth = np.array([[1, 0, 1], [0, 0, 1]] * 20)
    before = {"test_rows": np.arange(40), "test_outputs": np.zeros((40, 3)), "test_targets": truth}
    after = {"test_rows": np.arange(40), "test_outputs": truth * 0.9, "test_targets": truth}

    gain = compare(before, after, target=LABELS, seed=0)

    assert gain is not None
    assert (gain["baseline"], gain["best"]) == (0.5, 1.0)


def test_without_a_test_split_there_is_nothing_to_compare() -> None:
    assert compare({"val_rows": np.arange(3)}, {"val_rows": np.arange(3)}, target=ONE_CLASS, seed=0) is None
