"""`kill -9` of trainer, starter, supervisor, the whole worker and the broker: each ends in exactly one model."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.faults.training import SPEC
from tests.live_stack import LiveService
from tests.processes import children_of, is_alive, kill, parent_of, starter_of, trainer_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dataset(service: LiveService, archive: Path) -> dict[str, Any]:
    return service.upload(archive)


@pytest.fixture(scope="module")
def undisturbed(service: LiveService, dataset: dict[str, Any]) -> dict[str, np.ndarray]:
    """The weights of a job that nobody disturbed."""
    job = service.wait(service.train(name="undisturbed", dataset=dataset["id"], **SPEC)["id"])
    assert job["state"] == "succeeded", job["problem"]
    return weights(service, "undisturbed")


def weights(service: LiveService, name: str) -> dict[str, np.ndarray]:
    answer = service.http.get(f"/models/{name}/versions/1/variants/fp32/download").raise_for_status()
    graph = onnx.load_from_string(answer.content).graph
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}


@pytest.fixture(params=["trainer", "starter", "supervisor", "worker"])
def disturbed(request: pytest.FixtureRequest, service: LiveService, dataset: dict[str, Any]) -> dict[str, Any]:
    """A job of the same spec, one of whose processes was killed in the middle of training."""
    victim = request.param
    started = service.train(name=f"killed-{victim}", dataset=dataset["id"], **SPEC)
    service.wait_for_epoch(started["id"], 4)
    supervisor = service.supervisor_pid(started["id"])
    trainer, worker = trainer_of(supervisor), parent_of(supervisor)
    starter = starter_of(worker)
    assert starter is not None
    assert victim != "starter" or parent_of(trainer) == starter, "the worker has been warm for long"

    kill({"trainer": trainer, "starter": starter, "supervisor": supervisor, "worker": worker}[victim])

    job = service.wait(started["id"])
    gone = {"trainer": [], "starter": [starter], "supervisor": [supervisor], "worker": [starter, supervisor, worker]}
    return job | {"killed": victim, "pids": [trainer, *gone[victim]]}


def test_a_job_whose_process_was_killed_ends_in_exactly_one_model_with_the_same_weights(
    service: LiveService, undisturbed: dict[str, np.ndarray], disturbed: dict[str, Any]
) -> None:
    assert disturbed["state"] == "succeeded", disturbed["problem"]
    assert (disturbed["crashes"], disturbed["attempts"]) == (1, 2)
    model = service.http.get(f"/models/{disturbed['name']}").json()
    assert [version["version"] for version in model["versions"]] == [1]
    assert not any(is_alive(pid) for pid in disturbed["pids"])
    found = weights(service, disturbed["name"])
    assert found.keys() == undisturbed.keys()
    assert all(np.array_equal(found[name], undisturbed[name]) for name in found)


@pytest.mark.usefixtures("undisturbed")
def test_a_starter_has_the_environment_that_trainers_ask_for(service: LiveService) -> None:
    worker = next(process for process in service.stack.running if process.recipe.name == "worker")

    assert "environment differs" not in worker.log_path.read_text()


def test_a_worker_that_is_told_to_leave_saves_its_job_and_the_next_one_ends_it(
    service: LiveService, undisturbed: dict[str, np.ndarray], dataset: dict[str, Any]
) -> None:
    started = service.train(name="drained", dataset=dataset["id"], **SPEC)
    service.wait_for_epoch(started["id"], 4)

    os.kill(parent_of(service.supervisor_pid(started["id"])), signal.SIGTERM)
    job = service.wait(started["id"])

    assert job["state"] == "succeeded", job["problem"]
    assert (job["crashes"], job["attempts"]) == (0, 2)
    found = weights(service, "drained")
    assert all(np.array_equal(found[name], undisturbed[name]) for name in found)


def test_a_job_submitted_while_the_broker_is_down_runs_when_it_is_back(
    service: LiveService, dataset: dict[str, Any]
) -> None:
    valkey = next(process for process in service.stack.running if process.recipe.name == "valkey")
    kill(children_of(valkey.keeper.pid)[0])

    started = service.train(name="brokerless", dataset=dataset["id"], **(SPEC | {"training": {"epochs": 1}}))
    job = service.wait(started["id"])

    assert started["state"] == "queued"
    assert job["state"] == "succeeded", job["problem"]
