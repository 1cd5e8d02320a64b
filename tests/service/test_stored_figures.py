"""Figures of the database in /metrics, and how seldom it is asked for them."""

from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from sqlalchemy import event, update

from models_store.jobs import claims, submissions, workers
from models_store.settings import Settings
from models_store.storage import tables
from models_store.storage.database import Database
from service.stored_figures import StoredFigures
from tests.samples import a_train_spec, insert_dataset
from tests.service.metric_series import series

GPU = {"kind": "cuda", "name": "a GPU", "cores": None, "memory_bytes": 1 << 34}


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry(database: Database, clock: Clock) -> CollectorRegistry:
    made = CollectorRegistry()
    made.register(StoredFigures(database, beat_s=10, shows_hosts=True, clock=clock))
    clock.now_s += 60  # registering it reads it once
    return made


@pytest.fixture
def statements(database: Database) -> Iterator[list[str]]:
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    yield seen
    event.remove(database.engine, "before_cursor_execute", note)


def read(registry: CollectorRegistry) -> dict[str, list[tuple[dict[str, str], float]]]:
    return series(generate_latest(registry))


def test_jobs_workers_and_devices_are_counted(
    database: Database, settings: Settings, registry: CollectorRegistry
) -> None:
    insert_dataset(database, owner="ada")
    for _ in range(3):
        submissions.submit(database, owner="ada", spec=a_train_spec(), settings=settings)
    for name in ("wrk_1", "wrk_2"):  # of one host: its GPU is counted once
        workers.beat(database, name, version="1", devices=[GPU], slots=1)
    claims.claim(database, settings=settings, worker_id="wrk_1")

    found = read(registry)

    states = {labels["state"]: value for labels, value in found["espalier_jobs"]}
    assert states == {"queued": 2, "running": 1, "waiting": 0, "succeeded": 0, "failed": 0, "canceled": 0}
    assert {labels["state"]: value for labels, value in found["espalier_workers"]} == {"idle": 1, "busy": 1, "lost": 0}
    assert [(labels["name"], value) for labels, value in found["espalier_worker_devices"]] == [("a GPU", 1)]
    assert found["espalier_lease_expiries_total"] == [({}, 0)]
    assert found["espalier_next_job_wait_seconds"][0][1] >= 0


def test_without_names_devices_of_all_hosts_are_counted_together(database: Database) -> None:
    for host in ("secret-1", "secret-2"):
        workers.beat(database, f"wrk_{host}", version="1", devices=[GPU], slots=1)
        with database.write() as connection:
            mine = tables.worker.c.id == f"wrk_{host}"
            connection.execute(update(tables.worker).where(mine).values(host=host))
    made = CollectorRegistry()
    made.register(StoredFigures(database, beat_s=10, shows_hosts=False))

    text = generate_latest(made)

    assert b"secret" not in text
    assert series(text)["espalier_worker_devices"] == [({"host": "", "kind": "cuda", "name": "a GPU"}, 2)]


def test_whoever_asks_often_reads_the_database_once(
    registry: CollectorRegistry, statements: list[str], clock: Clock
) -> None:
    read(registry)
    once = len(statements)
    for _ in range(20):
        read(registry)

    assert len(statements) == once > 0

    clock.now_s += 5
    read(registry)
    assert len(statements) == 2 * once


def test_without_a_database_the_other_counters_are_still_shown(clock: Clock) -> None:
    broken = Database("postgresql://nobody@127.0.0.1:1/none", patience_s=1)
    registry = CollectorRegistry()
    registry.register(StoredFigures(broken, beat_s=10, shows_hosts=True, clock=clock))

    assert read(registry) == {"espalier_database_up": [({}, 0)]}
