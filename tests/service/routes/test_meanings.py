"""Answers of dry runs: why each value was chosen, and what the job is expected to take."""

from typing import Any

import pytest

from models_store.jobs import stage_costs
from models_store.jobs.kinds import STAGES
from models_store.jobs.stage_costs import Cost
from tests.service.live_service import Service


@pytest.fixture
def dataset(service: Service) -> str:
    return str(service.upload()["id"])


def meant(service: Service, dataset: str, **asked: Any) -> dict[str, Any]:
    answer = service.http.post("/train?dry_run=true", json={"name": "leaves", "dataset": dataset} | asked)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def an_earlier_job(service: Service, dataset: str, *, seconds: float) -> None:
    """Record what a job with all defaults took, each stage as long."""
    job = service.http.post("/train", json={"name": "leaves", "dataset": dataset}).json()
    for stage in STAGES:
        cost = Cost(stage, seconds, job["spec"]["training"]["epochs"], memory_bytes=2 << 30)
        stage_costs.record(service.context.database, job["id"], cost)


def test_each_chosen_value_is_there_with_its_reason(service: Service, dataset: str) -> None:
    answer = meant(service, dataset, optimizer={"kind": "sgd"}, training={"epochs": 3})

    reasons = {each["pointer"]: each for each in answer["decisions"]}
    assert reasons["/optimizer/lr"]["value"] == answer["spec"]["optimizer"]["lr"]
    assert "sgd" in reasons["/optimizer/lr"]["why"]
    assert "/backbone/kind" in reasons
    assert not {"/optimizer/kind", "/training/epochs", "/name", "/seed"} & reasons.keys()


def test_nothing_is_estimated_where_nothing_is_known(service: Service, dataset: str) -> None:
    estimate = meant(service, dataset)["estimate"]

    assert (estimate["seconds"], estimate["memory_bytes"], estimate["jobs"]) == (None, None, 0)
    assert estimate["summary"].startswith("unknown: no job has run here yet")
    assert "training" in estimate["unknown"]


def test_an_estimate_rests_on_earlier_jobs_and_says_how_far_it_may_be_off(service: Service, dataset: str) -> None:
    an_earlier_job(service, dataset, seconds=60)

    estimate = meant(service, dataset)["estimate"]

    stages = {each["stage"]: each for each in estimate["stages"]}
    assert stages["training"]["seconds"]["middle"] == pytest.approx(60)
    assert estimate["seconds"]["middle"] == pytest.approx(60 * len(stages), rel=0.01)
    assert estimate["seconds"]["low"] < estimate["seconds"]["middle"] < estimate["seconds"]["high"]
    assert estimate["memory_bytes"]["middle"] == pytest.approx(2 << 30, rel=0.01)
    assert (estimate["jobs"], estimate["unknown"]) == (1, [])
    assert "from 1 earlier job with this backbone, input size and way of training" in estimate["summary"]
    assert "2 GiB of memory" in estimate["summary"]


def test_more_epochs_and_more_children_take_longer(service: Service, dataset: str) -> None:
    an_earlier_job(service, dataset, seconds=60)
    epochs = meant(service, dataset)["spec"]["training"]["epochs"]

    once, longer, folds = (
        meant(service, dataset, **asked)["estimate"]["seconds"]["middle"]
        for asked in (
            {},
            {"training": {"epochs": 2 * epochs}},
            {"validation": {"kind": "k_fold", "folds": 4, "publish": False}},
        )
    )

    assert longer == pytest.approx(once + 60, rel=0.02)
    assert folds == pytest.approx(4 * 180, rel=0.02)  # validating, training and evaluating of each
