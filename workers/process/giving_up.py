"""Attempts that end without an outcome of their own: put off, given back, failed, or counted as a crash."""

import logging
from contextlib import suppress

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from models_store.errors import EspalierError, StorageFull
from models_store.host.processes import this_process
from models_store.jobs import claims, outage_notes
from models_store.jobs.claims import Claim, Stale
from models_store.settings import Settings
from models_store.storage import disk, tables
from models_store.storage.database import UNAVAILABLE, Database
from workers.process.persistence import StopFlag, persist

PUT_OFF = "put off"
"""how the outcome of an attempt begins that this host had no room for"""

log = logging.getLogger(__name__)


def end_by(error: Exception, database: Database, claim: Claim, *, settings: Settings, stop: StopFlag) -> str:
    """Record that an error has ended the attempt, and return its outcome.

    A full disk puts the job off, an outage of the database gives it back, and what a user can act on fails it. Anything
    else is a fault of ours, and a crash.
    """
    if disk.is_full(error):
        full = error if isinstance(error, StorageFull) else disk.no_room_for("the job's files")
        return _put_off(database, claim, full, settings=settings, stop=stop)
    if isinstance(error, EspalierError):
        problem = error.as_problem()
        with suppress(Stale):
            persist(lambda: claims.fail(database, claim, problem), settings=settings, stop=stop)
        return f"failed: {error.detail}"
    if isinstance(error, UNAVAILABLE):
        log.error("%s: the database does not answer", claim.job.id, exc_info=error)
        return _give_back(database, claim, settings=settings, stop=stop)
    log.error("%s: the supervisor failed", claim.job.id, exc_info=error)
    with suppress(Stale, SQLAlchemyError):  # then the lease runs out
        claims.crash(database, claim, settings=settings, reason="its supervisor failed; see the worker's log")
    return "crashed"


def has_claim(database: Database) -> bool:
    """Return whether this process holds a claim: its end gives the job back at once; else the lease must run out."""
    job = tables.job
    mine = select(job.c.id).where(job.c.state == "running", job.c.lease_owner == this_process().name).limit(1)
    with database.read() as connection:
        return connection.execute(mine).first() is not None


def _put_off(database: Database, claim: Claim, full: StorageFull, *, settings: Settings, stop: StopFlag) -> str:
    """Put the job back to the queue for later, as soon as the database, maybe on the same disk, takes that."""
    problem = full.as_problem()
    with suppress(Stale, *UNAVAILABLE):
        persist(
            lambda: claims.postpone(database, claim, settings=settings, problem=problem), settings=settings, stop=stop
        )
        return f"{PUT_OFF}: {full.detail}"
    with suppress(OSError):
        outage_notes.note(settings, claim.job.id, claim.fence)
    return f"left: {full.detail}"


def _give_back(database: Database, claim: Claim, *, settings: Settings, stop: StopFlag) -> str:
    """Put the job back to the queue as soon as the database answers; a worker that has to leave makes a note of it."""
    reason = "the database did not answer"
    with suppress(*UNAVAILABLE):
        if not stop.is_set:  # else it was waited for already
            with suppress(Stale):
                persist(lambda: claims.release(database, claim, reason=reason), settings=settings, stop=stop)
            return f"released: {reason}"
    with suppress(OSError):
        outage_notes.note(settings, claim.job.id, claim.fence)
    return f"left: {reason}"
