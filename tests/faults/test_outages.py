"""A whole stack whose database is locked, or whose supervisor is stopped, while it trains: no crash counts."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import samples
from tests.database_locks import write_lock
from tests.faults.training import SPEC
from tests.live_stack import LiveService, running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

LEASE_S, DEADLINE_S = 8.0, 5.0
SHORT = SPEC | {"training": {"epochs": 8, "batch_size": 16, "precision": "fp32"}}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    home = tmp_path_factory.mktemp("stack") / "home"
    settings = samples.quick_settings(home, lease_s=LEASE_S, beat_deadline_s=DEADLINE_S, database_wait_s=1)
    with running(settings) as live:
        yield live


@pytest.fixture
def training(service: LiveService, archive: Path, request: pytest.FixtureRequest) -> dict[str, Any]:
    """A job in the middle of its training."""
    dataset = service.upload(archive)
    started = service.train(name=request.node.name.replace("_", "-")[:60], dataset=dataset["id"], **SHORT)
    return service.wait_for_epoch(started["id"], 2)


def test_a_lock_that_outlasts_the_lease_costs_an_attempt_and_no_crash(
    service: LiveService, training: dict[str, Any]
) -> None:
    with write_lock(service.settings.database_url):
        over_at = time.monotonic() + LEASE_S + 4
        while time.monotonic() < over_at:
            assert service.http.get("/health/live").status_code == 200
            assert service.job(training["id"])["crashes"] == 0
            time.sleep(0.5)

    job = service.wait(training["id"])

    assert job["state"] == "succeeded", job["problem"]
    assert job["crashes"] == 0


def test_a_supervisor_that_is_stopped_for_longer_than_its_lease_costs_no_crash(
    service: LiveService, training: dict[str, Any]
) -> None:
    supervisor = service.supervisor_pid(training["id"])
    os.kill(supervisor, signal.SIGSTOP)
    try:
        time.sleep(LEASE_S + 2)
    finally:
        os.kill(supervisor, signal.SIGCONT)

    job = service.wait(training["id"])

    assert job["state"] == "succeeded", job["problem"]
    assert job["crashes"] == 0
