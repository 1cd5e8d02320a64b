"""Claims of workers on jobs: claim, beat, report, wait, finish, release. leases.py takes back what they leave.

One claim decides, one fenced write publishes. Every write of a worker carries the fence that its claim was given; one
that touches no row means "somebody else has the job now": it raises Stale, and the worker drops everything and leaves.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, ScalarSelect, and_, func, insert, select, update

from models_store.host.processes import this_process
from models_store.jobs import events, families, schedule
from models_store.jobs.endings import LONGEST_BACKOFF_S, SEE_LOGS, count_crash, end_attempt, ended, requeued
from models_store.jobs.job import COLUMNS, FOUND, TERMINAL, Job, digest_of, job_of
from models_store.settings import Settings
from models_store.storage import tables
from models_store.storage.database import Database, now

SHUTTING_DOWN = "the worker is shutting down"
"""why a job is given back to the queue, where there is no other reason"""


class Stale(Exception):
    """The claim is no longer ours: the lease ran out and another worker has the job, or it has ended."""


@dataclass(frozen=True)
class Claim:
    """The right to work on a job, as long as the fence holds."""

    job: Job
    fence: int
    attempt: int = 1
    """which attempt at the job this is, from 1; fences also count what took the job away"""


@dataclass(frozen=True)
class Orders:
    """What the database tells a worker at a heartbeat."""

    cancel: bool


def claim(
    database: Database, *, settings: Settings, least_priority: int | None = None, worker_id: str | None = None
) -> Claim | None:
    """Take the next due job, highest priority first, oldest first; None when nothing waits that is so urgent.

    `worker_id` is the worker that this process belongs to (`jobs.workers`).
    """
    job, worker = tables.job, this_process()
    waiting = job.alias("waiting")
    wanted = select(waiting.c.id).where(*schedule.is_due(waiting)).order_by(*schedule.claim_order(waiting)).limit(1)
    if least_priority is not None:
        wanted = wanted.where(waiting.c.priority >= least_priority)
    take = (
        update(job)
        .where(job.c.id == wanted.with_for_update(skip_locked=True).scalar_subquery(), job.c.state == "queued")
        .values(
            state="running",
            fence=job.c.fence + 1,
            lease_owner=worker.name,
            lease_expires_at=now() + settings.lease_s,
            started_at=func.coalesce(job.c.started_at, now()),
            event_seq=job.c.event_seq + 1,
        )
        .returning(*COLUMNS, job.c.event_seq.label("claimed_seq"), _attempts().label("earlier"))
    )
    with database.write() as connection:
        taken = connection.execute(take).first()
        if taken is None:
            return None
        claimed = job_of(tuple(taken)[:-2])
        connection.execute(
            insert(tables.attempt).values(
                job_id=claimed.id,
                fence=claimed.fence,
                host=worker.host,
                boot_id=worker.boot_id,
                pid=worker.pid,
                pid_started=worker.pid_started,
                started_at=now(),
                worker_id=worker_id,
            )
        )
        started = {"state": "running", "attempt": taken.earlier + 1}
        events.insert_numbered(connection, claimed.id, taken.claimed_seq, "state", started)
    return Claim(claimed, claimed.fence, taken.earlier + 1)


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
    """Store what the trainer reported, in one transaction; each is an event's kind and data.

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
        events.append_all(connection, claim.job.id, reports)


def keep_plan(database: Database, claim: Claim, spec: dict[str, Any]) -> None:
    """Put the spec that a trainer has fitted to its budget in place of the job's own: later attempts train by it.

    Raises:
        Stale: if the claim is no longer ours.
    """
    with database.write() as connection:
        _fenced(connection, claim, {"spec": spec, "spec_sha256": digest_of(spec)})


def keep_warning(database: Database, claim: Claim, text: str) -> None:
    """Add a warning to those that the job's owner is shown; one that is there already is not repeated.

    Raises:
        Stale: if the claim is no longer ours.
    """
    job = tables.job
    with database.write() as connection:
        row = connection.execute(select(job.c.warnings).where(_holds(claim)).with_for_update()).first()
        if row is None:
            raise Stale
        if (warning := f"{FOUND}{text}") not in row.warnings:
            _fenced(connection, claim, {"warnings": [*row.warnings, warning]})


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
        {**ended("succeeded"), "result": result, "files": files, "progress": {"fraction": 1.0}},
        tables.job.c.cancel_requested_at.is_(None),
    )
    end_attempt(connection, claim.job.id, claim.fence, "succeeded")
    events.append(connection, claim.job.id, "state", {"state": "succeeded", "result": result})
    families.ended(connection, claim.job.id)


