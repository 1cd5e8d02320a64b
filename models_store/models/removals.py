"""Deletion of jobs, versions and models: what must stay and why, and what goes with each.

Files go when no row names them any more, with the next sweep (`housekeeping`). A job that has made a version keeps a
hidden row (`deleted_at`) while that version is there: other jobs need the spec and the report in it. Rows of deleted
jobs are emptied in small transactions; what a crash leaves of that is done by the next sweep.

JobNotFound 404 · JobNotFinished 409 · ChildNotDeleted 409 · ModelNotFound 404 · VersionInUse 409 · ModelInUse 409
"""

from collections.abc import Collection, Iterator, Sequence

from sqlalchemy import Connection, delete, exists, or_, select, update

from models_store.errors import Conflict
from models_store.jobs.errors import JobNotFinished, JobNotFound
from models_store.jobs.job import TERMINAL
from models_store.models import alias_rows, changes, registry, uses
from models_store.storage import tables
from models_store.storage.database import Database, now
from models_store.wording import inflected

ROWS_AT_ONCE = 5000
JOBS_AT_ONCE = 200
MOST_NAMED = 5
"""jobs that a refusal names"""


class ChildNotDeleted(Conflict):
    """The job is a child of another, and is deleted with it."""

    code = "child_not_deleted"
    title = "A child of another job can't be deleted by itself"


class VersionInUse(Conflict):
    """An alias points to the version, or a job that has not ended builds on it."""

    code = "version_in_use"
    title = "The version is in use"


class ModelInUse(Conflict):
    """A job that has not ended builds on a version of the model."""

    code = "model_in_use"
    title = "The model is in use"


def delete_job(database: Database, job_id: str, *, owner: str) -> None:
    """Delete a job that has ended, with its children, events, attempts and files; the version that it made stays.

    Raises:
        JobNotFound: if there is none of this id.
        ChildNotDeleted: if it is a part of another job.
        JobNotFinished: if it waits or runs, or one of its children does.
    """
    job = tables.job
    mine = (job.c.id == job_id, job.c.owner == owner, job.c.deleted_at.is_(None))
    family = or_(job.c.id == job_id, job.c.parent_id == job_id)
    with database.write() as connection:
        locked = select(job.c.state, job.c.parent_id).where(*mine).with_for_update()
        row = connection.execute(locked).one_or_none()
        if row is None:
            raise JobNotFound(f"there is no job {job_id!r}; GET /jobs lists yours")
        if row.parent_id is not None:
            raise ChildNotDeleted(f"job {job_id} is a part of {row.parent_id}; delete that, and its parts go with it")
        if row.state not in TERMINAL:
            raise JobNotFinished(
                f"job {job_id} is {row.state}, and a job is deleted after its end; cancel it first "
                f"(POST /jobs/{job_id}:cancel), or wait"
            )
        members = connection.execute(select(job.c.id, job.c.state, job.c.files).where(family)).all()
        busy = [member.id for member in members if member.state not in TERMINAL]
        if busy:
            are = inflected(len(busy), "is", "are")
            raise JobNotFinished(f"{_some(busy)} of job {job_id} {are} still stopping; wait some seconds and try again")
        version = tables.version.c
        makers = set(
            connection.execute(select(version.job_id).join(job, job.c.id == version.job_id).where(family)).scalars()
        )
        connection.execute(update(job).where(family).values(deleted_at=now(), files=None, checkpoints=[]))
        for member in members:
            if member.id in makers and (report := (member.files or {}).get("report")) is not None:
                connection.execute(update(job).where(job.c.id == member.id).values(files={"report": report}))
    purge(database, [member.id for member in members])


def delete_version(database: Database, model: str, number: int, *, owner: str) -> None:
    """Delete a version with its variants. Its number is never given again; the job that made it stays.

    Raises:
        ModelNotFound: if there is no such version.
        VersionInUse: if an alias points to it, or a job that has not ended builds on it.
    """
    with database.write() as connection:
        _lock(connection, model, owner=owner)
        version = tables.version.c
        mine = (version.owner == owner, version.model == model, version.number == number)
        connection.execute(select(version.id).where(*mine).with_for_update())
        found = registry.version_of(connection, model, number, owner=owner)
        if aliases := alias_rows.names_of(connection, found.id):
            path = f"/models/{model}/aliases/{aliases[0]}"
            raise VersionInUse(
                f"version {number} of {model!r} has the alias {' and '.join(map(repr, aliases))}; point it at another "
                f'version first (PUT {path} with {{"version": …}}), or remove it (DELETE {path})'
            )
        if users := uses.jobs_on(connection, model, {number}, owner=owner):
            raise VersionInUse(
                f"version {number} of {model!r} is used by {_some(users)}; wait until they end, or cancel them"
            )
        _delete_versions(connection, [found.id])
        changes.add(connection)
    purge(database, [found.job_id])


