"""Thread of a worker's main process that does urgent jobs, whatever job the worker's child is at.

An urgent job, a preview, takes a second, and somebody waits for it. Its trainer is a process of its own, forked from
the worker's starter, with one thread, at low priority and without a GPU, so that a training beside it is not slowed
down. The broker wakes the thread, which also looks at the database every `poll_s`.
"""

import logging
import threading

from models_store.jobs import urgent
from models_store.jobs.kinds import URGENT
from models_store.settings import Settings
from models_store.storage.blobs import Blobs
from models_store.storage.database import Database
from workers.process import claim_loop
from workers.process.persistence import StopFlag

log = logging.getLogger(__name__)


class UrgentJobs:
    """Does urgent jobs one after another, until `leave`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stop = StopFlag()
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._walk, name="urgent jobs", daemon=True)
        self.is_at_work = False

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def leave(self) -> None:
        """Take no more jobs, and end or give back the one at hand: until then, `is_at_work` is True."""
        self._stop.set()
        self._leaving.set()

    def _walk(self) -> None:
        settings = self._settings
        database, blobs = claim_loop.open_stores(settings)
        listener = urgent.Listener(settings)
        while not self._stop.is_set:
            try:
                self._do_what_is_due(database, blobs)
            except Exception:  # the thread must outlive whatever a database or a remote store raises
                log.exception("a look for urgent jobs failed; the next one comes in %s s", settings.poll_s)
                self._leaving.wait(settings.poll_s)
                continue
            if not listener.wait():
                self._leaving.wait(settings.poll_s)
        database.close()

    def _do_what_is_due(self, database: Database, blobs: Blobs) -> None:
        self.is_at_work = True  # before the look at the flag: who sets the flag and then finds False need not wait
        try:
            claim_loop.work_on(database, blobs, settings=self._settings, stop=self._stop, least_priority=URGENT)
        finally:
            self.is_at_work = False
