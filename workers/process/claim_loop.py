"""Loop of a worker: claim a job, supervise it to its end, and again, until none is due."""

import logging
import time

from models_store import log_lines, traces
from models_store.jobs import claims
from models_store.settings import Settings
from models_store.storage.blobs import Blobs
from models_store.storage.database import Database
from workers.process import attempt_trace, giving_up, presence, staging
from workers.process.persistence import StopFlag
from workers.process.supervisor import supervise

LOOK_S = 0.2
"""between two looks at the database of a worker that lingers"""

log = logging.getLogger(__name__)


def work(settings: Settings, *, stop: StopFlag, linger_s: float = 0.0) -> int:
    """Work on jobs until none has been due for `linger_s`, or a stop is asked for; return how many were claimed."""
    database, blobs = open_stores(settings)
    try:
        return work_on(database, blobs, settings=settings, stop=stop, linger_s=linger_s)
    finally:
        database.close()
        if (tracer := traces.tracer(attempt_trace.SERVICE)) is not None:
            tracer.close()


def open_stores(settings: Settings) -> tuple[Database, Blobs]:
    """Return the database and the blobs as a worker uses them: a heartbeat that waits for a lock is tried again."""
    database = Database(settings.database_url, patience_s=settings.beat_deadline_s / 4)
    return database, Blobs(settings.blobs_url, scratch=settings.scratch)


def work_on(
    database: Database,
    blobs: Blobs,
    *,
    settings: Settings,
    stop: StopFlag,
    linger_s: float = 0.0,
    least_priority: int | None = None,
) -> int:
    """Do as `work` does, on stores that are open, with jobs of at least this priority.

    It leaves at once when it could not write down how a job ended: the job is taken back when its process ends, or its
    lease does.
    """
    staging.sweep(database, settings)
    done, lingers_until = 0, 0.0
    while not stop.is_set:
        claim = claims.claim(database, settings=settings, least_priority=least_priority, worker_id=presence.worker_id())
        if claim is None:
            if time.monotonic() >= lingers_until:
                break
            time.sleep(LOOK_S)
            continue
        done += 1
        with log_lines.of(job_id=claim.job.id, attempt=claim.attempt):
            log.info("%s: attempt %d", claim.job.id, claim.fence)
            outcome = supervise(database, blobs, claim, settings=settings, stop=stop)
            log.info("%s: %s", claim.job.id, outcome)
        if outcome.startswith(giving_up.PUT_OFF):
            break  # the next job would find no room either; the next wake-up comes soon
        if giving_up.has_claim(database):
            break
        lingers_until = time.monotonic() + linger_s
    return done
