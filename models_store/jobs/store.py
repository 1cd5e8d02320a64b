"""Jobs as their owner sees them: found, listed, canceled. `submissions` makes them, `claims` is for their workers.

JobNotFound 404 · JobFinished 409
"""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, func, select, update

from models_store.jobs import events, families, kinds
from models_store.jobs.errors import ChildNotRetried, DatasetGone, JobDeleted, JobFinished, JobNotFinished, JobNotFound
from models_store.jobs.job import COLUMNS, Job, job_of
from models_store.storage import tables
from models_store.storage.database import Database, now

__all__ = [
    "ChildNotRetried",
    "DatasetGone",
    "Job",
    "JobDeleted",
    "JobFinished",
    "JobNotFinished",
    "JobNotFound",
    "attempts",
    "cancel",
    "find",
    "is_shown",
    "listing",
    "maker",
]


def find(database: Database, job_id: str, *, owner: str) -> Job:
    """Return the job.

    Raises:
        JobNotFound: if there is none with this id, or it is another owner's.
    """
    mine = (tables.job.c.id == job_id, tables.job.c.owner == owner, is_shown())
    with database.read() as connection:
        row = connection.execute(select(*COLUMNS).where(*mine)).first()
    if row is None:
        raise JobNotFound(f"there is no job {job_id!r}; GET /jobs lists yours")
    return job_of(row)


def maker(database: Database, version_id: str) -> Job:
    """Return the job that has made a version, also one that was deleted: its spec and its report are kept."""
    version = tables.version
    query = select(*COLUMNS).join(version, version.c.job_id == tables.job.c.id).where(version.c.id == version_id)
    with database.read() as connection:
        row = connection.execute(query).first()
    if row is None:
        raise JobNotFound(f"version {version_id} was deleted")
    return job_of(row)


def is_shown() -> ColumnElement[bool]:
    """Return the condition that a job was not deleted."""
    return tables.job.c.deleted_at.is_(None)


def listing(
    database: Database,
    *,
    owner: str,
    state: str | None = None,
    kind: str | None = None,
    parent: str | None = None,
    limit: int = 20,
    cursor: str | None = None,
) -> tuple[list[Job], str | None]:
    """Return up to `limit` jobs, newest first, and the cursor of the next page: a parent's children, or no children.

    Previews are left out, unless that `kind` is asked for.
    """
    query = (
        select(*COLUMNS)
        .where(tables.job.c.owner == owner, is_shown())
        .order_by(tables.job.c.id.desc())
        .limit(limit + 1)
    )
    if parent:
        query = query.where(tables.job.c.parent_id == parent)
    else:
        query = query.where(tables.IS_LISTED if kind is None or kinds.of(kind).is_listed else tables.IS_PREVIEW)
    if kind:
        query = query.where(tables.job.c.kind == kind)
    if state:
        query = query.where(tables.job.c.state == state)
    if cursor:
        query = query.where(tables.job.c.id < cursor)
    with database.read() as connection:
        found = [job_of(row) for row in connection.execute(query).all()]
    return found[:limit], found[limit - 1].id if len(found) > limit else None


def cancel(database: Database, job_id: str, *, owner: str) -> Job:
    """Cancel a job: at once when it waits, by a flag that its worker sees when it runs. A second call changes nothing.

    A parent's children are canceled with it; a child counts as failed, and its parent goes on.

    Raises:
        JobNotFound: as `find` does.
        JobFinished: if it has ended otherwise than by a cancel.
    """
    job = tables.job
    mine = (job.c.id == job_id, job.c.owner == owner)  # what is deleted has ended, and is left as it is
    with database.write() as connection:
        families.lock_parent(connection, job_id)
        waiting = update(job).where(*mine, job.c.state.in_(("queued", "waiting")))
        if connection.execute(waiting.values(state="canceled", cancel_requested_at=now(), finished_at=now())).rowcount:
            events.append(connection, job_id, "state", {"state": "canceled"})
            families.ended(connection, job_id)
        else:
            running = update(job).where(*mine, job.c.state == "running", job.c.cancel_requested_at.is_(None))
            if connection.execute(running.values(cancel_requested_at=now())).rowcount:
                events.append(connection, job_id, "state", {"state": "running", "cancel_requested": True})
    found = find(database, job_id, owner=owner)
    if found.state in {"succeeded", "failed"}:
        raise JobFinished(f"job {job_id} has already {found.state}; there is nothing left to cancel")
    return found


def attempts(database: Database, job_ids: Sequence[str]) -> dict[str, int]:
    """Return job → how often workers have claimed it; a job that none has claimed is left out."""
    attempt = tables.attempt
    query = select(attempt.c.job_id, func.count()).where(attempt.c.job_id.in_(job_ids)).group_by(attempt.c.job_id)
    with database.read() as connection:
        return {job_id: int(count) for job_id, count in connection.execute(query)}
