"""Time and writes of a supervisor through an outage: it waits for the database, and does not count time it was stopped.

A write that ends an attempt is fenced, so it may come as late as it likes: whoever has the job by then makes it Stale.
"""

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from models_store.settings import Settings
from models_store.storage.database import UNAVAILABLE

T = TypeVar("T")

LAST_WRITES_S = 10.0
"""How long a worker that is asked to leave waits for a database that does not answer."""
LONGEST_GAP_S = 3.0

log = logging.getLogger(__name__)


class StopFlag:
    """Set by SIGTERM: the worker is shutting down, and its job goes back to the queue."""

    def __init__(self) -> None:
        self.is_set = False

    @contextmanager
    def listening(self) -> Iterator["StopFlag"]:
        """Take SIGTERM while inside."""
        earlier = signal.signal(signal.SIGTERM, lambda *_: self.set())
        try:
            yield self
        finally:
            signal.signal(signal.SIGTERM, earlier)

    def set(self) -> None:
        """Ask for the stop."""
        self.is_set = True


class AwakeClock:
    """Seconds in which this process could run: none pass while it is stopped.

    Whoever uses it reads it all the time, from any thread; a longer gap between two readings is a stop.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._read_at = clock()
        self._awake_s = 0.0

    def __call__(self) -> float:
        """Return the seconds since it was made."""
        with self._lock:
            moment = self._clock()
            gap_s = moment - self._read_at
            self._read_at = moment
            if gap_s <= LONGEST_GAP_S:
                self._awake_s += gap_s
            return self._awake_s


def persist(write: Callable[[], T], *, settings: Settings, stop: StopFlag) -> T:
    """Return what the write returns, however long the database stays away.

    Raises:
        OperationalError and its like: when the worker has to leave, and the database has stayed away.
    """
    deadline = time.monotonic() + LAST_WRITES_S if stop.is_set else float("inf")
    is_away = False
    while True:
        try:
            return write()
        except UNAVAILABLE as error:
            if stop.is_set:
                deadline = min(deadline, time.monotonic() + LAST_WRITES_S)
            if time.monotonic() > deadline:
                raise
            if not is_away:
                log.warning("the database does not answer (%s): the attempt ends when it does", type(error).__name__)
            is_away = True
        time.sleep(min(1.0, settings.beat_s))
