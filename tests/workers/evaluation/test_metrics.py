import json

import numpy as np
import pytest

from workers.evaluation.metrics import evaluate

CLASSES = ["ant", "bee", "cat"]
PROBABILITIES = np.array(
    [[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.3, 0.4, 0.3], [0.5, 0.25, 0.25]], dtype=np.float32
)
LABELS = np.array([0, 0, 1, 2, 1])


def test_figures_are_those_worked_out_by_hand() -> None:
    metrics = evaluate(PROBABILITIES, LABELS, CLASSES)

    assert metrics["accuracy"] == pytest.approx(3 / 5)
    assert metrics["loss"] == pytest.approx(-np.log([0.7, 0.6, 0.8, 0.3, 0.25]).mean(), rel=1e-6)
    assert metrics["confusion_matrix"] == [[2, 0, 0], [1, 1, 0], [0, 1, 0]]
    assert metrics["balanced_accuracy"] == pytest.approx((1 + 0.5 + 0) / 3)
    assert metrics["precision_macro"] == pytest.approx((2 / 3 + 0.5 + 0) / 3)
    assert metrics["f1_weighted"] == pytest.approx((2 * 0.8 + 2 * 0.5 + 0) / 5)
    figures = [
        (row["label"], row["precision"], row["recall"], row["f1"], row["support"]) for row in metrics["per_class"]
    ]
    assert figures == [
        ("ant", pytest.approx(2 / 3), 1.0, pytest.approx(0.8), 2),
        ("bee", 0.5, 0.5, 0.5, 2),
        ("cat", 0.0, 0.0, 0.0, 1),
    ]
    assert set(metrics["undefined"]) == {"top5_accuracy"}  # of two classes


def test_ranking_and_calibration_are_those_worked_out_by_hand() -> None:
    probabilities = np.array([[0.95, 0.05], [0.7, 0.3], [0.25, 0.75], [0.6, 0.4]])

    metrics = evaluate(probabilities, np.array([0, 0, 1, 1]), ["ant", "bee"])

    assert [row["roc_auc"] for row in metrics["per_class"]] == [1.0, 1.0]
    assert metrics["roc_auc_macro"] == metrics["average_precision_macro"] == 1.0
    assert metrics["expected_calibration_error"] == pytest.approx((0.05 + 0.3 + 0.25 + 0.6) / 4)
    filled = [(bin_["count"], bin_["confidence"], bin_["accuracy"]) for bin_ in metrics["reliability"] if bin_["count"]]
    assert filled == [
        (1, pytest.approx(0.6), 0.0),
        (1, pytest.approx(0.7), 1.0),
        (1, pytest.approx(0.75), 1.0),
        (1, pytest.approx(0.95), 1.0),
    ]


def test_a_class_that_the_split_lacks_has_no_figures_and_says_why() -> None:
    metrics = evaluate(PROBABILITIES[:3], LABELS[:3], CLASSES)

    cat = metrics["per_class"][2]
    assert {cat[name] for name in ("precision", "recall", "f1", "roc_auc", "average_precision")} == {None}
    assert "no example" in cat["undefined"]
    assert metrics["balanced_accuracy"] == 1.0
    assert metrics["roc_auc_macro"] == 1.0


def test_a_split_of_one_class_has_accuracy_and_no_area_below_a_curve() -> None:
    metrics = evaluate(PROBABILITIES[:1], LABELS[:1], CLASSES)

    assert metrics["accuracy"] == 1.0
    assert metrics["roc_auc_macro"] is None
    assert set(metrics["undefined"]) == {"top5_accuracy", "roc_auc_macro", "average_precision_macro"}
    assert "no other class" in metrics["per_class"][0]["undefined"]


def test_answers_that_are_no_numbers_are_counted_and_not_averaged() -> None:
    broken = PROBABILITIES.copy()
    broken[0] = np.nan

    metrics = evaluate(broken, LABELS, CLASSES)

    assert metrics["accuracy"] == pytest.approx(3 / 5)
    assert metrics["loss"] is metrics["expected_calibration_error"] is None
    assert "not finite" in metrics["undefined"]["loss"]
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


def test_top_5_counts_the_five_most_probable_and_breaks_ties_as_the_answer_does() -> None:
    classes = list("abcdefg")
    probabilities = np.full((7, 7), 1 / 7)

    metrics = evaluate(probabilities, np.arange(7), classes)

    assert metrics["accuracy"] == pytest.approx(1 / 7)
    assert metrics["top5_accuracy"] == pytest.approx(5 / 7)


def test_a_certain_wrong_answer_costs_a_finite_loss() -> None:
    metrics = evaluate(np.array([[1.0, 0.0]]), np.array([1]), ["ant", "bee"])

    assert np.isfinite(metrics["loss"])


def test_the_result_is_plain_json() -> None:
    metrics = evaluate(PROBABILITIES, LABELS, CLASSES)

    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


@pytest.mark.slow
def test_the_figures_are_those_of_torchmetrics() -> None:
    import torch  # noqa: PLC0415  with torchmetrics, seconds
    from torchmetrics.functional import classification as reference  # noqa: PLC0415  the same

    generator = np.random.default_rng(0)
    labels = generator.integers(0, 7, 500)
    probabilities = generator.dirichlet(np.ones(7), 500) + np.eye(7)[labels] * 0.4
    probabilities = (probabilities / probabilities.sum(axis=1, keepdims=True)).astype(np.float32)
    answered, true = torch.from_numpy(probabilities), torch.from_numpy(labels)

    metrics = evaluate(probabilities, labels, list("abcdefg"))

    expected = {
        "accuracy": reference.multiclass_accuracy(answered, true, 7, average="micro"),
        "balanced_accuracy": reference.multiclass_accuracy(answered, true, 7, average="macro"),
        "top5_accuracy": reference.multiclass_accuracy(answered, true, 7, average="micro", top_k=5),
        "precision_macro": reference.multiclass_precision(answered, true, 7, average="macro"),
        "recall_weighted": reference.multiclass_recall(answered, true, 7, average="weighted"),
        "f1_macro": reference.multiclass_f1_score(answered, true, 7, average="macro"),
        "f1_weighted": reference.multiclass_f1_score(answered, true, 7, average="weighted"),
        "roc_auc_macro": reference.multiclass_auroc(answered, true, 7, average="macro"),
        "average_precision_macro": reference.multiclass_average_precision(answered, true, 7, average="macro"),
        "expected_calibration_error": reference.multiclass_calibration_error(answered, true, 7, n_bins=15),
    }
    for name, value in expected.items():
        assert metrics[name] == pytest.approx(float(value), abs=1e-5), name
