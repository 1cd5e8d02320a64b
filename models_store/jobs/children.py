"""Children of a parent: submitted in the fenced transaction that lets its worker go, listed, counted.

Everything that a family's next step needs stands in these rows and their events, so any worker can take that step, and
one that dies in it has lost nothing.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from models_store.jobs import claims, events, families, kinds
from models_store.jobs.claims import Claim
from models_store.jobs.job import COLUMNS, TERMINAL, Job, digest_of, job_of
from models_store.jobs.results import Result
from models_store.storage import tables
from models_store.storage.database import Database, now
from models_store.storage.ids import new_id


@dataclass(frozen=True)
class NewChild:
    """A child to submit: `number` among its siblings, `parameters` what a trial changes in the spec.

    With a `problem` it has failed before it began; `files` are blobs that it starts from.
    """

    number: int
    kind: str
    spec: dict[str, Any]
    parameters: dict[str, Any] | None = None
    files: dict[str, str] | None = None
    problem: dict[str, Any] | None = None


@dataclass(frozen=True)
class Standing:
    """How a child that tries something is doing; its spec is left out, for there may be a thousand of them."""

    job_id: str
    number: int
    state: str
    parameters: dict[str, Any] | None
    result: dict[str, Any] | None


def of(database: Database, parent_id: str) -> list[Job]:
    """Return a parent's children in the order of their numbers."""
    with database.read() as connection:
        return [job_of(row) for row in connection.execute(_of(parent_id))]


def page(database: Database, parent_id: str, *, limit: int, after: int = -1) -> tuple[list[Job], int | None]:
    """Return up to `limit` children numbered above `after`, and the number that the next page comes after."""
    query = _of(parent_id).where(tables.job.c.number > after).limit(limit + 1)
    with database.read() as connection:
        found = [job_of(row) for row in connection.execute(query)]
    return found[:limit], found[limit - 1].number if len(found) > limit else None


def standings(database: Database, parent_id: str) -> list[Standing]:
    """Return how the children that try something are doing, in the order of their numbers."""
    job = tables.job
    query = select(job.c.id, job.c.number, job.c.state, job.c.parameters, job.c.result)
    query = query.where(job.c.parent_id == parent_id, job.c.kind.in_(kinds.TRIED)).order_by(job.c.number)
    with database.read() as connection:
        return [Standing(*row) for row in connection.execute(query)]


def counts(database: Database, parent_ids: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return parent → how many children are in each state that one is in; a parent without children is left out."""
    if not parent_ids:
        return {}
    job = tables.job
    query = select(job.c.parent_id, job.c.state, func.count()).where(job.c.parent_id.in_(parent_ids))
    found: dict[str, dict[str, int]] = {}
    with database.read() as connection:
        for parent_id, state, count in connection.execute(query.group_by(job.c.parent_id, job.c.state)):
            found.setdefault(parent_id, {})[state] = int(count)
    return found


def metrics(database: Database, parent_id: str) -> dict[str, list[dict[str, Any]]]:
    """Return child's id → what it measured after each epoch, in order; an epoch done twice counts as done last."""
    event, job = tables.job_event, tables.job
    query = select(event.c.job_id, event.c.data).join(job, job.c.id == event.c.job_id)
    query = query.where(job.c.parent_id == parent_id, event.c.kind == "metrics").order_by(event.c.job_id, event.c.seq)
    by_epoch: dict[str, dict[int, dict[str, Any]]] = {}
    with database.read() as connection:
        for job_id, data in connection.execute(query):
            if "epoch" in data:
                by_epoch.setdefault(job_id, {})[int(data["epoch"])] = data
    return {job_id: [rows[epoch] for epoch in sorted(rows)] for job_id, rows in by_epoch.items()}


def wait_for(
    database: Database,
    claim: Claim,
    new: Sequence[NewChild],
    *,
    ended: int,
    phase: str,
    progress: dict[str, Any],
) -> list[str]:
    """Submit children and let the parent wait, in one fenced transaction; return the ids of those that are queued.

    `ended` is how many children had ended when the step was decided. If more have by now, the parent is queued again
    at once: nobody will wake it for them.

    Raises:
        claims.Stale: if the claim is no longer ours, or the owner has asked for a cancel.
    """
    job = tables.job
    began_s = time.time()  # ids a millisecond apart sort as numbers do, and the lowest is claimed first
    queued = []
    with database.write() as connection:
        claims.wait(connection, claim, phase=phase, progress=progress)
        for position, child in enumerate(new):
            child_id = _insert(connection, claim.job, child, at_s=began_s + position / 1000)
            if child.problem is None:
                queued.append(child_id)
        those_ended = (job.c.parent_id == claim.job.id, job.c.state.in_(TERMINAL))
        if connection.execute(select(func.count()).where(*those_ended)).scalar_one() != ended:
            connection.execute(update(job).where(job.c.id == claim.job.id).values(state="queued"))
            events.append(connection, claim.job.id, "state", {"state": "queued", "reason": families.A_CHILD_ENDED})
    return queued


def finish(database: Database, claim: Claim, result: Result, *, keep_files_of: Sequence[int] = ()) -> None:
    """End a parent well; its children's files are given up, but those of the numbers given.

    Raises:
        claims.Stale: as `wait_for` does.
    """
    with database.write() as connection:
        claims.succeed(connection, claim, result.as_document())
        families.forget_files(connection, claim.job.id, but=keep_files_of)


def _of(parent_id: str) -> Any:  # noqa: ANN401  a select of as many columns as Job has fields
    return select(*COLUMNS).where(tables.job.c.parent_id == parent_id).order_by(tables.job.c.number)


def _insert(connection: Connection, parent: Job, child: NewChild, *, at_s: float) -> str:
    child_id = new_id("job", at_s=at_s)
    state = "queued" if child.problem is None else "failed"
    connection.execute(
        insert(tables.job).values(
            id=child_id,
            owner=parent.owner,
            kind=child.kind,
            parent_id=parent.id,
            number=child.number,
            parameters=child.parameters,
            name=parent.name,
            dataset_id=parent.dataset_id,
            spec=child.spec,
            spec_sha256=digest_of(child.spec),
            warnings=[],
            state=state,
            priority=parent.priority,
            not_before=now(),
            max_crashes=parent.max_crashes,
            progress={"fraction": 0.0},
            checkpoints=[],
            files=child.files,
            problem=child.problem,
            created_at=now(),
            finished_at=None if child.problem is None else now(),
            traceparent=parent.traceparent,
        )
    )
    data = {"state": state} if child.problem is None else {"state": state, "problem": child.problem}
    events.append(connection, child_id, "state", data)
    if child.problem is not None:
        detail = {"job": child_id, "number": child.number, "kind": child.kind, "state": state}
        events.append(connection, parent.id, "child", {**detail, "problem": child.problem.get("detail")})
    return child_id
