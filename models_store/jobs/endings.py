"""Ends of attempts: what is written to the rows when one ends, a crash is counted, or a lease is lost.

Outcomes of an attempt: `succeeded`, `failed`, `canceled`, `waiting`, `released`, `crashed`; `lost` when nothing is
known of its worker but that the lease ran out, which counts as a crash; `lost_lease` when the worker is known to live,
which does not; `storage_full` when its host had no room, which does not either.
"""

from typing import Any

from sqlalchemy import Connection, update

from models_store.jobs import events, families, tallies
from models_store.jobs.job import TERMINAL, Job
from models_store.settings import Settings
from models_store.storage import tables
from models_store.storage.database import now
from models_store.wording import counted

LONGEST_BACKOFF_S = 360.0
SEE_LOGS = "see its logs, then retry it"


def count_crash(
    connection: Connection,
    job: Job,
    *,
    settings: Settings,
    reason: str,
    advice: str = SEE_LOGS,
    outcome: str = "crashed",
) -> None:
    """Count a crash: back to the queue after a wait, or failed when it was one too many; canceled if that is wanted."""
    crashes = job.crashes + 1
    data: dict[str, Any]
    if job.cancel_requested_at is not None:
        values, data = ended("canceled"), {"state": "canceled"}
    elif crashes >= job.max_crashes:
        problem = {
            "type": "urn:espalier:problem:worker_lost",
            "title": "The worker was lost",
            "status": 500,
            "code": "worker_lost",
            "detail": f"the job crashed {counted(crashes, 'time')}, the last time because {reason}; {advice}",
            "errors": [],
        }
        values, data = {**ended("failed"), "problem": problem}, {"state": "failed", "problem": problem}
    else:
        wait_s = min(settings.backoff_s * 2**job.crashes, LONGEST_BACKOFF_S)
        values = {**requeued(), "not_before": now() + wait_s, "fence": job.fence + 1}
        data = {"state": "queued", "reason": reason, "retry_in_s": wait_s}
    _end(connection, job, {**values, "crashes": crashes}, {**data, "crashes": crashes}, outcome=outcome)


def lose_lease(connection: Connection, job: Job, *, reason: str) -> None:
    """Put the job back to the queue, crashes unchanged: its worker lives, and did not renew its lease."""
    if job.cancel_requested_at is not None:
        values, data = ended("canceled"), {"state": "canceled"}
    else:
        values = {**requeued(), "not_before": now(), "fence": job.fence + 1}
        data = {"state": "queued", "reason": reason}
    _end(connection, job, values, data, outcome="lost_lease")


def ended(state: str) -> dict[str, Any]:
    """Return what a job's row says when it has ended."""
    return {"state": state, "finished_at": now(), "lease_owner": None, "lease_expires_at": None}


def requeued() -> dict[str, Any]:
    """Return what a job's row says when it waits again."""
    return {"state": "queued", "phase": None, "lease_owner": None, "lease_expires_at": None, "wake_sent_at": None}


def end_attempt(connection: Connection, job_id: str, fence: int, outcome: str) -> None:
    """Write down how an attempt ended."""
    attempt = tables.attempt
    connection.execute(
        update(attempt)
        .where(attempt.c.job_id == job_id, attempt.c.fence == fence)
        .values(ended_at=now(), outcome=outcome)
    )


def _end(connection: Connection, job: Job, values: dict[str, Any], data: dict[str, Any], *, outcome: str) -> None:
    connection.execute(
        update(tables.job).where(tables.job.c.id == job.id, tables.job.c.fence == job.fence).values(**values)
    )
    end_attempt(connection, job.id, job.fence, outcome)
    tallies.count(connection, "crashes" if outcome == "crashed" else "lease_expiries")
    events.append(connection, job.id, "state", data)
    if values["state"] in TERMINAL:
        families.ended(connection, job.id)
