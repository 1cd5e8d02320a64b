"""Housekeeping by every worker and API: take back abandoned jobs, announce waiting ones, delete unused files."""

import logging
import threading
import time
from collections.abc import Callable

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from models_store.jobs import kinds, leases, queue, schedule, urgent, workers
from models_store.models import removals
from models_store.settings import Settings
from models_store.storage import scratch, tables
from models_store.storage.blobs import Blobs
from models_store.storage.database import UNAVAILABLE, Database

SWEEP_EVERY_S = 3600.0

log = logging.getLogger(__name__)


def wake(database: Database, job_id: str, *, settings: Settings, priority: int = 0) -> bool:
    """Announce a queued job and note that it was done; False when the broker is down, which loses nothing.

    A note that the database does not take loses nothing either: the job is announced once more.
    """
    if not (urgent.announce(settings) if priority >= kinds.URGENT else queue.announce(settings, job_id)):
        return False
    try:
        schedule.note_wake_up(database, job_id)
    except SQLAlchemyError as error:
        log.warning("the wake-up for %s was sent but not recorded: %s", job_id, type(error).__name__)
    return True


def make_round(database: Database, *, settings: Settings, idle: bool, grace_s: float = 0.0) -> None:
    """Take back abandoned jobs, then announce one that waits: sooner when this worker is idle.

    One is enough: whoever wakes works on everything that is due. More would pile up in the queue. `grace_s` is as of
    `leases.reap`.
    """
    for job_id in leases.reap(database, settings=settings, grace_s=grace_s):
        log.warning("took back %s", job_id)
    age_s = settings.poll_s if idle else settings.reannounce_s
    for job_id in schedule.due_for_wake_up(database, older_than_s=age_s)[:1]:
        wake(database, job_id, settings=settings)


def sweep(database: Database, blobs: Blobs, *, settings: Settings) -> int:
    """Delete old blobs that no row names, and what dead processes left half-written; return how many.

    First it deletes old previews, and empties what is left of deleted jobs.
    """
    removals.delete_previews(database, ended_before_s=settings.preview_keep_s)
    removals.purge(database)
    workers.forget_lost(database)
    candidates = set(blobs.older_than(settings.blob_grace_s))
    unnamed = candidates - named_blobs(database)  # in this order: what is named meanwhile stays
    still_old = unnamed & set(blobs.older_than(settings.blob_grace_s))  # whoever stores a blob again makes it young
    for sha256 in still_old:
        blobs.delete(sha256)
    return len(still_old) + scratch.sweep(settings.scratch)


def named_blobs(database: Database) -> set[str]:
    """Return the digest of every blob that a row names: the rest may be swept when old."""
    with database.read() as connection:
        named = set(connection.execute(select(tables.variant.c.blob)).scalars())
        named |= set(connection.execute(select(tables.dataset.c.content_blob)).scalars())
        named |= set(connection.execute(select(tables.dataset.c.manifest_blob)).scalars())
        named |= set(connection.execute(select(tables.weights.c.blob)).scalars())
        for optional in (tables.version.c.weights_blob, tables.version.c.golden_blob):
            named |= {name for name in connection.execute(select(optional)).scalars() if name}
        for auxiliary in connection.execute(select(tables.version.c.auxiliary_blobs)).scalars():
            named |= set(auxiliary.values())
        for files in connection.execute(select(tables.job.c.files).where(tables.job.c.files.is_not(None))).scalars():
            named |= set((files or {}).values())
        begun = (tables.job.c.state.in_(("queued", "running")), tables.job.c.fence > 0)
        for checkpoints in connection.execute(select(tables.job.c.checkpoints).where(*begun)).scalars():
            named |= set(checkpoints)
    return named


class Housekeeper:
    """A thread that makes a round every `settings.poll_s`, until `stop`."""

    def __init__(self, database: Database, blobs: Blobs, *, settings: Settings, is_idle: Callable[[], bool]) -> None:
        self._database = database
        self._blobs = blobs
        self._settings = settings
        self._is_idle = is_idle
        self._stopping = threading.Event()
        self._last_round = self._away_since = self._spare_until = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="housekeeper", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread, after the round it is in."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def _make_round(self) -> None:
        """Make a round; after an outage of the database, spare the leases that nobody could renew in it."""
        settings, began = self._settings, time.monotonic()
        grace_s = began - self._away_since if began < self._spare_until else 0.0
        try:
            make_round(self._database, settings=settings, idle=self._is_idle(), grace_s=grace_s)
        except UNAVAILABLE:
            if began >= self._spare_until:
                self._away_since = self._last_round
            self._spare_until = time.monotonic() + settings.lease_s
            raise
        self._last_round = began

    def _run(self) -> None:
        waited_s = SWEEP_EVERY_S  # what a killed process left is swept at the start
        while not self._stopping.wait(self._settings.poll_s):
            waited_s += self._settings.poll_s
            try:
                self._make_round()
                if waited_s >= SWEEP_EVERY_S:
                    waited_s = 0.0
                    log.info("swept %d blobs", sweep(self._database, self._blobs, settings=self._settings))
            except Exception:  # the thread must outlive whatever a database, a broker or a remote store raises
                log.exception("a round of housekeeping failed; the next one comes in %s s", self._settings.poll_s)
