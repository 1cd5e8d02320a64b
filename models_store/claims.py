"""a job's life as workers see it: claim, beat, report, wait, finish, release, reap.

One claim decides, one fenced write publishes. Every write of a worker carries the fence that its claim was given; one
that touches no row means "somebody else has the job now": it raises Stale, and the worker drops everything and leaves.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, insert, or_, select, update

from models_store import events, families, tables
from models_store.database import Database, now
from models_store.host import Process, this_process
from models_store.jobs import COLUMNS, TERMINAL, Job, job_of
from models_store.settings import Settings

LONGEST_BACKOFF_S = 360.0


class Stale(Exception):
    """The claim is no longer ours: the lease ran out and another worker has the job, or it has ended."""


@dataclass(frozen=True)
class Claim:
    """The right to work on a job, as long as the fence holds."""

    job: Job
    fence: int


@dataclass(frozen=True)
class Orders:
    """What the database tells a worker at a heartbeat."""

    cancel: bool


def claim(database: Database, *, settings: Settings) -> Claim | None:
    """Take the next due job, highest priority first, oldest first; None when nothing waits."""
    job, worker = tables.job, this_process()
    due = select(job.c.id, job.c.fence).where(*_is_due()).order_by(*_TURN).limit(1).with_for_update(skip_locked=True)
    with database.write() as connection:
        found = connection.execute(due).first()
        if found is None:
            return None
        taken = connection.execute(
            update(job)
            .where(job.c.id == found.id, job.c.state == "queued", job.c.fence == found.fence)
            .values(
                state="running",
                fence=job.c.fence + 1,
                lease_owner=worker.name,
                lease_expires_at=now() + settings.lease_s,
                started_at=func.coalesce(job.c.started_at, now()),
            )
            .returning(*COLUMNS)
        ).one()
        claimed = job_of(taken)
        connection.execute(
            insert(tables.attempt).values(
                job_id=claimed.id,
                fence=claimed.fence,
                host=worker.host,
                boot_id=worker.boot_id,
                pid=worker.pid,
                pid_started=worker.pid_started,
                started_at=now(),
            )
        )
        events.append(connection, claimed.id, "state", {"state": "running", "attempt": claimed.fence})
    return Claim(claimed, claimed.fence)


def beat(database: Database, claim: Claim, *, settings: Settings) -> Orders:
    """Prolong the lease and return what the owner wants meanwhile.

    Raises:
        Stale: if the claim is no longer ours.
    """
    with database.write() as connection:
        row = connection.execute(
            update(tables.job)
            .where(_holds(claim))
            .values(lease_expires_at=now() + settings.lease_s)
            .returning(tables.job.c.cancel_requested_at)
        ).first()
    if row is None:
        raise Stale
    return Orders(cancel=row.cancel_requested_at is not None)


def report(database: Database, claim: Claim, reports: list[tuple[str, dict[str, Any]]]) -> None:
    """Store what the trainer said, in one transaction; each is an event's kind and data.

    Raises:
        Stale: if the claim is no longer ours.
    """
    values: dict[str, Any] = {}
    for kind, data in reports:
        if kind == "phase":
            values["phase"] = data["phase"]
        elif kind == "progress":
            values["progress"] = data
    with database.write() as connection:
        _fenced(connection, claim, values or {"fence": tables.job.c.fence})
        for kind, data in reports:
            events.append(connection, claim.job.id, kind, data)


def keep_checkpoint(database: Database, claim: Claim, sha256: str) -> list[str]:
    """Name the newest checkpoint; two are kept. Return the digests that no row names any more.

    Raises:
        Stale: if the claim is no longer ours.
    """
    job = tables.job
    with database.write() as connection:
        row = connection.execute(select(job.c.checkpoints).where(_holds(claim)).with_for_update()).first()
        if row is None:
            raise Stale
        names = [sha256, *(name for name in row.checkpoints if name != sha256)]
        _fenced(connection, claim, {"checkpoints": names[:2]})
    return names[2:]


def succeed(
    connection: Connection, claim: Claim, result: dict[str, Any], *, files: dict[str, str] | None = None
) -> None:
    """End the job well, in the transaction that inserts its model. A cancel that came first wins.

    `files` are what it made besides: kind → blob.

    Raises:
        Stale: if the claim is no longer ours, or the owner has asked for a cancel.
    """
    families.lock_parent(connection, claim.job.id)
    _fenced(
        connection,
        claim,
        {**_ended("succeeded"), "result": result, "files": files, "progress": {"fraction": 1.0}},
        tables.job.c.cancel_requested_at.is_(None),
    )
    _end_attempt(connection, claim.job.id, claim.fence, "succeeded")
    events.append(connection, claim.job.id, "state", {"state": "succeeded", "result": result})
    families.ended(connection, claim.job.id)


def wait(connection: Connection, claim: Claim, *, phase: str, progress: dict[str, Any]) -> None:
    """Let a parent's worker go until a child ends, in the transaction that submits the children. A cancel wins.

    Raises:
        Stale: if the claim is no longer ours, or the owner has asked for a cancel.
    """
    waiting = {**_requeued(), "state": "waiting", "phase": phase, "progress": progress, "crashes": 0}
    _fenced(connection, claim, waiting, tables.job.c.cancel_requested_at.is_(None))
    _end_attempt(connection, claim.job.id, claim.fence, "waiting")
    if phase != claim.job.phase:
        events.append(connection, claim.job.id, "phase", {"phase": phase})
    events.append(connection, claim.job.id, "progress", progress)
    events.append(connection, claim.job.id, "state", {"state": "waiting"})


def fail(database: Database, claim: Claim, problem: dict[str, Any]) -> None:
    """End the job with a problem that trying again would not mend.

    Raises:
        Stale: if the claim is no longer ours.
    """
    with database.write() as connection:
        families.lock_parent(connection, claim.job.id)
        _fenced(connection, claim, {**_ended("failed"), "problem": problem})
        _end_attempt(connection, claim.job.id, claim.fence, "failed")
        events.append(connection, claim.job.id, "state", {"state": "failed", "problem": problem})
        families.ended(connection, claim.job.id)


def confirm_cancel(database: Database, claim: Claim) -> None:
    """End the job as canceled: the trainer is gone.

    Raises:
        Stale: if the claim is no longer ours.
    """
    with database.write() as connection:
        families.lock_parent(connection, claim.job.id)
        _cancel(connection, claim)


def release(database: Database, claim: Claim) -> None:
    """Give the job back to the queue, crashes unchanged: this worker is leaving. A cancel that came first ends it.

    Raises:
        Stale: if the claim is no longer ours.
    """
    with database.write() as connection:
        families.lock_parent(connection, claim.job.id)
        job = tables.job
        wanted = select(job.c.cancel_requested_at).where(_holds(claim)).with_for_update()
        if connection.execute(wanted).scalar_one_or_none() is not None:
            _cancel(connection, claim)
            return
        _fenced(connection, claim, {**_requeued(), "not_before": now()})
        _end_attempt(connection, claim.job.id, claim.fence, "released")
        events.append(connection, claim.job.id, "state", {"state": "queued", "reason": "the worker is shutting down"})


def crash(database: Database, claim: Claim, *, settings: Settings, reason: str) -> None:
    """Count a crash: back to the queue after a wait, or failed when it was one too many.

    Raises:
        Stale: if the claim is no longer ours.
    """
    with database.write() as connection:
        families.lock_parent(connection, claim.job.id)
        row = connection.execute(select(*COLUMNS).where(_holds(claim)).with_for_update()).first()
        if row is None:
            raise Stale
        _count_crash(connection, job_of(row), settings=settings, reason=reason)


def forget_checkpoints(database: Database, job_id: str) -> list[str]:
    """Take the checkpoints of a job that has ended off its row; return their digests."""
    job = tables.job
    with database.write() as connection:
        row = connection.execute(select(job.c.checkpoints).where(job.c.id == job_id, job.c.state.in_(TERMINAL))).first()
        connection.execute(update(job).where(job.c.id == job_id, job.c.state.in_(TERMINAL)).values(checkpoints=[]))
    return list(row.checkpoints) if row else []


def reap(database: Database, *, settings: Settings) -> list[str]:
    """Take back every running job whose lease ran out, or whose owner on this host is dead; return their ids.

    Any number of processes may do this at the same time.
    """
    job, attempt = tables.job, tables.attempt
    owners = select(job.c.id, attempt.c.host, attempt.c.boot_id, attempt.c.pid, attempt.c.pid_started)
    owners = owners.join(attempt, and_(attempt.c.job_id == job.c.id, attempt.c.fence == job.c.fence)).where(
        job.c.state == "running"
    )
    overdue = (job.c.lease_expires_at < now()).label("overdue")
    with database.read() as connection:
        suspects = set(connection.execute(select(job.c.id).where(job.c.state == "running", overdue)).scalars())
        suspects |= {row.id for row in connection.execute(owners) if Process(*row[1:]).is_known_dead()}
    reaped = []
    for job_id in sorted(suspects):
        locked = (
            select(*COLUMNS, overdue)
            .where(job.c.id == job_id, job.c.state == "running")
            .with_for_update(skip_locked=True)
        )
        with database.write() as connection:
            families.lock_parent(connection, job_id)
            row = connection.execute(locked).first()
            if row is None:
                continue
            found = job_of(row[:-1])  # looked at again inside the transaction: another worker may have it by now
            owner = connection.execute(owners.where(job.c.id == job_id)).one()
            is_dead = Process(*owner[1:]).is_known_dead()
            if not (is_dead or row.overdue):
                continue
            reason = "its worker process is gone" if is_dead else "its worker stopped sending heartbeats"
            _count_crash(connection, found, settings=settings, reason=reason)
            reaped.append(job_id)
    return reaped


def due_for_wake_up(database: Database, *, older_than_s: float) -> list[str]:
    """Return queued jobs that are due and whose last wake-up is older than that, or was never sent; next ones first."""
    job = tables.job
    stale_wake = or_(job.c.wake_sent_at.is_(None), job.c.wake_sent_at < now() - older_than_s)
    query = select(job.c.id).where(*_is_due(), stale_wake).order_by(*_TURN).limit(100)
    with database.read() as connection:
        return list(connection.execute(query).scalars())


def note_wake_up(database: Database, job_id: str) -> None:
    """Remember that the queue took a wake-up for the job."""
    with database.write() as connection:
        connection.execute(update(tables.job).where(tables.job.c.id == job_id).values(wake_sent_at=now()))


_TURN = (tables.job.c.priority.desc(), tables.job.c.id)
"""the order in which jobs are claimed; the index `ix_job_claimed` has it"""


def _is_due() -> tuple[ColumnElement[bool], ...]:
    moment = select(now()).scalar_subquery()  # read once, so that PostgreSQL looks for it in the index
    return tables.job.c.state == "queued", tables.job.c.not_before <= moment


def _count_crash(connection: Connection, job: Job, *, settings: Settings, reason: str) -> None:
    crashes = job.crashes + 1
    values: dict[str, Any]
    told: dict[str, Any]
    if job.cancel_requested_at is not None:
        values, told = _ended("canceled"), {"state": "canceled"}
    elif crashes >= job.max_crashes:
        problem = {
            "type": "urn:espalier:problem:worker_lost",
            "title": "The worker was lost",
            "status": 500,
            "code": "worker_lost",
            "detail": f"the job crashed {crashes} times, the last time because {reason}; see its logs, ask for less "
            "memory (batch_size, input.size), then retry it",
            "errors": [],
        }
        values, told = {**_ended("failed"), "problem": problem}, {"state": "failed", "problem": problem}
    else:
        wait_s = min(settings.backoff_s * 2**job.crashes, LONGEST_BACKOFF_S)
        values = {**_requeued(), "not_before": now() + wait_s, "fence": job.fence + 1}
        told = {"state": "queued", "reason": reason, "retry_in_s": wait_s}
    connection.execute(
        update(tables.job)
        .where(tables.job.c.id == job.id, tables.job.c.fence == job.fence)
        .values(**values, crashes=crashes)
    )
    _end_attempt(connection, job.id, job.fence, "crashed")
    events.append(connection, job.id, "state", {**told, "crashes": crashes})
    if values["state"] in TERMINAL:
        families.ended(connection, job.id)


def _cancel(connection: Connection, claim: Claim) -> None:
    _fenced(connection, claim, _ended("canceled"))
    _end_attempt(connection, claim.job.id, claim.fence, "canceled")
    events.append(connection, claim.job.id, "state", {"state": "canceled"})
    families.ended(connection, claim.job.id)


def _fenced(connection: Connection, claim: Claim, values: dict[str, Any], *guards: ColumnElement[bool]) -> None:
    if connection.execute(update(tables.job).where(_holds(claim), *guards).values(**values)).rowcount == 0:
        raise Stale


def _holds(claim: Claim) -> ColumnElement[bool]:
    job = tables.job
    return and_(job.c.id == claim.job.id, job.c.fence == claim.fence, job.c.state == "running")


def _ended(state: str) -> dict[str, Any]:
    return {"state": state, "finished_at": now(), "lease_owner": None, "lease_expires_at": None}


def _requeued() -> dict[str, Any]:
    return {"state": "queued", "phase": None, "lease_owner": None, "lease_expires_at": None, "wake_sent_at": None}


def _end_attempt(connection: Connection, job_id: str, fence: int, outcome: str) -> None:
    attempt = tables.attempt
    connection.execute(
        update(attempt)
        .where(attempt.c.job_id == job_id, attempt.c.fence == fence)
        .values(ended_at=now(), outcome=outcome)
    )
