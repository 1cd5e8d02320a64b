"""Warnings of runs that learn nothing though every loss is a finite number."""

from typing import Any

import numpy as np
import pytest

from models_store.tasks.image.spec import ResolvedImageSpec
from models_store.tasks.rooms import target_of
from tests.samples import a_train_spec
from tests.workers.training_runs import Recorder, run, some_arrays
from workers.evaluation import metrics, multilabel, regression, soundness
from workers.training import warnings


def rows(*losses: tuple[float, float]) -> list[dict[str, float]]:
    return [{"train_loss": training, "val_loss": validation} for training, validation in losses]


def told(*losses: tuple[float, float], spec: ResolvedImageSpec | None = None) -> dict[str, str]:
    return warnings.of_history(rows(*losses), spec or a_train_spec(), outputs=2)


@pytest.mark.parametrize(
    "losses",
    [
        pytest.param([(0.7, 0.7), (0.5, 0.6), (0.3, 0.9)], id="it learns, and overfits"),
        pytest.param([(0.2, 0.3), (0.1, 9.0)], id="it overfits without measure"),
        pytest.param([(2.0, 0.9), (1.1, 0.7), (0.9, 0.6)], id="it starts badly"),
        pytest.param([(0.5, 0.5), (0.51, 0.5), (0.52, 0.5), (0.53, 0.5), (0.54, 0.5)], id="it rises a little"),
    ],
)
def test_a_usual_run_is_not_doubted(losses: list[tuple[float, float]]) -> None:
    assert told(*losses) == {}


@pytest.mark.parametrize("losses", [[(1e13, 0.7)], [(0.9, 0.7), (5.0, 80.0)], [(1e13, 1e13), (0.5, 0.5)]])
def test_a_blow_up_names_the_loss_the_epoch_and_what_to_do(losses: list[tuple[float, float]]) -> None:
    message = told(*losses)["blown_up"]

    assert "diverged" in message
    assert f"{max(max(each) for each in losses):.3g}" in message
    assert "guessing has 0.693" in message
    assert "Lower `optimizer.lr` (it is " in message


def test_a_penalty_in_the_training_loss_is_no_blow_up() -> None:
    spec = a_train_spec(regularizers=[{"kind": "l1", "strength": 0.1}])

    assert told((9000.0, 0.7), (7000.0, 0.6), spec=spec) == {}
    assert "blown_up" in told((9000.0, 70.0), spec=spec)


def test_a_loss_that_rises_from_epoch_to_epoch_is_doubted() -> None:
    message = told((0.5, 0.5), (0.6, 0.5), (0.8, 0.6), (1.2, 0.7))["rising"]

    assert "risen for 3 epochs, to 1.2 in epoch 4 from 0.5" in message


def test_each_doubt_is_told_once_by_the_first_epoch_that_shows_it() -> None:
    history = rows((0.7, 0.7), (1e9, 1e9), (1e9, 1e9))

    told_after = [warnings.new(history[:count], a_train_spec(), outputs=2) for count in (1, 2, 3)]

    assert [len(each) for each in told_after] == [0, 1, 0]


def test_a_run_with_a_ruinous_rate_warns_while_it_runs() -> None:
    reporter = Recorder()
    spec = a_train_spec(
        optimizer={"kind": "sgd", "lr": 10.0, "momentum": 0.0, "nesterov": False},
        schedule={"kind": "constant"},
        regularizers=[],
        augmentation=[],
        training={"epochs": 3, "batch_size": 4, "precision": "fp32"},
    )

    run(spec, some_arrays(), reporter=reporter)

    assert len(reporter.warnings) == 1
    assert "it is 10" in reporter.warnings[0]


def section(task: str, outputs: Any, targets: Any) -> dict[str, Any]:
    classes = ["ant", "bee"]
    if task == "image_classification":
        return metrics.evaluate(np.array(outputs, np.float32), np.array(targets), classes)
    if task == "multilabel_classification":
        return multilabel.evaluate(np.array(outputs, np.float32), np.array(targets, bool), classes)
    return regression.evaluate(np.array(outputs, np.float64), np.array(targets, np.float64))


def warned(task: str, outputs: Any, targets: Any) -> list[str]:
    return soundness.of_sections({"val": section(task, outputs, targets)}, target=target_of(task))


def test_one_answer_to_all_images_is_doubted() -> None:
    (message,) = warned("image_classification", [[0.9, 0.1]] * 10, [0] * 5 + [1] * 5)

    assert message.startswith("the model answers 'ant' to all 10 validation examples. ")


def test_an_accuracy_of_guessing_is_doubted_even_where_a_class_is_common() -> None:
    answers = [[0.9, 0.1]] * 85 + [[0.1, 0.9]] * 5 + [[0.9, 0.1]] * 9 + [[0.1, 0.9]]

    (message,) = warned("image_classification", answers, [0] * 90 + [1] * 10)

    assert "no better than guessing (balanced accuracy 0.522, guessing 0.5)" in message


def test_a_model_that_has_learned_is_not_doubted() -> None:
    right = [[0.9, 0.1]] * 10 + [[0.2, 0.8]] * 10

    assert warned("image_classification", right, [0] * 10 + [1] * 10) == []
    assert warned("multilabel_classification", right, [[1, 0]] * 10 + [[0, 1]] * 10) == []
    assert warned("image_regression", [1.0, 2.1, 2.9], [1.0, 2.0, 3.0]) == []


def test_numbers_no_better_than_their_mean_are_doubted() -> None:
    (message,) = warned("image_regression", [2.0, 2.0, 2.0], [1.0, 2.0, 3.0])

    assert "no better than their mean (R² 0)" in message


def test_a_model_that_never_answers_a_label_is_doubted() -> None:
    (message,) = warned("multilabel_classification", [[0.1, 0.2]] * 6, [[1, 0]] * 3 + [[0, 1]] * 3)

    assert message.startswith("the model answers no label to all 6 validation examples")


def test_a_class_without_validation_images_is_named() -> None:
    (message,) = warned("image_classification", [[0.9, 0.1]] * 8, [0] * 8)

    assert message.startswith("no validation example has 'bee'")


def test_a_single_image_is_counted_in_the_singular() -> None:
    (message,) = warned("multilabel_classification", [[0.1, 0.1]], [[1, 1]])

    assert message.startswith("the model answers no label to the only validation example. ")
