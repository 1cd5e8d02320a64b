"""Statements that run often, by the plans that databases make for them: no more is read than is answered."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, insert, text, update

from models_store.datasets import store as datasets
from models_store.jobs import children, claims, events, leases, schedule, submissions
from models_store.jobs import store as jobs
from models_store.jobs.kinds import URGENT
from models_store.models import removals
from models_store.settings import Settings
from models_store.storage import tables
from models_store.storage.database import Database
from tests import databases
from tests.samples import DATASET_ID, a_train_spec, insert_dataset

OWNER = "ada"
PARENT = "job_00000parent"
UNUSED = "ds_1111111111"
READS: dict[str, Callable[[Database, Settings], object]] = {
    "claim": lambda database, settings: claims.claim(database, settings=settings),
    "urgent claim": lambda database, settings: claims.claim(database, settings=settings, least_priority=URGENT),
    "wake-up": lambda database, _: schedule.due_for_wake_up(database, older_than_s=30),
    "list": lambda database, _: jobs.listing(database, owner=OWNER, limit=10),
    "later page": lambda database, _: jobs.listing(database, owner=OWNER, limit=10, cursor="job_00000500"),
    "list of a state": lambda database, _: jobs.listing(database, owner=OWNER, state="failed", limit=10),
    "later page of a state": lambda database, _: jobs.listing(
        database, owner=OWNER, state="queued", limit=10, cursor="job_00000500"
    ),
    "previews": lambda database, _: jobs.listing(database, owner=OWNER, kind="preview", limit=10),
    "list of a kind": lambda database, _: jobs.listing(database, owner=OWNER, kind="train", limit=10),
    "old previews": lambda database, _: removals.delete_previews(database, ended_before_s=60),
    "children": lambda database, _: jobs.listing(database, owner=OWNER, parent=PARENT, limit=10),
    "children by number": lambda database, _: children.page(database, PARENT, limit=10),
    "phases": lambda database, _: events.phases_entered(database, ["job_00000001", "job_00000002"]),
    "attempts": lambda database, _: jobs.attempts(database, ["job_00000001", "job_00000002"]),
    "counts": lambda database, _: children.counts(database, [PARENT]),
    "lost workers": lambda database, settings: leases.reap(database, settings=settings),
    "use of a dataset": lambda database, _: datasets.delete(database, UNUSED, owner=OWNER),
}
GROUPED = {"attempts", "counts"}
"""they put a page's few rows into groups, which PostgreSQL may sort"""
FULL_SCAN = re.compile(r"SCAN (job|job_event|attempt)(?! USING)|Seq Scan on (job|attempt)")
SORT = re.compile(r"TEMP B-TREE|Sort")


