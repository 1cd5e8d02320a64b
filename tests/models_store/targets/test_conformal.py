"""Conformal sets: coverage on new examples, for every target, and least confidence."""

import numpy as np
import pytest

from models_store.targets import LABELS, NUMBER, ONE_CLASS, Target
from models_store.targets.conformal import COVERAGES, examples_needed, level_for, threshold

NAMES = ["ant", "bee", "wasp", "fly"]
EACH = pytest.mark.parametrize("target", [ONE_CLASS, LABELS, NUMBER], ids=["class", "labels", "number"])


def drawn(target: Target, *, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return outputs (N, K) that know something of the truths, and the truths."""
    generator = np.random.default_rng(seed)
    if target is NUMBER:
        truths = generator.normal(size=(count, 1)).astype(np.float32)
        return (truths + generator.normal(size=(count, 1))).astype(np.float32), truths
    logits_NK = generator.normal(size=(count, len(NAMES)))
    if target is LABELS:
        labels_NK = (generator.random((count, len(NAMES))) < 0.3).astype(np.float32)
        return (1 / (1 + np.exp(-(logits_NK + 3 * labels_NK - 1)))).astype(np.float32), labels_NK
    classes_N = generator.integers(0, len(NAMES), count)
    logits_NK[np.arange(count), classes_N] += 1.5
    exponents_NK = np.exp(logits_NK)
    return (exponents_NK / exponents_NK.sum(axis=1, keepdims=True)).astype(np.float32), classes_N


def is_held(target: Target, row_K: np.ndarray, truth: np.ndarray, limit: float) -> bool:
    """Return whether a client finds the truth in the set of a prediction."""
    found = target.conformal_set(row_K, NAMES, threshold=limit)
    if target is NUMBER:
        low, high = found["interval"]
        return bool(low <= truth[0] <= high)
    true = {NAMES[truth]} if target is ONE_CLASS else {name for name, flag in zip(NAMES, truth, strict=True) if flag}
    return true <= set(found["set"])


@EACH
@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.95])
def test_sets_of_new_examples_hold_the_truth_as_often_as_asked_for(target: Target, coverage: float) -> None:
    outputs_NK, truths = drawn(target, count=2000, seed=0)
    new_NK, new_truths = drawn(target, count=4000, seed=1)

    limit = threshold(target.nonconformity(outputs_NK, truths), coverage)

    assert limit is not None
    held_N = [is_held(target, row_K, truth, limit) for row_K, truth in zip(new_NK, new_truths, strict=True)]
    assert np.mean(held_N) >= coverage - 0.045  # three deviations of both samples
    assert target.covered(new_NK, new_truths, threshold=limit).tolist() == held_N


@EACH
def test_sets_grow_with_the_coverage(target: Target) -> None:
    outputs_NK, truths = drawn(target, count=2000, seed=0)
    scores_N = target.nonconformity(outputs_NK, truths)

    sizes = [target.set_sizes(outputs_NK, threshold=threshold(scores_N, each) or 0.0).mean() for each in COVERAGES]

    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


@pytest.mark.parametrize("target", [ONE_CLASS, LABELS], ids=["class", "labels"])
def test_the_size_of_a_set_is_the_number_of_its_members(target: Target) -> None:
    outputs_NK, _ = drawn(target, count=100, seed=0)

    sizes_N = target.set_sizes(outputs_NK, threshold=0.7)

    assert sizes_N.tolist() == [len(target.conformal_set(row_K, NAMES, threshold=0.7)["set"]) for row_K in outputs_NK]


def test_a_set_of_classes_is_never_empty() -> None:
    row_K = np.array([0.3, 0.4, 0.2, 0.1], np.float32)

    assert ONE_CLASS.conformal_set(row_K, NAMES, threshold=0.1) == {"set": ["bee"]}


def test_the_member_on_the_edge_is_in_the_set() -> None:
    row_K = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    limit = float(ONE_CLASS.nonconformity(row_K[None], np.array([1]))[0])

    assert ONE_CLASS.conformal_set(row_K, NAMES, threshold=limit)["set"] == ["fly", "wasp", "bee"]


@pytest.mark.parametrize("coverage", COVERAGES)
def test_too_few_examples_reach_no_coverage(coverage: float) -> None:
    needed = examples_needed(coverage)

    assert threshold(np.arange(needed), coverage) is not None
    assert needed == 1 or threshold(np.arange(needed - 1), coverage) is None


def test_a_coverage_between_two_levels_is_served_by_the_upper_one() -> None:
    levels = [{"coverage": each} for each in COVERAGES]

    assert level_for(levels, 0.9) == {"coverage": 0.9}
    assert level_for(levels, 0.91) == {"coverage": 0.95}
    assert level_for(levels, 0.999) is None


@pytest.mark.parametrize(("least", "answered"), [(0.5, "ant"), (0.75, "ant"), (0.8, None)])
def test_a_class_below_the_least_confidence_is_not_answered(least: float, answered: str | None) -> None:
    row_K = np.array([0.75, 0.25], np.float32)
    prediction = ONE_CLASS.prediction(row_K, NAMES, top_k=None)

    found = ONE_CLASS.confident(prediction, row_K, NAMES, min_confidence=least)

    assert found.get("label") == answered
    assert found.get("abstained", False) is (answered is None)
    assert found["top"] == prediction["top"]


@pytest.mark.parametrize(
    ("least", "present", "undecided"),
    [(0.8, ["ant"], ["bee", "wasp"]), (0.5, ["ant", "bee"], []), (0.2, ["ant", "bee"], []), (1.0, [], NAMES)],
)
def test_labels_between_yes_and_no_are_undecided(least: float, present: list[str], undecided: list[str]) -> None:
    row_K = np.array([0.95, 0.7, 0.25, 0.05], np.float32)
    prediction = LABELS.prediction(row_K, NAMES, top_k=1)

    found = LABELS.confident(prediction, row_K, NAMES, min_confidence=least)

    assert (found["labels"], found["undecided"]) == (present, undecided)
    assert found["top"] == prediction["top"]


def test_numbers_alone_have_no_confidence() -> None:
    assert [target.has_confidence for target in (ONE_CLASS, LABELS, NUMBER)] == [True, True, False]
