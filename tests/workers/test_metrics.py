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
    ant, bee, cat = metrics["per_class"]
    assert ant == {
        "label": "ant",
        "precision": pytest.approx(2 / 3),
        "recall": 1.0,
        "f1": pytest.approx(0.8),
        "support": 2,
    }
    assert bee == {"label": "bee", "precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2}
    assert cat == {"label": "cat", "precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1}


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

    assert json.loads(json.dumps(metrics)) == metrics
