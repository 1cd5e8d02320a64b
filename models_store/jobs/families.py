"""A parent job and its children: each is informed of the other's end, in the transaction that ends it.

A parent holds no worker while its children run: it is `waiting`, and the transaction that ends a child queues the
parent again. A transaction that changes rows of both locks the parent's first, so that no two block each other.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, select, update

from models_store.jobs import events, kinds
from models_store.jobs.job import TERMINAL
from models_store.storage import tables
from models_store.storage.database import now

A_CHILD_ENDED = "a child has ended"
"""why a parent is queued between two of its steps"""


def lock_parent(connection: Connection, job_id: str) -> None:
    """Take the row of the job's parent, when it has one, before the job's own is touched."""
    job = tables.job
    parent_id = connection.execute(select(job.c.parent_id).where(job.c.id == job_id)).scalar_one_or_none()
    if parent_id is not None:
        connection.execute(select(job.c.id).where(job.c.id == parent_id).with_for_update())


def ended(connection: Connection, job_id: str) -> None:
    """Do what the end of a job means for its family: wake its parent; cancel the children that it leaves behind.

    Call it last in the transaction that ends the job, and `lock_parent` first.
    """
    job = tables.job
    columns = (job.c.kind, job.c.parent_id, job.c.number, job.c.state, job.c.result, job.c.problem)
    row = connection.execute(select(*columns).where(job.c.id == job_id)).one()
    kind = kinds.of(row.kind)
    if row.parent_id is not None:
        end = {"job": job_id, "number": row.number, "kind": row.kind, "state": row.state}
        if row.result:
            end |= kind.result.of_document(row.result).for_parent()
        if row.problem:
            end["problem"] = row.problem.get("detail")
        _notify_parent(connection, row.parent_id, end)
    if kind.is_parent and row.state != "succeeded":
        _cancel_children(connection, job_id)
        forget_files(connection, job_id)


def forget_files(connection: Connection, parent_id: str, *, but: Sequence[int] = ()) -> None:
    """Take the files of the children that tried something off their rows, but those of the numbers given."""
    job = tables.job
    tried = (job.c.parent_id == parent_id, job.c.kind.in_(kinds.TRIED), job.c.number.not_in(but))
    connection.execute(update(job).where(*tried).values(files=None))


def _notify_parent(connection: Connection, parent_id: str, end: dict[str, Any]) -> None:
    job = tables.job
    woken = update(job).where(job.c.id == parent_id, job.c.state == "waiting")
    is_woken = connection.execute(woken.values(state="queued", not_before=now(), wake_sent_at=None)).rowcount > 0
    state = connection.execute(select(job.c.state).where(job.c.id == parent_id)).scalar_one()
    if state not in TERMINAL:
        events.append(connection, parent_id, "child", end)
    if is_woken:
        events.append(connection, parent_id, "state", {"state": "queued", "reason": A_CHILD_ENDED})


def _cancel_children(connection: Connection, parent_id: str) -> None:
    job = tables.job
    mine = job.c.parent_id == parent_id
    waiting = update(job).where(mine, job.c.state == "queued")
    ended_now = {"state": "canceled", "cancel_requested_at": now(), "finished_at": now()}
    for child_id in connection.execute(waiting.values(**ended_now).returning(job.c.id)).scalars().all():
        events.append(connection, child_id, "state", {"state": "canceled"})
    running = update(job).where(mine, job.c.state == "running", job.c.cancel_requested_at.is_(None))
    for child_id in connection.execute(running.values(cancel_requested_at=now()).returning(job.c.id)).scalars().all():
        events.append(connection, child_id, "state", {"state": "running", "cancel_requested": True})
