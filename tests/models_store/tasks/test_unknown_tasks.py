"""What another release stored of a task that is not known here."""

import pytest

from models_store.jobs import phases
from models_store.tasks.rooms import UnknownTask, contract_of, of_dataset, read_resolved, target_of
from tests.samples import a_train_spec

SPEC = a_train_spec().model_dump(mode="json") | {"task": "smell_classification"}


def test_a_task_that_is_not_known_is_named_beside_those_that_are() -> None:
    for ask in (contract_of, target_of, lambda task: read_resolved(SPEC | {"task": task})):
        with pytest.raises(UnknownTask) as raised:
            ask("smell_classification")

        problem = raised.value.as_problem()
        assert (problem["status"], problem["code"]) == (503, "unknown_task")
        assert "'smell_classification'" in problem["detail"]
        assert "image_classification, multilabel_classification, image_regression" in problem["detail"]


def test_examples_of_no_known_task_are_named_beside_those_that_are() -> None:
    with pytest.raises(UnknownTask, match=r"the dataset holds smells, .* this installation knows images"):
        of_dataset({"examples": "smells"})


def test_a_job_of_an_unknown_task_has_the_phases_of_most_tasks() -> None:
    assert phases.of_kind("train", SPEC) == phases.of_kind("train", a_train_spec().model_dump(mode="json"))
