"""Answers about workers and the queue."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import Field

from models_store.jobs.waiting import Counts, Waiting
from models_store.jobs.workers import Assigned, State
from models_store.jobs.workers import Worker as StoredWorker
from models_store.wording import counted
from service.answers.answer import Answer, ShapeOf, moment


class Device(Answer):
    """A device on which a worker calculates."""

    kind: Literal["cpu", "cuda"]
    name: str = Field(description="the maker's name of it")
    cores: int | None = Field(description="cores that the worker may use; null for a GPU")
    memory_bytes: int = Field(description="its memory, in bytes")


class WorkersJob(Answer):
    """A job that a worker is at. Of other owners' jobs only the kind and the time are shown."""

    id: str | None = Field(description="null: another owner's")
    name: str | None = Field(description="null: another owner's")
    kind: str
    phase: str | None = Field(description="null: another owner's, or it has not reported one yet")
    fraction: float | None = Field(description="share of the job's time that is done; null: another owner's")
    eta_s: float | None = Field(description="estimated seconds until it ends; null where that is unknown")
    started_at: datetime = Field(description="when the worker took it")

    @classmethod
    def of(cls, job: Assigned, *, owner: str) -> "WorkersJob":
        """Return the answer for a job, as `owner` may see it."""
        is_own = job.owner == owner
        return cls(
            id=job.job_id if is_own else None,
            name=job.name if is_own else None,
            kind=job.kind,
            phase=job.phase if is_own else None,
            fraction=job.progress.get("fraction", 0.0) if is_own else None,
            eta_s=job.progress.get("eta_s") if is_own else None,
            started_at=datetime.fromtimestamp(job.started_at, UTC),
        )


class Worker(Answer):
    """A worker: where it runs, what on, and what it does now."""

    id: str
    host: str
    pid: int = Field(description="its process on that host, or in that container")
    version: str = Field(description="version of Espalier that it runs")
    state: State = Field(description="`lost`: it has missed three beats, and is likely gone")
    devices: Annotated[list[dict[str, Any]], ShapeOf(list[Device])]
    slots: int = Field(description="jobs that it takes at the same time; an urgent one comes on top")
    jobs: list[WorkersJob]
    started_at: datetime
    last_beat_at: datetime
    last_beat_age_s: float = Field(description="seconds since then")

    @classmethod
    def of(cls, worker: StoredWorker, *, owner: str, state: State) -> "Worker":
        """Return the answer for a worker, as `owner` may see it."""
        return cls(
            id=worker.id,
            host=worker.host,
            pid=worker.pid,
            version=worker.version,
            state=state,
            devices=worker.devices,
            slots=worker.slots,
            jobs=[WorkersJob.of(job, owner=owner) for job in worker.jobs],
            started_at=datetime.fromtimestamp(worker.started_at, UTC),
            last_beat_at=datetime.fromtimestamp(worker.beat_at, UTC),
            last_beat_age_s=round(worker.silent_s, 1),
        )


class WorkerList(Answer):
    """All workers, by host."""

    items: list[Worker]


class QueuedJob(Answer):
    """A job that waits for a worker."""

    id: str
    name: str
    kind: str
    parent: str | None = Field(description="the search, cross-validation or repetition that it is a part of")
    priority: int = Field(description="jobs of higher priority are taken first, then older ones")
    ahead: int = Field(description="jobs of all owners that are taken before it")
    why: str = Field(description="what it waits for, in words")
    crashes: int
    queued_at: datetime
    age_s: float = Field(description="seconds since it was submitted")
    not_before: datetime | None = Field(description="when it may be taken, as after a crash; null: now")
    expected_start_at: datetime | None = Field(
        description="when a worker is expected to take it, by the estimates of the jobs that run; null where that "
        "is unknown, because a job that has not begun yet must end first"
    )

    @classmethod
    def of(cls, job: Waiting, *, free_in_s: list[float], is_served: bool) -> "QueuedJob":
        """Return the answer for a job; `free_in_s` are the seconds until each worker is free, sorted, where known.

        `is_served` tells whether there is any worker.
        """
        at = datetime.now(UTC)
        starts_in_s = free_in_s[job.ahead] if job.ahead < len(free_in_s) else None
        if starts_in_s is not None:
            starts_in_s = max(starts_in_s, job.due_in_s)
        return cls(
            id=job.id,
            name=job.name,
            kind=job.kind,
            parent=job.parent_id,
            priority=job.priority,
            ahead=job.ahead,
            why=_why(job, starts_in_s, is_served=is_served),
            crashes=job.crashes,
            queued_at=datetime.fromtimestamp(job.created_at, UTC),
            age_s=round(job.waits_s, 1),
            not_before=moment(at.timestamp() + job.due_in_s) if job.due_in_s else None,
            expected_start_at=None if starts_in_s is None else at + timedelta(seconds=starts_in_s),
        )


class Queue(Answer):
    """What waits, in the order in which it is taken. Counts are of all owners' jobs, items are one's own."""

    queued: int = Field(description="jobs that wait for a worker")
    running: int = Field(description="jobs that a worker is at")
    waiting: int = Field(description="searches and the like that wait for their children")
    workers: int = Field(description="workers that are there, idle or busy")
    items: list[QueuedJob]
    next: str | None = Field(description="`cursor` of the next page; null: this is the last one")

    @classmethod
    def of(cls, jobs: list[Waiting], counts: Counts, *, workers: list[StoredWorker], following: int | None) -> "Queue":
        """Return the answer; `workers` are those that are there."""
        free_in_s = sorted(
            [0.0 for worker in workers for _ in range(worker.free_slots)]
            + [float(eta_s) for worker in workers for job in worker.jobs if (eta_s := job.progress.get("eta_s"))]
        )
        return cls(
            queued=counts.queued,
            running=counts.running,
            waiting=counts.waiting,
            workers=len(workers),
            items=[QueuedJob.of(job, free_in_s=free_in_s, is_served=bool(workers)) for job in jobs],
            next=None if following is None else str(following),
        )


def _why(job: Waiting, starts_in_s: float | None, *, is_served: bool) -> str:
    """Return what a job waits for."""
    after = f" ({job.reason})" if job.reason else ""
    if job.due_in_s:
        return f"put off for {job.due_in_s:.0f} s{after}"
    if not is_served:
        return f"no worker is there{after}"
    if starts_in_s == 0:
        return f"a worker takes it within seconds{after}"
    if job.ahead:
        return f"{counted(job.ahead, 'job is', 'jobs are')} ahead of it{after}"
    return f"it is next, and every worker is busy{after}"