def delete_model(database: Database, name: str, *, owner: str) -> None:
    """Delete a model with its versions and aliases; the jobs that made them stay.

    A later model of the name goes on with the numbers of its versions.

    Raises:
        ModelNotFound: if there is none of this name.
        ModelInUse: if a job that has not ended builds on one of its versions.
    """
    with database.write() as connection:
        _lock(connection, name, owner=owner)
        model, version = tables.model.c, tables.version.c
        row = select(model.name).where(model.owner == owner, model.name == name)
        if connection.execute(row).first() is None:
            raise registry.no_model(connection, name, owner)
        mine = select(version.id, version.number, version.job_id).where(version.owner == owner, version.model == name)
        versions = connection.execute(mine.with_for_update()).all()
        if users := uses.jobs_on(connection, name, {each.number for each in versions}, owner=owner):
            raise ModelInUse(f"model {name!r} is used by {_some(users)}; wait until they end, or cancel them")
        alias_rows.remove(connection, owner, name)
        _delete_versions(connection, [each.id for each in versions])
        connection.execute(delete(tables.model).where(model.owner == owner, model.name == name))
        changes.add(connection)
    purge(database, [each.job_id for each in versions])


def delete_previews(database: Database, *, ended_before_s: float) -> None:
    """Delete the previews that ended so many seconds ago: nobody looks at them any more, and they are drawn anew."""
    job = tables.job
    old = (job.c.finished_at < now() - ended_before_s, job.c.state.in_(TERMINAL), job.c.deleted_at.is_(None))
    with database.read() as connection:
        found = connection.execute(select(job.c.id).where(tables.IS_PREVIEW, *old)).scalars().all()
    for some in _parts(found):
        with database.write() as connection:
            connection.execute(update(job).where(job.c.id.in_(some)).values(deleted_at=now(), files=None))
    purge(database, found)


def named(database: Database, blobs: Collection[str]) -> set[str]:
    """Return those of the files that some variant still has."""
    if not blobs:
        return set()
    blob = tables.variant.c.blob
    with database.read() as connection:
        return set(connection.execute(select(blob).where(blob.in_(blobs)).distinct()).scalars())


def purge(database: Database, job_ids: Sequence[str] | None = None) -> None:
    """Remove the events and attempts of deleted jobs, and the rows that no version needs; of all jobs without ids."""
    job, event = tables.job, tables.job_event
    needed = exists().where(tables.version.c.job_id == job.c.id)
    deleted = (job.c.deleted_at.is_not(None), or_(job.c.event_seq > 0, ~needed))
    found: list[tuple[str, int]] = []
    with database.read() as connection:
        for some in [None] if job_ids is None else _parts(job_ids):
            query = select(job.c.id, job.c.event_seq).where(*deleted)
            query = query if some is None else query.where(job.c.id.in_(some))
            found += [(row.id, row.event_seq) for row in connection.execute(query)]
    for job_id, newest in found:
        for least in range(ROWS_AT_ONCE, newest, ROWS_AT_ONCE):  # the last of them are removed below
            with database.write() as connection:
                connection.execute(delete(event).where(event.c.job_id == job_id, event.c.seq <= least))
    for some in _batches(found):
        with database.write() as connection:
            connection.execute(delete(event).where(event.c.job_id.in_(some)))
            connection.execute(delete(tables.attempt).where(tables.attempt.c.job_id.in_(some)))
            connection.execute(update(job).where(job.c.id.in_(some)).values(event_seq=0))
            connection.execute(delete(job).where(job.c.id.in_(some), job.c.deleted_at.is_not(None), ~needed))


def _parts(job_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(job_ids), JOBS_AT_ONCE):
        yield job_ids[start : start + JOBS_AT_ONCE]


def _batches(found: Sequence[tuple[str, int]]) -> Iterator[list[str]]:
    """Yield jobs whose events, at most ROWS_AT_ONCE of each, are few enough for one transaction."""
    batch: list[str] = []
    rows = 0
    for job_id, newest in found:
        batch.append(job_id)
        rows += min(newest, ROWS_AT_ONCE)
        if rows >= ROWS_AT_ONCE or len(batch) == JOBS_AT_ONCE:
            yield batch
            batch, rows = [], 0
    if batch:
        yield batch


def _lock(connection: Connection, model: str, *, owner: str) -> None:
    """Let no version of the model be published until the transaction ends."""
    counter = tables.version_counter.c
    row = select(counter.last).where(counter.owner == owner, counter.model == model)
    connection.execute(row.with_for_update())


def _delete_versions(connection: Connection, version_ids: Sequence[str]) -> None:
    connection.execute(delete(tables.variant).where(tables.variant.c.version_id.in_(version_ids)))
    connection.execute(delete(tables.version).where(tables.version.c.id.in_(version_ids)))


def _some(job_ids: Sequence[str]) -> str:
    more = f" and {len(job_ids) - MOST_NAMED} more" if len(job_ids) > MOST_NAMED else ""
    return ", ".join(job_ids[:MOST_NAMED]) + more
