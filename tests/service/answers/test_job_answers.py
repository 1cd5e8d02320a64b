"""Answers for jobs: one shape wherever they are told, and as many statements for a hundred as for one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, update

from models_store.jobs import claims, submissions
from models_store.jobs import store as jobs
from models_store.settings import Settings
from models_store.storage import tables
from models_store.storage.database import Database
from service.answers.documents import Job
from service.answers.jobs import all_described, described, respond
from tests.samples import a_train_spec, insert_dataset

OWNER = "ada"
RESULTS: list[dict[str, Any]] = [
    {"model": "leaves", "version": 3},
    {"value": 1, "metrics": {"val": {"accuracy": 1, "loss": None}}, "epochs": 2},
    {
        "best": {"number": 1, "job": "job_1", "parameters": {"optimizer.lr": 0.1}, "value": 0.5},
        "trials": [{"number": 0, "job": "job_0", "state": "failed", "value": None}],
        "notes": ["few images"],
    },
]


@pytest.fixture(autouse=True)
def dataset(database: Database) -> None:
    insert_dataset(database, owner=OWNER)


def submitted(database: Database, settings: Settings, *, search: bool) -> jobs.Job:
    asked = {"search": {"kind": "random", "trials": 2, "space": {"optimizer.lr": {"choice": [0.1, 0.2]}}}}
    spec = a_train_spec(**(asked if search else {}))
    return submissions.submit(database, owner=OWNER, spec=spec, settings=settings)[0]


def some_jobs(database: Database, settings: Settings, count: int) -> list[jobs.Job]:
    """Make jobs and parents of which each has been claimed and has gone through some phases."""
    for number in range(count):
        submitted(database, settings, search=number % 2 == 1)
    while (claim := claims.claim(database, settings=settings)) is not None:
        told = [("phase", {"phase": "validating"}), ("phase", {"phase": "training"})]
        told.append(("progress", {"fraction": 0.5, "epoch": 1, "epochs": 2, "children": 3}))
        claims.report(database, claim, told)
    return jobs.listing(database, owner=OWNER, limit=100)[0]


@contextmanager
def counted() -> Iterator[list[str]]:
    sent: list[str] = []

    def note(_connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        sent.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def test_a_long_page_takes_as_many_statements_as_a_short_one(database: Database, settings: Settings) -> None:
    found = some_jobs(database, settings, 20)

    with counted() as for_two:
        all_described(database, found[:2])
    with counted() as for_twenty:
        all_described(database, found)

    assert len(found) == 20
    assert len(for_twenty) == len(for_two) > 0


@pytest.mark.parametrize("result", RESULTS, ids=["version", "child", "search"])
def test_an_answer_has_the_documented_shape(database: Database, settings: Settings, result: dict[str, Any]) -> None:
    job = some_jobs(database, settings, 2)[0]
    with database.write() as connection:
        ended = {"state": "succeeded", "result": result, "finished_at": 1.25}
        connection.execute(update(tables.job).where(tables.job.c.id == job.id).values(**ended))

    answer = bytes(respond(described(database, jobs.find(database, job.id, owner=OWNER))).body)

    assert answer.decode() == Job.model_validate_json(answer).model_dump_json(exclude_unset=True)


def test_a_page_tells_each_job_as_it_is_told_alone(database: Database, settings: Settings) -> None:
    found = some_jobs(database, settings, 6)

    page = all_described(database, found)

    assert page == [described(database, job) for job in found]
    assert {job["kind"] for job in page} == {"train", "search"}
    assert [job["attempts"] for job in page] == [1] * 6
    assert [job["children"] and job["children"]["planned"] for job in page] == [3, None] * 3
    assert all([step["state"] for step in job["steps"][:2]] == ["done", "running"] for job in page[1::2])
