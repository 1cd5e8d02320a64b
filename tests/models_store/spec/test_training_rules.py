from typing import Any

import pytest
from pydantic import ValidationError

from models_store.tasks.image.contract import IMAGE
from models_store.tasks.image.facts import ImageFacts
from models_store.tasks.image.spec import ImageSpec, ResolvedImageSpec
from tests.samples import DATASET_ID

CLASSES = ImageFacts(train_count=400, counts={"blue": 100, "red": 300}, median_side=224)
NUMBERS = ImageFacts(train_count=400, target="number", median_side=224)
FROZEN = {"kind": "resnet18", "freeze": "backbone"}
TRAINED = {"kind": "resnet18", "freeze": "none"}
RANDOM = {"kind": "resnet18", "weights": None}
TEACHER = {"teacher": "oak@best"}


def resolved(facts: ImageFacts = CLASSES, **asked: Any) -> tuple[ResolvedImageSpec, list[str]]:
    return IMAGE.resolve(ImageSpec.model_validate({"name": "leaves", "dataset": DATASET_ID} | asked), facts)


@pytest.mark.parametrize(
    ("asked", "pointer"),
    [
        ({"regularizers": [{"kind": "ema"}, {"kind": "swa"}]}, "regularizers/1"),
        ({"regularizers": [{"kind": "l1"}, {"kind": "ema"}, {"kind": "ema"}]}, "regularizers/2"),
        ({"regularizers": [{"kind": "sam"}, {"kind": "l1"}, {"kind": "sam"}]}, "regularizers/2"),
        (
            {"regularizers": [{"kind": "swa"}], "optimizer": {"kind": "schedule_free_adamw"}},
            "regularizers/0",
        ),
        ({"training": {"batch_size": 8, "accumulate_steps": 9}}, "training/accumulate_steps"),
        ({"distillation": TEACHER | {"weight": 0.0}}, "distillation/weight"),
        ({"backbone": FROZEN, "distillation": TEACHER | {"features_weight": 1.0}}, "distillation/features_weight"),
        ({"backbone": FROZEN, "transfer": {"probe_epochs": 2}}, "transfer/probe_epochs"),
        ({"backbone": FROZEN, "transfer": {"unfreeze_every_epochs": 2}}, "transfer/unfreeze_every_epochs"),
        ({"backbone": RANDOM, "transfer": {"probe_epochs": 2}}, "transfer/probe_epochs"),
        ({"backbone": RANDOM, "transfer": {"unfreeze_every_epochs": 2}}, "transfer/unfreeze_every_epochs"),
        ({"backbone": RANDOM, "regularizers": [{"kind": "l2_sp"}]}, "regularizers/0"),
    ],
)
def test_what_rules_itself_out_is_refused_where_it_stands(asked: dict[str, Any], pointer: str) -> None:
    with pytest.raises(ValidationError) as caught:
        resolved(**asked)

    (error,) = caught.value.errors()
    assert (error["type"], error["ctx"]["pointer"]) == ("contradiction", pointer)


@pytest.mark.parametrize(
    ("asked", "pointer"),
    [
        ({"training": {"monitor": "val_balanced_accuracy"}}, "training/monitor"),
        ({"training": {"monitor": "val_balanced_loss"}}, "training/monitor"),
        ({"training": {"early_stopping": {"metric": "val_balanced_accuracy"}}}, "training/early_stopping/metric"),
        ({"training": {"early_stopping": {"metric": "val_balanced_loss"}}}, "training/early_stopping/metric"),
        ({"training": {"sampling": "balanced"}}, "training/sampling"),
        ({"regularizers": [{"kind": "confidence_penalty"}]}, "regularizers/0"),
    ],
)
def test_what_needs_classes_is_refused_for_numbers(asked: dict[str, Any], pointer: str) -> None:
    with pytest.raises(ValidationError) as caught:
        resolved(NUMBERS, **asked)

    assert caught.value.errors()[0]["ctx"]["pointer"] == pointer
    resolved(CLASSES, **asked)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (
            {"backbone": FROZEN, "regularizers": [{"kind": "l2_sp"}, {"kind": "drop_path"}][:1]},
            "l2_sp: has no effect on",
        ),
        ({"backbone": FROZEN, "transfer": {"layer_decay": 0.5}}, "layer_decay needs"),
        (
            {"backbone": TRAINED, "transfer": {"unfreeze_every_epochs": 2}, "training": {"epochs": 8}},
            "does not train within 8",
        ),
        (
            {"training": {"epochs": 1}, "schedule": {"kind": "cosine", "warmup_epochs": 1}},
            "the warm-up takes the only epoch, so",
        ),
        (
            {"training": {"epochs": 1, "early_stopping": {"patience": 1}}},
            "early_stopping.patience 1 has no effect within 1 epoch",
        ),
        (
            {"regularizers": [{"kind": "swa"}], "training": {"early_stopping": {}}},
            "before swa begins",
        ),
    ],
)
def test_what_is_hardly_meant_is_told(asked: dict[str, Any], told: str) -> None:
    _, warnings = resolved(**asked)

    assert any(told in warning for warning in warnings), warnings


def test_a_temperature_of_numbers_is_told() -> None:
    _, warnings = resolved(NUMBERS, distillation=TEACHER)

    assert any("distillation.temperature" in warning for warning in warnings)


def test_balanced_draws_of_balanced_classes_are_told() -> None:
    even = ImageFacts(train_count=400, counts={"blue": 200, "red": 200}, median_side=224)
    asked = {"training": {"sampling": "balanced"}}

    assert any("already balanced" in warning for warning in resolved(even, **asked)[1])
    assert not any("already balanced" in warning for warning in resolved(CLASSES, **asked)[1])


@pytest.mark.parametrize(
    "transfer", [{"probe_epochs": 1}, {"unfreeze_every_epochs": 1}, {"layer_decay": 0.7}], ids=lambda value: str(*value)
)
def test_what_fine_tunes_is_no_contradiction_to_a_policy_left_out(transfer: dict[str, Any]) -> None:
    spec, _ = resolved(backbone={"kind": "resnet18"}, transfer=transfer)

    assert spec.backbone.freeze != "backbone"
