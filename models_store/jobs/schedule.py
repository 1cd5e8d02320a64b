"""Schedule of queued jobs: which are due, the order in which they are claimed, and the wake-ups sent for them."""

from typing import Any

from sqlalchemy import ColumnElement, FromClause, or_, select, update

from models_store.storage import tables
from models_store.storage.database import Database, now


def due_for_wake_up(database: Database, *, older_than_s: float) -> list[str]:
    """Return queued jobs that are due and whose last wake-up is older than that, or was never sent; next ones first."""
    job = tables.job
    stale_wake = or_(job.c.wake_sent_at.is_(None), job.c.wake_sent_at < now() - older_than_s)
    query = select(job.c.id).where(*is_due(job), stale_wake).order_by(*claim_order(job)).limit(100)
    with database.read() as connection:
        return list(connection.execute(query).scalars())


def note_wake_up(database: Database, job_id: str) -> None:
    """Remember that the queue took a wake-up for the job."""
    with database.write() as connection:
        connection.execute(update(tables.job).where(tables.job.c.id == job_id).values(wake_sent_at=now()))


def claim_order(job: FromClause) -> tuple[ColumnElement[Any], ...]:
    """Return the order in which jobs are claimed; the index `ix_job_claimed` has it."""
    return job.c.priority.desc(), job.c.id


def is_due(job: FromClause) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions on a job that may be claimed now."""
    moment = select(now()).scalar_subquery()  # read once, so that PostgreSQL looks for it in the index
    return job.c.state == "queued", job.c.not_before <= moment