@pytest.fixture
def crowded(database: Database) -> Database:
    """Make 3,000 jobs: a third each is queued, put off, and ended; two thirds are children of some parent."""
    spec = a_train_spec().model_dump(mode="json")
    shared = {
        "owner": OWNER, "kind": "train", "name": "leaves", "dataset_id": DATASET_ID, "spec": spec, "warnings": [],
        "spec_sha256": "5" * 64, "max_crashes": 3, "progress": {}, "checkpoints": [], "created_at": 0.0,
        "fence": 1, "event_seq": 4,
    }  # fmt: skip
    states = [("queued", 4e9), ("queued", 1.0), ("succeeded", 1.0)]
    rows = []
    for number in range(3000):
        state, not_before = states[number // 1000]
        parent = None if number % 3 == 0 else PARENT if number % 30 == 1 else f"job_0000other{number % 30:02d}"
        family = {"parent_id": parent, "number": parent and number}
        rows.append(shared | family | {"id": f"job_{number:08d}", "state": state, "not_before": not_before})
    insert_dataset(database, owner=OWNER)
    told = [
        {"job_id": row["id"], "seq": seq, "kind": kind, "data": {"phase": "training"}, "created_at": 0.0}
        for row in rows
        for seq, kind in enumerate(("state", "phase", "log", "metrics"), 1)
    ]
    attempt = {"fence": 1, "host": "h", "boot_id": "b", "pid": 1, "pid_started": "1", "started_at": 0.0}
    with database.write() as connection:
        other = {"id": UNUSED, "digest": "e" * 64, "owner": OWNER, "name": "unused", "created_at": 0.0}
        nothing = {"content_blob": "1" * 64, "manifest_blob": "2" * 64, "card": {}, "report": {}}
        connection.execute(insert(tables.dataset).values(**other, **nothing))
        connection.execute(insert(tables.job), rows)
        connection.execute(insert(tables.job_event), told)
        connection.execute(insert(tables.attempt), [attempt | {"job_id": row["id"]} for row in rows])
        connection.execute(text("ANALYZE"))
    return database


@contextmanager
def statements() -> Iterator[list[tuple[str, Any]]]:
    """Collect every statement that is sent inside, with its parameters."""
    sent: list[tuple[str, Any]] = []

    def note(_connection: Connection, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        if not statement.startswith(("BEGIN", "EXPLAIN")):
            sent.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def plan_of(database: Database, statement: str, parameters: Any) -> str:
    """Return how the database would run a statement, as it says itself."""
    explain = "EXPLAIN QUERY PLAN" if database.dialect == "sqlite" else "EXPLAIN"
    with database.write() as connection:
        rows = connection.exec_driver_sql(f"{explain} {statement}", parameters).all()
        connection.rollback()
    return "\n".join(str(row[-1]) for row in rows)


def test_no_sort_and_no_scan_of_all_jobs(crowded: Database, settings: Settings) -> None:
    plans = {}
    for name, read in READS.items():
        with statements() as sent:
            read(crowded, settings)
        asked = [each for each in sent if not each[0].startswith("INSERT")]
        plans[name] = "\n".join(plan_of(crowded, *each) for each in asked)

    slow = {
        name: plan
        for name, plan in plans.items()
        if FULL_SCAN.search(plan) or (name not in GROUPED and SORT.search(plan))
    }
    assert all(plans.values())
    assert slow == {}


def test_jobs_that_wait_for_a_retry_do_not_hold_up_those_that_are_due(crowded: Database, settings: Settings) -> None:
    claimed = claims.claim(crowded, settings=settings)

    assert claimed is not None
    assert claimed.job.id == "job_00001000"


def test_a_claim_of_urgent_jobs_leaves_all_others(crowded: Database, settings: Settings) -> None:
    nothing = claims.claim(crowded, settings=settings, least_priority=URGENT)
    preview, _ = submissions.submit(
        crowded, owner=OWNER, spec=a_train_spec(), settings=settings, action=submissions.Action("preview", {})
    )

    claimed = claims.claim(crowded, settings=settings, least_priority=URGENT)

    assert nothing is None
    assert claimed is not None
    assert claimed.job.id == preview.id


def test_what_is_announced_is_what_is_claimed_next(crowded: Database, settings: Settings) -> None:
    with crowded.write() as connection:
        connection.execute(update(tables.job).where(tables.job.c.id == "job_00001500").values(priority=5))

    announced = schedule.due_for_wake_up(crowded, older_than_s=30)

    claimed = claims.claim(crowded, settings=settings)
    assert claimed is not None
    assert announced[0] == claimed.job.id == "job_00001500"


def test_a_column_that_holds_nan_is_read_as_it_was_written(tmp_path: Any) -> None:
    database = databases.sqlite(f"sqlite:///{tmp_path / 'store.db'}")
    insert_dataset(database, owner=OWNER)
    with database.write() as connection:
        connection.execute(update(tables.dataset).values(card={"loss": float("nan"), "name": "é"}))

    card = datasets.find(database, DATASET_ID, owner=OWNER).card

    assert json.dumps(card) == json.dumps({"loss": float("nan"), "name": "é"})
    database.close()