def wait(connection: Connection, claim: Claim, *, phase: str, progress: dict[str, Any]) -> None:
    """Let a parent's worker go until a child ends, in the transaction that submits the children. A cancel wins.

    Raises:
        Stale: if the claim is no longer ours, or the owner has asked for a cancel.
    """
    waiting = {**requeued(), "state": "waiting", "phase": phase, "progress": progress, "crashes": 0}
    _fenced(connection, claim, waiting, tables.job.c.cancel_requested_at.is_(None))
    end_attempt(connection, claim.job.id, claim.fence, "waiting")
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
        _fenced(connection, claim, {**ended("failed"), "problem": problem})
        end_attempt(connection, claim.job.id, claim.fence, "failed")
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


def release(database: Database, claim: Claim, *, reason: str = SHUTTING_DOWN) -> None:
    """Give the job back to the queue, crashes unchanged: no fault of the job's. A cancel that came first ends it.

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
        _fenced(connection, claim, {**requeued(), "not_before": now()})
        end_attempt(connection, claim.job.id, claim.fence, "released")
        events.append(connection, claim.job.id, "state", {"state": "queued", "reason": reason})


def postpone(database: Database, claim: Claim, *, settings: Settings, problem: dict[str, Any]) -> None:
    """Give the job back to the queue for later, crashes unchanged: this host has no room for it now.

    The wait doubles with each attempt that ended for this reason, up to that after a crash. The job's log says why. A
    cancel that came first ends the job.

    Raises:
        Stale: if the claim is no longer ours.
    """
    job, attempt = tables.job, tables.attempt
    with database.write() as connection:
        families.lock_parent(connection, claim.job.id)
        row = connection.execute(select(job.c.cancel_requested_at).where(_holds(claim)).with_for_update()).first()
        if row is None:
            raise Stale
        if row.cancel_requested_at is not None:
            _cancel(connection, claim)
            return
        same = (attempt.c.job_id == claim.job.id, attempt.c.outcome == problem["code"])
        earlier = connection.execute(select(func.count()).select_from(attempt).where(*same)).scalar_one()
        wait_s = min(settings.backoff_s * 2 ** min(earlier, 20), LONGEST_BACKOFF_S)
        _fenced(connection, claim, {**requeued(), "not_before": now() + wait_s})
        end_attempt(connection, claim.job.id, claim.fence, problem["code"])
        text = f"tried again in {wait_s:g} s, without counting a crash: {problem['detail']}"
        events.append(connection, claim.job.id, "log", {"text": text, "level": "warning", "attempt": claim.attempt})
        data = {"state": "queued", "reason": problem["detail"], "retry_in_s": wait_s, "crashes": claim.job.crashes}
        events.append(connection, claim.job.id, "state", data)


def crash(database: Database, claim: Claim, *, settings: Settings, reason: str, advice: str = SEE_LOGS) -> None:
    """Count a crash: back to the queue after a wait, or failed when it was one too many, with advice to the owner.

    Raises:
        Stale: if the claim is no longer ours.
    """
    with database.write() as connection:
        families.lock_parent(connection, claim.job.id)
        row = connection.execute(select(*COLUMNS).where(_holds(claim)).with_for_update()).first()
        if row is None:
            raise Stale
        count_crash(connection, job_of(row), settings=settings, reason=reason, advice=advice)


def forget_checkpoints(database: Database, job_id: str) -> list[str]:
    """Take the checkpoints of a job that has ended off its row; return their digests."""
    job = tables.job
    with database.write() as connection:
        row = connection.execute(select(job.c.checkpoints).where(job.c.id == job_id, job.c.state.in_(TERMINAL))).first()
        connection.execute(update(job).where(job.c.id == job_id, job.c.state.in_(TERMINAL)).values(checkpoints=[]))
    return list(row.checkpoints) if row else []


def _attempts() -> ScalarSelect[int]:
    """Return how often the job of the statement was taken up before."""
    job, attempt = tables.job, tables.attempt
    return select(func.count()).where(attempt.c.job_id == job.c.id).correlate(job).scalar_subquery()


def _cancel(connection: Connection, claim: Claim) -> None:
    _fenced(connection, claim, ended("canceled"))
    end_attempt(connection, claim.job.id, claim.fence, "canceled")
    events.append(connection, claim.job.id, "state", {"state": "canceled"})
    families.ended(connection, claim.job.id)


def _fenced(connection: Connection, claim: Claim, values: dict[str, Any], *guards: ColumnElement[bool]) -> None:
    if connection.execute(update(tables.job).where(_holds(claim), *guards).values(**values)).rowcount == 0:
        raise Stale


def _holds(claim: Claim) -> ColumnElement[bool]:
    job = tables.job
    return and_(job.c.id == claim.job.id, job.c.fence == claim.fence, job.c.state == "running")
