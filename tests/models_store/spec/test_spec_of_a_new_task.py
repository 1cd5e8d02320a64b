"""A spec of a new task: a class for what is asked, one for what it resolves to, and the recipe that all tasks have."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import pytest
from pydantic import ValidationError

from models_store.spec.explain import explain
from models_store.spec.facts import DatasetFacts, Target
from models_store.spec.ladder import rungs
from models_store.spec.part import Part
from models_store.spec.reasons import decisions
from models_store.spec.space import applied
from models_store.spec.train import ResolvedSpec, TrainSpec
from models_store.tasks.task import Contract
from tests.samples import DATASET_ID


class RowSpec(TrainSpec):
    targets: ClassVar[Mapping[str, Target]] = {"row_classification": "class"}
    task: Literal["row_classification"] | None = None


class ResolvedRowSpec(ResolvedSpec, RowSpec):
    asked: ClassVar[type[TrainSpec]] = RowSpec
    task: Literal["row_classification"]


class Rows(Contract):
    Spec, ResolvedSpec = RowSpec, ResolvedRowSpec


ASKED: dict[str, Any] = {"name": "flowers", "dataset": DATASET_ID}
FACTS = DatasetFacts(120, {"setosa": 40, "virginica": 80})


def resolved(**asked: Any) -> ResolvedSpec:
    return Rows().resolve(RowSpec.model_validate(ASKED | asked), FACTS)[0]


def test_all_that_it_leaves_out_is_decided() -> None:
    spec = resolved()

    assert isinstance(spec, ResolvedRowSpec)
    assert (spec.task, spec.loss.kind, spec.loss.class_weights) == ("row_classification", "cross_entropy", "balanced")
    assert (spec.training.batch_size, spec.training.epochs) == (32, 200)
    assert (spec.network, spec.freeze, spec.costs.way) == (None, "none", "scratch")


def test_each_decision_has_a_reason() -> None:
    found = {each.pointer: each.why for each in decisions(ASKED, resolved(), FACTS)}

    assert {"/task", "/loss/kind", "/optimizer/lr", "/schedule/kind", "/training/epochs"} <= found.keys()
    assert not [why for why in found.values() if "image" in why]


def test_its_own_plan_is_the_only_one_and_may_be_shorter() -> None:
    (rung,) = rungs(resolved(), FACTS)

    assert rung.with_epochs(5, FACTS).training.epochs == 5


def test_a_search_varies_what_it_has() -> None:
    parent = resolved(search={"kind": "random", "trials": 2, "space": {"optimizer.lr": {"uniform": [0.001, 0.01]}}})

    trial = ResolvedRowSpec.model_validate(applied(parent, {"optimizer.lr": 0.005}, FACTS), context=FACTS)

    assert trial.optimizer.lr == 0.005


@pytest.mark.parametrize(
    "asked", [{"backbone": {"kind": "small_cnn"}}, {"augmentation": []}, {"loss": {"kind": "mse"}}]
)
def test_what_is_of_images_or_does_not_fit_is_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        resolved(**asked)


def test_only_what_it_has_may_be_fitted_to_a_budget() -> None:
    assert resolved(training={"fit_to_budget": ["training.epochs", "loss"]}).training.fit_to_budget

    for path in ("input.size", "backbone.freeze", "augmentation"):
        with pytest.raises(ValidationError) as raised:
            resolved(training={"fit_to_budget": ["training.epochs", path]})
        (fault,) = explain(raised.value, RowSpec, ASKED)
        assert fault["pointer"] == "/training/fit_to_budget/1"
        assert f"no `{path}`" in fault["message"]
        assert fault["allowed"] == ["transfer", "regularizers", "loss", "optimizer", "schedule", "training.epochs"]


def test_a_task_with_inputs_of_its_own_has_no_size_to_be_fitted() -> None:
    class Input(Part):
        length: int = 128

    class TextSpec(RowSpec):
        input: Input = Input()

    with pytest.raises(ValidationError, match=r"no `input\.size`"):
        TextSpec.model_validate(ASKED | {"training": {"fit_to_budget": ["input.size"]}})
