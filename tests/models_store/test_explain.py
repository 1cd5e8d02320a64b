"""What somebody is told who wrote a name that is not known where it stands."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from models_store.spec.explain import explain
from models_store.spec.train import TrainSpec
from tests.samples import DATASET_ID


def told(**asked: Any) -> str:
    """Return the message about the only fault of a spec."""
    document = {"name": "leaves", "dataset": DATASET_ID} | asked
    with pytest.raises(ValidationError) as caught:
        TrainSpec.model_validate(document)
    (fault,) = explain(caught.value, TrainSpec, document)
    return str(fault["message"])


@pytest.mark.parametrize(
    ("asked", "advice"),
    [
        pytest.param({"optimizer": {"kind": "SGD"}}, "did you mean 'sgd'?", id="capitals in a kind"),
        pytest.param({"Optimizer": {"kind": "sgd"}}, "did you mean 'optimizer'?", id="capitals in a key"),
        pytest.param({"optimizer": {"kind": "adamw2"}}, "did you mean 'adamw'?", id="misspelt"),
        pytest.param({"training": {"weight_decay": 0.1}}, "did you mean 'optimizer.weight_decay'?", id="field"),
        pytest.param({"mixup": {}}, "`mixup` is a kind of `augmentation`", id="kind as a key"),
        pytest.param({"dropout": 0.5}, "`dropout` is a field of `head` and a kind of `regularizers`", id="both"),
        pytest.param(
            {"regularizers": [{"kind": "label_smoothing"}]},
            "`label_smoothing` is a field of `loss`",
            id="field as a kind",
        ),
        pytest.param(
            {"regularizers": [{"kind": "early_stopping"}]}, "`early_stopping` is a field of `training`", id="another"
        ),
        pytest.param(
            {"regularizers": [{"kind": "MixUp"}]}, "`MixUp` is a kind of `augmentation`", id="kind of another family"
        ),
    ],
)
def test_a_name_in_the_wrong_place_is_told_its_right_one(asked: dict[str, Any], advice: str) -> None:
    assert told(**asked).endswith(f"; {advice}")


def test_nothing_is_suggested_for_what_is_like_nothing() -> None:
    assert told(optimizer={"kind": "zzz"}).endswith("schedule_free_adamw, sgd")


@pytest.mark.parametrize(
    ("quantize", "advice"),
    [
        pytest.param({"kind": "static_int8"}, 'such as [{"kind": "static_int8"}], or [] for none', id="one part"),
        pytest.param("int8", 'such as [{"kind": "static_int8"}], or [] for none', id="part of a name"),
        pytest.param("FP16", 'such as [{"kind": "fp16"}], or [] for none', id="name"),
        pytest.param({"kind": "none"}, 'such as [{"kind": "static_int8"}], or [] for none', id="none"),
        pytest.param(None, 'such as [{"kind": "static_int8"}], or [] for none', id="null"),
    ],
)
def test_one_part_where_a_list_belongs_is_answered_with_the_list(quantize: Any, advice: str) -> None:
    assert told(compression={"quantize": quantize}).endswith(advice)


def test_a_value_out_of_range_is_repeated() -> None:
    assert told(compression={"prune": {"kind": "structured", "ratio": 1.5}}).endswith("less than 1, not 1.5")
    assert told(training={"epochs": "x" * 5000}).endswith(f', not "{"x" * 79}…')
    assert told(training={"epochs": [0] * 9}).endswith(", not a list of 9")


def test_a_part_without_its_kind_is_told_the_kinds_that_have_its_fields() -> None:
    assert told(compression={"prune": {"ratio": 2}}).endswith("; 'ratio': of structured or unstructured_l1")


@pytest.mark.parametrize(
    ("field", "example"),
    [("compression", {"control": False}), ("training", {"accumulate_steps": 1}), ("input", {"channels": 3})],
)
def test_the_example_of_an_object_is_valid(field: str, example: dict[str, Any]) -> None:
    message = told(**{field: True})

    assert json.loads(message.partition("such as ")[2]) == example
