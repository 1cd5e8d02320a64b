"""Presence of this worker in the database: its host, its devices, and a beat every BEAT_S until it ends."""

import logging
import os
import threading
from importlib.metadata import version

from models_store.host import devices
from models_store.jobs import workers
from models_store.settings import Settings
from models_store.storage.database import UNAVAILABLE, Database
from models_store.storage.ids import new_id

VARIABLE = "ESPALIER_WORKER"
"""the environment variable by which a worker's processes know whose they are"""

log = logging.getLogger(__name__)


def take_id() -> None:
    """Give this worker an id, which its child processes inherit."""
    os.environ[VARIABLE] = new_id("wrk")


def worker_id() -> str | None:
    """Return the id of the worker that this process belongs to, if it belongs to one."""
    return os.environ.get(VARIABLE)


class Presence:
    """A thread that beats for this worker, until `leave`; `slots` is how many jobs it takes at the same time."""

    def __init__(self, settings: Settings, *, slots: int) -> None:
        self._settings = settings
        self._slots = slots
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._beat_on, name="presence", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def leave(self) -> None:
        """Take the worker off the list."""
        self._leaving.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def _beat_on(self) -> None:
        mine = worker_id()
        assert mine is not None, "take_id comes first"
        database = Database(self._settings.database_url, patience_s=self._settings.beat_s)
        found = devices.found(self._settings.device)
        while True:
            try:
                if self._leaving.is_set():
                    workers.leave(database, mine)
                    break
                workers.beat(database, mine, version=version("espalier"), devices=found, slots=self._slots)
            except UNAVAILABLE as error:
                log.warning("no beat of this worker: %s", type(error).__name__)
                if self._leaving.is_set():
                    break  # it is listed as lost
            self._leaving.wait(self._settings.beat_s)
        database.close()
