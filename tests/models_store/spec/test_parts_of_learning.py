from typing import Any

import pytest
from pydantic import ValidationError

from models_store.tasks.image.contract import IMAGE
from models_store.tasks.image.facts import ImageFacts
from models_store.tasks.image.spec import ImageSpec
from tests.samples import DATASET_ID, a_train_spec

CLASSES = ImageFacts(train_count=80, counts={"blue": 40, "red": 40}, median_side=32)
LABELS = ImageFacts(train_count=80, counts={"blue": 40, "red": 30}, target="labels", median_side=32)
NUMBERS = ImageFacts(train_count=80, target="number", median_side=32)


def refusal(facts: ImageFacts, **asked: Any) -> dict[str, Any]:
    with pytest.raises(ValidationError) as caught:
        resolved(facts, **asked)
    (error,) = caught.value.errors()
    assert error["type"] == "contradiction"
    return error["ctx"]


def resolved(facts: ImageFacts, **asked: Any) -> tuple[Any, list[str]]:
    return IMAGE.resolve(ImageSpec.model_validate({"name": "leaves", "dataset": DATASET_ID} | asked), facts)


@pytest.mark.parametrize(
    ("facts", "loss", "allowed"),
    [
        (CLASSES, "mse", ["cross_entropy", "binary_cross_entropy", "focal", "poly1"]),
        (LABELS, "mse", ["binary_cross_entropy"]),
        (LABELS, "cross_entropy", ["binary_cross_entropy"]),
        (LABELS, "focal", ["binary_cross_entropy"]),
        (NUMBERS, "cross_entropy", ["mse"]),
        (NUMBERS, "binary_cross_entropy", ["mse"]),
    ],
)
def test_a_loss_that_does_not_fit_what_is_learned_is_refused(facts: ImageFacts, loss: str, allowed: list[str]) -> None:
    context = refusal(facts, loss={"kind": loss})

    assert context["pointer"] == "loss/kind"
    assert context["allowed"] == allowed


def test_a_loss_that_does_not_fit_the_task_asked_for_is_refused_without_a_dataset() -> None:
    with pytest.raises(ValidationError, match="image_regression"):
        ImageSpec.model_validate(
            {"name": "leaves", "dataset": DATASET_ID, "task": "image_regression", "loss": {"kind": "poly1"}}
        )


@pytest.mark.parametrize("kind", ["cross_entropy", "binary_cross_entropy", "focal", "poly1"])
def test_weights_of_a_class_that_there_is_not_are_refused_with_those_there_are(kind: str) -> None:
    context = refusal(CLASSES, loss={"kind": kind, "class_weights": {"red": 2.0, "green": 3.0}})

    assert context["pointer"] == "loss/class_weights"
    assert context["allowed"] == ["blue", "red"]
    assert "'green'" in context["message"]


@pytest.mark.parametrize("weights", ["balanced", {"red": 2.0}, None], ids=str)
def test_weights_of_classes_that_there_are_stay_as_given(weights: Any) -> None:
    spec, _ = resolved(CLASSES, loss={"kind": "cross_entropy", "class_weights": weights})

    assert spec.loss.class_weights == weights


@pytest.mark.parametrize("milestones", [[5, 3], [3, 3]], ids=str)
def test_milestones_out_of_order_are_refused_with_their_order(milestones: list[int]) -> None:
    context = refusal(CLASSES, schedule={"kind": "multistep", "milestones": milestones})

    assert context["pointer"] == "schedule/milestones"
    assert context["allowed"] == sorted(set(milestones))


@pytest.mark.parametrize(
    ("facts", "kind"), [(CLASSES, "cross_entropy"), (LABELS, "binary_cross_entropy"), (NUMBERS, "mse")]
)
def test_left_out_the_loss_is_that_of_the_dataset(facts: ImageFacts, kind: str) -> None:
    spec, _ = resolved(facts)

    assert spec.loss.kind == kind


def test_left_out_the_schedule_of_an_averaging_optimizer_does_not_fall() -> None:
    spec, warnings = resolved(CLASSES, optimizer={"kind": "schedule_free_adamw"})

    assert spec.schedule.kind == "constant"
    assert not any("schedule_free" in warning for warning in warnings)


TEN_EPOCHS = {"epochs": 10}


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        ({"schedule": {"kind": "step", "every_epochs": 10}}, "changes nothing"),
        ({"schedule": {"kind": "multistep", "milestones": [10, 20]}}, "changes nothing"),
        ({"schedule": {"kind": "reduce_on_plateau", "patience": 8}}, "changes nothing"),
        ({"schedule": {"kind": "linear", "warmup_epochs": 10.0}}, "never reaches its peak"),
        ({"optimizer": {"kind": "schedule_free_adamw"}, "schedule": {"kind": "cosine"}}, "use constant"),
        ({"optimizer": {"kind": "sgd", "momentum": 0.0}}, "nesterov does nothing"),
        ({"optimizer": {"kind": "muon"}, "backbone": {"kind": "resnet18", "freeze": "backbone"}}, "that uses AdamW"),
        (
            {
                "loss": {"kind": "focal", "class_weights": "balanced"},
                "training": {"epochs": 10, "sampling": "balanced"},
            },
            "twice",
        ),
    ],
)
def test_what_is_hardly_meant_is_told(asked: dict[str, Any], word: str) -> None:
    _, warnings = resolved(CLASSES, **({"training": TEN_EPOCHS} | asked))

    assert any(word in warning for warning in warnings)


@pytest.mark.parametrize(
    "schedule",
    [
        {"kind": "step", "every_epochs": 9},
        {"kind": "multistep", "milestones": [9, 20]},
        {"kind": "reduce_on_plateau", "patience": 7},
        {"kind": "constant"},
    ],
)
def test_a_schedule_that_can_still_act_raises_no_doubt(schedule: dict[str, Any]) -> None:
    _, warnings = resolved(CLASSES, training=TEN_EPOCHS, schedule=schedule)

    assert not any("schedule" in warning for warning in warnings)


def test_a_spec_with_weights_by_class_survives_json() -> None:
    spec = a_train_spec(loss={"kind": "poly1", "class_weights": {"red": 2.0}})

    assert type(spec).model_validate_json(spec.model_dump_json()) == spec
