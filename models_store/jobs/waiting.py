"""Queue of jobs as its users see it: what waits, in which order, and for what."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, case, func, literal, select

from models_store.storage import tables
from models_store.storage.database import Database, now


@dataclass(frozen=True)
class Waiting:
    """A queued job. Times are seconds since the epoch."""

    place: int
    """its number among all queued jobs, due or not, from 1; pages go by it"""
    ahead: int
    """due jobs that are claimed before it"""
    id: str
    name: str
    kind: str
    parent_id: str | None
    priority: int
    crashes: int
    created_at: float
    waits_s: float
    """time since it was submitted"""
    due_in_s: float
    """time until it may be claimed, as after a crash; 0: now"""
    reason: str | None = None
    """why it was put back to the queue, if it was"""


@dataclass(frozen=True)
class Counts:
    """Jobs of all owners that have not ended."""

    queued: int
    running: int
    waiting: int
    """parents that wait for their children"""


def counts(database: Database) -> Counts:
    """Return how many jobs have not ended."""
    job = tables.job
    query = select(job.c.state, func.count()).where(job.c.state.in_(("queued", "running", "waiting")))
    with database.read() as connection:
        found = {state: int(count) for state, count in connection.execute(query.group_by(job.c.state))}
    return Counts(**{state: found.get(state, 0) for state in ("queued", "running", "waiting")})


def page(database: Database, *, owner: str, limit: int, after: int = 0) -> tuple[list[Waiting], int | None]:
    """Return up to `limit` of an owner's queued jobs, next ones first, and the place that the next page comes after."""
    job = tables.job
    moment = select(now()).scalar_subquery()
    order = (job.c.priority.desc(), job.c.id)
    is_due = case((job.c.not_before <= moment, 1), else_=0)
    placed = (
        select(
            job.c.id,
            job.c.owner,
            func.row_number().over(order_by=order).label("place"),
            (func.sum(is_due).over(order_by=order, rows=(None, 0)) - is_due).label("ahead"),
        )
        .where(job.c.state == "queued")
        .subquery()
    )
    columns = (job.c.id, job.c.name, job.c.kind, job.c.parent_id, job.c.priority, job.c.crashes, job.c.created_at)
    waits_s, due_in_s = moment - job.c.created_at, job.c.not_before - moment
    query = (
        select(placed.c.place, placed.c.ahead, *columns, waits_s.label("waits_s"), due_in_s.label("due_in_s"))
        .join(job, job.c.id == placed.c.id)
        .where(placed.c.owner == owner, placed.c.place > after)
        .order_by(placed.c.place)
        .limit(limit + 1)
    )
    with database.read() as connection:
        rows: list[dict[str, Any]] = [dict(row) for row in connection.execute(query).mappings()]
        reasons = _reasons(connection, [row["id"] for row in rows[:limit]])
    found = [
        Waiting(**row | {"due_in_s": max(0.0, row["due_in_s"]), "reason": reasons.get(row["id"])})
        for row in rows[:limit]
    ]
    return found, found[-1].place if len(rows) > limit else None


def _reasons(connection: Connection, job_ids: list[str]) -> dict[str, str]:
    """Return why jobs were put back to the queue, by the newest change of their state."""
    event = tables.job_event
    kind = literal("state", literal_execute=True)
    query = select(event.c.job_id, event.c.data).where(event.c.job_id.in_(job_ids), event.c.kind == kind)
    newest = {}
    for job_id, data in connection.execute(query.order_by(event.c.job_id, event.c.seq)):
        newest[job_id] = data.get("reason")
    return {job_id: reason for job_id, reason in newest.items() if reason}
