"""Traces of attempts: a real supervisor and a small trainer, as a real collector gets their spans."""

from pathlib import Path

import pytest
from sqlalchemy import update

from models_store.jobs import submissions
from models_store.settings import Settings
from models_store.storage import tables
from models_store.storage.database import Database
from tests import collectors, databases
from tests.samples import a_train_spec, insert_dataset
from tests.workers.process.attempts import OWNER, Attempt
from workers.process.trainer_process import environment

TRACE, REQUEST = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PROGRAM = 'say("phase", phase="data"); say("phase", phase="training"); say("result", **RESULT)'


@pytest.fixture
def database(tmp_path: Path) -> Database:
    store = databases.sqlite(f"sqlite:///{tmp_path / 'store.db'}")
    insert_dataset(store, owner=OWNER)
    return store


def submit(database: Database, settings: Settings) -> str:
    job, _ = submissions.submit(database, owner=OWNER, spec=a_train_spec(), settings=settings)
    with database.write() as connection:
        connection.execute(update(tables.job).values(traceparent=f"00-{TRACE}-{REQUEST}-01"))
    return job.id


def test_the_phases_of_an_attempt_are_under_the_request_that_made_the_job(
    database: Database, settings: Settings, attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit(database, settings)
    with collectors.collecting(monkeypatch) as collector:
        assert attempt(PROGRAM) == "succeeded: leaves:1"
        spans = collector.wait_for(lambda found: any(each.name == "attempt at train" for each in found))

    by_name = {each.name: each for each in spans}
    whole = by_name["attempt at train"]
    assert {each.trace for each in spans} == {TRACE}
    assert (whole.parent, by_name["wait for a worker"].parent) == (REQUEST, REQUEST)
    assert [by_name[name].parent for name in ("starting", "data", "training")] == [whole.id] * 3
    assert by_name["data"].ended_ns <= by_name["training"].ended_ns <= whole.ended_ns
    assert whole.attributes == {"espalier.job_id": job, "espalier.attempt": 1, "espalier.outcome": "succeeded"}


def test_a_dead_collector_costs_an_attempt_nothing(
    database: Database, settings: Settings, attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(database, settings)
    with collectors.named("http://127.0.0.1:1", monkeypatch):
        assert attempt(PROGRAM) == "succeeded: leaves:1"


def test_a_trainer_knows_nothing_of_the_collector(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=opensesame")

    assert "opensesame" not in str(environment(settings))
