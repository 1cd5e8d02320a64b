"""Workers as they make themselves known: a row each, with a beat, and what they are at.

A beat is one small write every BEAT_S, whether the worker has a job or not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import and_, delete, insert, select, update

from models_store.host.processes import this_process
from models_store.storage import tables
from models_store.storage.database import Database, now

State = Literal["idle", "busy", "lost"]
LOST_AFTER_BEATS = 3
FORGOTTEN_AFTER_S = 86_400.0
"""age of the last beat after which a worker that did not say that it leaves is no longer listed"""


@dataclass(frozen=True)
class Assigned:
    """A job that a worker is at."""

    job_id: str
    owner: str
    name: str
    kind: str
    phase: str | None
    progress: dict[str, Any]
    started_at: float
    """when this attempt began"""


@dataclass(frozen=True)
class Worker:
    """A worker's main process; times are seconds since the epoch, by the database's clock."""

    id: str
    host: str
    pid: int
    version: str
    devices: list[dict[str, Any]]
    slots: int
    """jobs that it takes at the same time"""
    started_at: float
    beat_at: float
    silent_s: float
    """time since its last beat"""
    jobs: list[Assigned] = field(default_factory=list)

    def state(self, *, beat_s: float) -> State:
        """Return what it does; `lost`: it has missed so many beats that it is likely gone."""
        if self.silent_s > LOST_AFTER_BEATS * beat_s:
            return "lost"
        return "busy" if self.jobs else "idle"

    @property
    def free_slots(self) -> int:
        """Return how many more jobs it takes now."""
        return max(0, self.slots - len(self.jobs))


def beat(database: Database, worker_id: str, *, version: str, devices: Sequence[Mapping[str, Any]], slots: int) -> None:
    """Make this process known as a worker that is there, or still there."""
    worker = tables.worker
    process = this_process()
    with database.write() as connection:
        mine = update(worker).where(worker.c.id == worker_id)
        if connection.execute(mine.values(beat_at=now())).rowcount:
            return
        connection.execute(
            insert(worker).values(
                id=worker_id,
                host=process.host,
                pid=process.pid,
                version=version,
                devices=list(devices),
                slots=slots,
                started_at=now(),
                beat_at=now(),
            )
        )


def leave(database: Database, worker_id: str) -> None:
    """Take a worker that ends off the list."""
    with database.write() as connection:
        connection.execute(delete(tables.worker).where(tables.worker.c.id == worker_id))


def forget_lost(database: Database) -> None:
    """Take workers off the list that were lost long ago."""
    with database.write() as connection:
        connection.execute(delete(tables.worker).where(tables.worker.c.beat_at < now() - FORGOTTEN_AFTER_S))


def listing(database: Database) -> list[Worker]:
    """Return every worker, by host, with the jobs that it is at."""
    worker, job, attempt = tables.worker, tables.job, tables.attempt
    silent_s = (now() - worker.c.beat_at).label("silent_s")
    order = (worker.c.host, worker.c.started_at, worker.c.id)
    at_work = (
        select(
            attempt.c.worker_id,
            job.c.id,
            job.c.owner,
            job.c.name,
            job.c.kind,
            job.c.phase,
            job.c.progress,
            attempt.c.started_at,
        )
        .join(attempt, and_(attempt.c.job_id == job.c.id, attempt.c.fence == job.c.fence))
        .where(job.c.state == "running", attempt.c.worker_id.is_not(None))
        .order_by(job.c.id)
    )
    with database.read() as connection:
        found = [Worker(*row) for row in connection.execute(select(worker, silent_s).order_by(*order))]
        by_id = {each.id: each for each in found}
        for worker_id, *assigned in connection.execute(at_work):
            if worker_id in by_id:
                by_id[worker_id].jobs.append(Assigned(*assigned))
    return found
