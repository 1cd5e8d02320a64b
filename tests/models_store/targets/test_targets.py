"""Targets: scores, agreement and predictions, on the outputs of files and on the edges of them."""

import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from models_store.targets import ACTIVATIONS, LABELS, NAMED, NUMBER, ONE_CLASS, Target

EACH = pytest.mark.parametrize("target", NAMED.values(), ids=NAMED)
OF_PROBABILITIES = pytest.mark.parametrize("target", [ONE_CLASS, LABELS], ids=["class", "labels"])


def drawn(target: Target, *, count: int = 50, names: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return outputs (N, K), some of them ties or exactly 0.5, and truths."""
    generator = np.random.default_rng(seed)
    outputs_NK = generator.random((count, target.output_count(names))).round(1).astype(np.float32)
    truths: dict[str, np.ndarray] = {
        "class": generator.integers(0, names, count),
        "labels": (generator.random((count, names)) < 0.3).astype(np.float32),
        "number": generator.random((count, 1)).astype(np.float32),
    }
    return outputs_NK, truths[target.name]


def test_targets_need_numpy_alone() -> None:
    heavy = "torch", "pydantic", "sqlalchemy", "scipy", "sklearn", "onnxruntime"
    code = f"import models_store.targets, sys; print([name for name in {heavy} if name in sys.modules])"

    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert said.stdout.strip() == "[]"


# ---- explanations


@pytest.mark.parametrize(
    ("target", "row", "changed", "lost"),
    [
        (ONE_CLASS, [0.1, 0.7, 0.2], [[0.1, 0.7, 0.2], [0.0, 0.1, 0.9], [0.0, 0.8, 0.2]], [0, 0.6, -0.1]),
        (LABELS, [0.9, 0.7, 0.2], [[0.9, 0.7, 0.9], [0.5, 0.5, 0.2]], [0, 0.3]),
        (LABELS, [0.1, 0.4, 0.2], [[0.1, 0.1, 0.2]], [0.3]),
        (NUMBER, [2.0], [[2.0], [1.5], [3.0]], [0, 0.5, 1]),
    ],
)
def test_an_answer_loses_what_it_depended_on(target: Target, row: Any, changed: Any, lost: Any) -> None:
    found = target.lost(np.array(row, np.float32), np.array(changed, np.float32))

    assert found == pytest.approx(np.array(lost), abs=1e-6)


# ---- truths of a manifest


@pytest.mark.parametrize(
    ("target", "known", "truth"),
    [
        (ONE_CLASS, "b", 1),
        (ONE_CLASS, "c", None),
        (LABELS, ["b"], [0, 1]),
        (LABELS, [], [0, 0]),
        (LABELS, ["b", "c"], None),
        (NUMBER, 2, [2.0]),
        (NUMBER, "a", None),
    ],
)
def test_a_truth_is_what_the_model_could_answer(target: Target, known: Any, truth: Any) -> None:
    found = target.truth(known, {"a": 0, "b": 1})

    assert (None if found is None else found.tolist()) == truth


# ---- scores


def test_classes_score_by_the_share_that_is_right() -> None:
    answers = np.array([0, 2, 0, 0])
    truths = np.array([0, 2, 2, 2])

    assert ONE_CLASS.score(answers, truths) == 0.5
    assert ONE_CLASS.balanced_score(answers, truths) == pytest.approx((1 + 1 / 3) / 2)
    assert ONE_CLASS.score_each(answers, truths).tolist() == [1, 1, 0, 0]


def test_labels_score_by_the_share_of_right_labels() -> None:
    answers = np.array([[True, False]] * 4)  # the first label always, the second never
    truths = np.array([[1, 0], [1, 0], [1, 1], [0, 0]], np.float32)

    assert LABELS.score(answers, truths) == 6 / 8
    assert LABELS.balanced_score(answers, truths) == 0.5
    assert LABELS.score_each(answers, truths).tolist() == [1, 1, 0.5, 0.5]


def test_numbers_score_by_r2() -> None:
    answers, truths = np.array([1995.0, 2010.0]), np.array([[1990.0], [2010.0]], np.float32)

    assert NUMBER.score(answers, truths) == pytest.approx(1 - 25 / 200)
    assert NUMBER.balanced_score(answers, truths) is None
    assert NUMBER.score_each(answers, truths).tolist() == [-25, 0]


def test_r2_of_one_value_is_1_where_it_is_met_and_0_where_it_is_not() -> None:
    same = np.full((3, 1), 5.0, np.float32)

    assert NUMBER.score(np.full(3, 5.0), same) == 1.0
    assert NUMBER.score(np.array([5.0, 5.0, 6.0]), same) == 0.0


@pytest.mark.parametrize("count", [1, 2, 50])
@OF_PROBABILITIES
def test_a_share_is_the_mean_of_each_examples_score(target: Target, count: int) -> None:
    outputs, truths = drawn(target, count=count)
    answers = target.answers(outputs)

    assert target.is_share
    assert target.score_each(answers, truths).mean() == pytest.approx(target.score(answers, truths))


def test_the_mean_of_each_numbers_score_is_minus_the_mean_squared_error() -> None:
    outputs, truths = drawn(NUMBER)

    scores = NUMBER.score_each(NUMBER.answers(outputs), truths)

    assert -scores.mean() == pytest.approx(np.square(outputs.astype(float) - truths).mean())


@EACH
def test_what_each_example_loses_has_the_loss_of_score_as_its_mean(target: Target) -> None:
    (outputs, truths), (other_outputs, _) = drawn(target), drawn(target, seed=1)
    answers, others = target.answers(outputs), target.answers(other_outputs)

    lost = target.lost_each(answers, others, truths)

    assert lost is not None
    assert lost.mean() == pytest.approx(target.score(others, truths) - target.score(answers, truths))
    assert not np.any(target.lost_each(answers, answers, truths))


def test_numbers_that_are_all_alike_have_no_parts_of_a_loss() -> None:
    truths = np.ones((4, 1), np.float32)

    assert NUMBER.lost_each(np.zeros(4), np.ones(4), truths) is None


@EACH
def test_the_truths_as_answers_are_all_right(target: Target) -> None:
    _, truths = drawn(target)
    answers = target.as_answers(truths)

    assert target.score(answers, truths) == 1
    assert target.balanced_score(answers, truths) in {1, None}
    assert target.score_each(answers, truths).max() == target.score_each(answers, truths).min()


@EACH
def test_one_example_is_enough_for_a_score(target: Target) -> None:
    outputs, truths = drawn(target, count=1)
    answers = target.answers(outputs)

    assert math.isfinite(target.score(answers, truths))
    assert len(target.score_each(answers, truths)) == 1


@EACH
def test_nothing_has_no_score(target: Target) -> None:
    outputs, truths = drawn(target, count=0)

    with pytest.raises(AssertionError, match="0 answers to 0 targets"):
        target.score(target.answers(outputs), truths)


@EACH
def test_answers_without_truths_have_no_score(target: Target) -> None:
    outputs, truths = drawn(target, count=3)

    with pytest.raises(AssertionError, match="3 answers to 2 targets"):
        target.score(target.answers(outputs), truths[:2])


@pytest.mark.parametrize("truth", [0, 3])
def test_a_single_class_is_balanced_by_itself(truth: int) -> None:
    answers, truths = np.array([truth, truth, 1, 2]), np.full(4, truth)

    assert ONE_CLASS.balanced_score(answers, truths) == ONE_CLASS.score(answers, truths) == 0.5


@pytest.mark.parametrize("truth", [0.0, 1.0])
def test_a_label_that_all_or_none_have_is_balanced_by_its_only_side(truth: float) -> None:
    answers = np.array([[True], [True], [True], [False]])

    balanced = LABELS.balanced_score(answers, np.full((4, 1), truth, np.float32))

    assert balanced == (0.75 if truth else 0.25)


def test_a_number_that_is_none_makes_the_score_none() -> None:
    truths = np.arange(3, dtype=np.float32)[:, None]

    assert math.isnan(NUMBER.score(np.array([0, 1, np.nan]), truths))


# ---- answers


def test_of_equally_likely_classes_the_first_is_the_answer() -> None:
    assert ONE_CLASS.answers(np.array([[0.2, 0.4, 0.4], [0.5, 0.5, 0.0]])).tolist() == [1, 0]


def test_a_label_as_likely_as_not_is_answered() -> None:
    below = np.nextafter(np.float32(0.5), np.float32(0))

    assert LABELS.answers(np.array([[0.5, below, np.nan, 1.0]], np.float32)).tolist() == [[True, False, False, True]]


def test_numbers_are_answered_in_double_precision() -> None:
    answers = NUMBER.answers(np.array([[1.5], [2.0]], np.float32))

    assert (answers.dtype, answers.tolist()) == (np.float64, [1.5, 2.0])


@EACH
def test_placeholders_are_truths_of_every_name(target: Target) -> None:
    truths, (_, real) = target.placeholders(8, names=4), drawn(target, count=8, names=4)
    answers = target.as_answers(truths)

    assert (truths.dtype, truths.shape) == (real.dtype, real.shape)
    if target is LABELS:
        assert answers.any(axis=0).all()
        assert not answers.all(axis=0).any()
    else:
        assert len(np.unique(answers)) >= 4


def test_only_single_classes_make_strata() -> None:
    classes = np.array([1, 0, 1])

    assert ONE_CLASS.strata(classes) is classes
    assert LABELS.strata(np.ones((3, 2))) is None
    assert NUMBER.strata(np.ones((3, 1))) is None


# ---- agreement


@pytest.mark.parametrize("tolerance", [0.0, 1e-4, 0.1])
@pytest.mark.parametrize("count", [0, 1, 50])
@EACH
def test_everything_agrees_with_itself(target: Target, count: int, tolerance: float) -> None:
    outputs, _ = drawn(target, count=count)
    answers = target.answers(outputs)

    agreed = target.agree(answers, answers, tolerance=tolerance)
    assert (len(agreed), agreed.all()) == (count, True)
    if count:
        assert target.agree_but_for_rounding(outputs, outputs, tolerance=tolerance).all()


@EACH
def test_two_files_agree_or_not_whichever_is_named_first(target: Target) -> None:
    first, second = (target.answers(drawn(target, seed=seed)[0]) for seed in (0, 1))

    one_way, other_way = target.agree(first, second, tolerance=0.3), target.agree(second, first, tolerance=0.3)

    assert one_way.tolist() == other_way.tolist()
    assert 0 < one_way.sum() < len(one_way)


def test_answers_agree_by_class_by_the_whole_set_of_labels_and_by_distance() -> None:
    classes = ONE_CLASS.agree(np.array([1, 2]), np.array([1, 0]), tolerance=0)
    labels = LABELS.agree(np.array([[True, False], [True, True]]), np.array([[True, False]] * 2), tolerance=0)
    numbers = NUMBER.agree(np.array([1.0, 2, np.nan]), np.array([1.1, 3, 1]), tolerance=0.2)

    assert classes.tolist() == labels.tolist() == [True, False]
    assert numbers.tolist() == [True, False, False]


def test_a_class_that_is_as_likely_but_for_rounding_agrees() -> None:
    expected = np.array([[0.45, 0.45005, 0.1]] * 3)
    outputs = np.array([[0.46, 0.44, 0.1], [0.44, 0.46, 0.1], [0.1, 0.1, 0.8]])

    assert ONE_CLASS.agree_but_for_rounding(outputs, expected, tolerance=1e-4).tolist() == [True, True, False]
    assert ONE_CLASS.agree_but_for_rounding(outputs, expected, tolerance=0).tolist() == [False, True, False]


def test_a_label_at_the_threshold_but_for_rounding_agrees_either_way() -> None:
    expected = np.array([[0.50005, 0.9], [0.49995, 0.9], [0.6, 0.9]])
    outputs = np.array([[0.4, 0.6], [0.6, 0.6], [0.4, 0.9]])

    assert LABELS.agree_but_for_rounding(outputs, expected, tolerance=1e-4).tolist() == [True, True, False]


def test_numbers_agree_up_to_the_tolerance() -> None:
    expected = np.array([[1.0], [1.0], [np.nan]])

    assert NUMBER.agree_but_for_rounding(expected + 0.25, expected, tolerance=0.25).tolist() == [True, True, False]
    assert NUMBER.agree_but_for_rounding(expected + 0.25, expected, tolerance=0.2).tolist() == [False, False, False]


@EACH
def test_nothing_agrees_with_an_expected_nan(target: Target) -> None:
    outputs, _ = drawn(target)

    assert not target.agree_but_for_rounding(outputs, np.full_like(outputs, np.nan), tolerance=1.0).any()


@EACH
def test_an_answered_nan_agrees_with_nothing(target: Target) -> None:
    outputs, _ = drawn(target)

    assert not target.agree_but_for_rounding(np.full_like(outputs, np.nan), outputs, tolerance=1.0).any()


def test_tolerances_of_numbers_are_shares_of_their_spread() -> None:
    truths = np.array([[0.0], [2.0]])

    assert (NUMBER.near(truths), NUMBER.rounding(2.0)) == (0.1, 0.002)
    assert (ONE_CLASS.near(np.array([0, 2])), ONE_CLASS.rounding(2.0)) == (0, 1e-4)
    assert (LABELS.near(np.array([[0.0, 1.0]])), LABELS.rounding(2.0)) == (0, 1e-4)


# ---- activations


@EACH
def test_outputs_are_the_activation_of_logits(target: Target) -> None:
    logits = np.array([[0.0, math.log(3), 0.0]])
    expected = {"class": [0.2, 0.6, 0.2], "labels": [0.5, 0.75, 0.5], "number": logits[0].tolist()}

    assert ACTIVATIONS[target.activation](logits)[0].tolist() == pytest.approx(expected[target.name])


@pytest.mark.filterwarnings("error")
@OF_PROBABILITIES
def test_large_logits_are_sure_and_finite(target: Target) -> None:
    logits = np.array([[-1e4, 1e4]])

    assert ACTIVATIONS[target.activation](logits).tolist() == [[0.0, 1.0]]


# ---- what people read


@EACH
def test_the_headline_names_each_figure_once(target: Target) -> None:
    assert len(set(target.headline)) == len(target.headline) > 1


def test_figures_say_which_way_is_better() -> None:
    assert [(target.headline[0], target.score_label) for target in NAMED.values()] == [
        ("accuracy", "accuracy"),
        ("accuracy", "accuracy"),
        ("r2", "R²"),
    ]
    assert [(target.paired.name, target.paired.better) for target in NAMED.values()] == [
        ("accuracy", "higher"),
        ("accuracy", "higher"),
        ("mean_squared_error", "lower"),
    ]


@pytest.mark.parametrize(
    ("top_k", "expected"), [(None, list("fedcb")), (1, ["f"]), (2, ["f", "e"]), (99, list("fedcba"))]
)
def test_a_prediction_of_classes_lists_the_likeliest_five_or_as_many_as_asked_for(
    top_k: int | None, expected: list[str]
) -> None:
    row = np.arange(1, 7, dtype=np.float32) / 21

    said = ONE_CLASS.prediction(row, tuple("abcdef"), top_k=top_k)

    assert [each["label"] for each in said["top"]] == expected
    assert (said["label"], said["probability"]) == ("f", row[5])


@pytest.mark.parametrize("target", [ONE_CLASS, LABELS], ids=["class", "labels"])
def test_equally_likely_names_are_listed_in_their_order(target: Target) -> None:
    said = target.prediction(np.full(3, 0.5, np.float32), tuple("abc"), top_k=None)

    assert [each["label"] for each in said["top"]] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("row", "labels"),
    [([0.5, 0.9, 0.4999], ["b", "a"]), ([0.1, 0.2, 0.3], []), ([0.5, 0.5, 0.5], ["a", "b", "c"])],
)
def test_a_prediction_of_labels_names_those_at_the_threshold_or_above(row: list[float], labels: list[str]) -> None:
    said = LABELS.prediction(np.array(row, np.float32), tuple("abc"), top_k=1)

    assert said["labels"] == labels
    assert len(said["top"]) == 1
    assert len(LABELS.prediction(np.array(row, np.float32), tuple("abc"), top_k=None)["top"]) == 3


def test_a_prediction_of_a_number_is_its_value() -> None:
    said: dict[str, Any] = NUMBER.prediction(np.array([1987.5], np.float32), (), top_k=3)

    assert said == {"value": 1987.5}


@EACH
def test_a_prediction_says_what_the_answer_is(target: Target) -> None:
    outputs, _ = drawn(target, names=4)
    names = tuple("abcd")

    for row, answer in zip(outputs, target.answers(outputs), strict=True):
        said = target.prediction(row, names, top_k=None)
        match target.name:
            case "class":
                assert said["label"] == names[answer]
            case "labels":
                assert set(said["labels"]) == {name for name, is_there in zip(names, answer, strict=True) if is_there}
            case "number":
                assert said["value"] == answer
