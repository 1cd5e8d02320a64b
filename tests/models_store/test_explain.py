"""What somebody is told who wrote a name that is not known where it stands."""

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
