"""Workers and the queue as the database knows them, on SQLite and on PostgreSQL."""

import pytest
from sqlalchemy import update

from models_store.jobs import claims, leases, submissions, tallies, waiting, workers
from models_store.jobs import store as jobs
from models_store.settings import Settings
from models_store.storage import tables
from models_store.storage.database import Database, now
from tests.samples import a_train_spec, insert_dataset

OWNER, OTHER = "ada", "bob"
CPU = {"kind": "cpu", "name": "a CPU", "cores": 2, "memory_bytes": 1 << 30}


@pytest.fixture(autouse=True)
def dataset(database: Database) -> None:
    insert_dataset(database, owner=OWNER)


def submit(database: Database, settings: Settings, *, owner: str = OWNER) -> jobs.Job:
    job, _ = submissions.submit(database, owner=OWNER, spec=a_train_spec(), settings=settings)
    set_row(database, job.id, owner=owner)
    return job


def set_row(database: Database, job_id: str, **values: object) -> None:
    with database.write() as connection:
        connection.execute(update(tables.job).where(tables.job.c.id == job_id).values(**values))


def beat(database: Database, worker_id: str = "wrk_1") -> None:
    workers.beat(database, worker_id, version="1.2", devices=[CPU], slots=1)


def test_a_worker_is_listed_from_its_first_beat_until_it_leaves(database: Database) -> None:
    beat(database)
    beat(database)
    (found,) = workers.listing(database)

    assert (found.id, found.version, found.devices, found.jobs) == ("wrk_1", "1.2", [CPU], [])
    assert found.state(beat_s=10) == "idle"

    workers.leave(database, "wrk_1")
    assert workers.listing(database) == []


def test_a_worker_is_listed_with_the_job_that_it_claimed(database: Database, settings: Settings) -> None:
    job = submit(database, settings)
    beat(database, "wrk_1")
    beat(database, "wrk_2")

    claims.claim(database, settings=settings, worker_id="wrk_2")

    idle, busy = sorted(workers.listing(database), key=lambda each: each.id)
    assert (idle.jobs, idle.free_slots) == ([], 1)
    assert [each.job_id for each in busy.jobs] == [job.id]
    assert (busy.state(beat_s=10), busy.free_slots) == ("busy", 0)


def test_a_worker_that_stopped_beating_is_lost_and_at_last_forgotten(database: Database) -> None:
    beat(database)
    with database.write() as connection:
        connection.execute(update(tables.worker).values(beat_at=now() - 31))
    assert workers.listing(database)[0].state(beat_s=10) == "lost"

    with database.write() as connection:
        connection.execute(update(tables.worker).values(beat_at=now() - workers.FORGOTTEN_AFTER_S - 1))
    workers.forget_lost(database)
    assert workers.listing(database) == []


def test_a_worker_that_was_forgotten_in_an_outage_comes_back_with_its_next_beat(database: Database) -> None:
    beat(database)
    workers.leave(database, "wrk_1")

    beat(database)

    assert [each.id for each in workers.listing(database)] == ["wrk_1"]


def test_the_queue_is_told_in_the_order_of_claims(database: Database, settings: Settings) -> None:
    first, put_off, other, urgent = (
        submit(database, settings),
        submit(database, settings),
        submit(database, settings, owner=OTHER),
        submit(database, settings),
    )
    last = submit(database, settings)
    set_row(database, urgent.id, priority=5)
    set_row(database, put_off.id, not_before=now() + 60, crashes=1)

    found, following = waiting.page(database, owner=OWNER, limit=10)

    assert [(each.id, each.ahead) for each in found] == [(urgent.id, 0), (first.id, 1), (put_off.id, 2), (last.id, 3)]
    assert following is None
    assert found[2].due_in_s == pytest.approx(60, abs=5)
    claimed = claims.claim(database, settings=settings)
    assert claimed is not None
    assert claimed.job.id == urgent.id
    assert [each.id for each in waiting.page(database, owner=OTHER, limit=10)[0]] == [other.id]


def test_pages_of_the_queue_go_on_where_the_last_ended(database: Database, settings: Settings) -> None:
    made = [submit(database, settings).id for _ in range(5)]

    first, following = waiting.page(database, owner=OWNER, limit=3)
    assert following is not None
    second, end = waiting.page(database, owner=OWNER, limit=3, after=following)

    assert [each.id for each in (*first, *second)] == made
    assert end is None


def test_a_job_that_was_put_back_says_why(database: Database, settings: Settings) -> None:
    submit(database, settings)
    claim = claims.claim(database, settings=settings)
    assert claim is not None

    claims.crash(database, claim, settings=settings.model_copy(update={"backoff_s": 60}), reason="it ran out of memory")

    (found,), _ = waiting.page(database, owner=OWNER, limit=10)
    assert (found.reason, found.crashes) == ("it ran out of memory", 1)
    assert waiting.counts(database) == waiting.Counts(queued=1, running=0, waiting=0)


def test_crashes_and_leases_that_ran_out_are_counted_for_good(database: Database, settings: Settings) -> None:
    job = submit(database, settings)
    claim = claims.claim(database, settings=settings)
    assert claim is not None
    claims.crash(database, claim, settings=settings.model_copy(update={"backoff_s": 0}), reason="it crashed")
    assert claims.claim(database, settings=settings) is not None
    set_row(database, job.id, lease_expires_at=0.0)

    leases.reap(database, settings=settings)

    with database.read() as connection:
        assert tallies.counts(connection) == {"crashes": 1, "lease_expiries": 1}
