"""Cache of resolved model references: reading one from the database takes longer than a small net.

What is remembered is right until the registry's count of changes moves. While there is traffic the count is read twice
a second, beside the requests; when it has moved, the references in use are read anew before they are replaced. Without
traffic nothing is read; the first request after a pause waits for one reading of the count, and so do all requests when
a reading takes long. Of requests that need the same reference, one reads it for all.
"""

import asyncio
import hashlib
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from random import random

import anyio
import anyio.to_thread
from starlette.concurrency import run_in_threadpool

from models_store.models import changes, registry
from models_store.models.providers import Provider
from models_store.models.served import Served
from models_store.storage.database import Database
from service.processes.place import Place

CHECKED_EVERY_S = 0.5
LONGEST_UNCHECKED_S = 1.0
"""An alias moved on another host or by a worker is seen within this time, in seconds; one moved by an API process of
this host, at once."""
MOST = 1024
MOST_READ_AHEAD = 64
"""References that are read again at a change; others are read when they are asked for."""

Key = tuple[str, str]
"""an owner and a reference"""


class References:
    """References as they were resolved last, for the provider that serves here.

    `known` and `served` belong to the event loop; the others are safe between threads.
    """

    def __init__(
        self,
        database: Database,
        *,
        provider: Callable[[], Provider],
        clock: Callable[[], float] = time.monotonic,
        place: Place | None = None,
    ) -> None:
        self._database = database
        self._place = place or Place()
        self._changes_seen = self._place.changes()
        self._provider = provider
        self._clock = clock
        self._known: dict[Key, Served] = {}
        self._used: set[Key] = set()  # since the last check
        self._lock = threading.Lock()
        self._moves = 0  # times that everything was replaced
        self._count = -1
        self._checked_at = -LONGEST_UNCHECKED_S
        self._checking: asyncio.Task[None] | None = None
        self._checkers = anyio.CapacityLimiter(1)  # a thread that never waits behind other work
        self._resolving: dict[Key, asyncio.Task[Served]] = {}

    def known(self, reference: str, *, owner: str, sticky_key: str | None = None) -> Served | None:
        """Return what the reference means; None when it has to be read, which `served` does.

        Of a weighted alias, requests with the same `sticky_key` get the same target while its weights stay.
        """
        self._notice_changes()
        unchecked_s = self._clock() - self._checked_at
        if unchecked_s >= CHECKED_EVERY_S:
            self._check()
            if unchecked_s >= LONGEST_UNCHECKED_S:
                return None
        key = owner, reference
        found = self._known.get(key)
        if found is None:
            return None
        self._used.add(key)
        return _drawn(found, sticky_key)

    async def served(self, reference: str, *, owner: str, sticky_key: str | None = None) -> Served:
        """Return what the reference means, read from the database when it is not known.

        Raises:
            ModelNotFound, NotServedHere: as registry.resolve does.
        """
        found = self.known(reference, owner=owner, sticky_key=sticky_key)
        if found is not None:
            return found
        if self._clock() - self._checked_at >= LONGEST_UNCHECKED_S:
            await asyncio.shield(self._check())
            found = self._known.get((owner, reference))
        found = await asyncio.shield(self._read(owner, reference)) if found is None else found
        return _drawn(found, sticky_key)

    def recent(self, reference: str, *, owner: str, sticky_key: str | None = None) -> Served:
        """Return what the reference means, for a caller in a thread; this may read the database.

        Raises:
            ModelNotFound, NotServedHere: as registry.resolve does.
        """
        self._notice_changes()
        is_checked = self._clock() - self._checked_at < LONGEST_UNCHECKED_S
        found = self._known.get((owner, reference)) if is_checked else None
        return _drawn(found or self.resolve(reference, owner=owner), sticky_key)

    def resolve(self, reference: str, *, owner: str) -> Served:
        """Return what the reference means now, read from the database; of a weighted alias, all of its targets.

        Raises:
            ModelNotFound, NotServedHere: as registry.resolve does.
        """
        self._notice_changes()
        moves = self._moves
        served = registry.resolve(self._database, reference, owner=owner, provider=self._provider())
        with self._lock:
            if moves == self._moves:  # else something moved while we read
                self._known[owner, reference] = served
                if len(self._known) > MOST:
                    self._known = {(owner, reference): served}
        return served

    def forget(self) -> None:
        """Forget everything, here and in the other API processes of this host: an alias has moved."""
        self._place.note_change()
        self._notice_changes()

    def _notice_changes(self) -> None:
        """Forget everything if a process of this host has moved an alias; memory that they share has the count."""
        changes = self._place.changes()
        if changes != self._changes_seen:
            self._replace({})
            self._changes_seen = changes

    def _replace(self, known: dict[Key, Served]) -> None:
        with self._lock:
            self._moves += 1
            self._known = known
            self._resolving = {}  # what is being read now may be old: later requests read anew

    def _read(self, owner: str, reference: str) -> "asyncio.Task[Served]":
        """Return the reading of a reference, which all that ask for it now share."""
        key = owner, reference
        reading = self._resolving.get(key)
        if reading is None:
            reading = asyncio.ensure_future(run_in_threadpool(self.resolve, reference, owner=owner))
            self._resolving[key] = reading
            reading.add_done_callback(lambda done: self._has_read(key, done))
        return reading

    def _has_read(self, key: Key, reading: "asyncio.Task[Served]") -> None:
        if self._resolving.get(key) is reading:
            del self._resolving[key]
        _take_note_of_failure(reading)

    def _check(self) -> "asyncio.Task[None]":
        """Return the check that runs now; one begins when there is none."""
        if self._checking is None:
            self._checking = asyncio.ensure_future(self._follow_changes())
            self._checking.add_done_callback(_take_note_of_failure)
        return self._checking

    async def _follow_changes(self) -> None:
        began_at, used = self._clock(), list(self._used)[:MOST_READ_AHEAD]
        self._used.clear()
        moves = self._moves
        try:
            count, fresh = await anyio.to_thread.run_sync(self._read_changes, used, limiter=self._checkers)
            if count != self._count and moves == self._moves:
                self._replace(fresh)
                self._count = count
            # else this process moved something: what was read since then may be older than `count`, so that the next
            # check has to read it anew
            self._checked_at = began_at
        finally:
            self._checking = None

    def _read_changes(self, used: Iterable[Key]) -> tuple[int, dict[Key, Served]]:
        """Return the count of changes, and if it has moved, what the references mean now."""
        count = changes.count(self._database)
        fresh: dict[Key, Served] = {}
        if count != self._count:
            for owner, reference in used:
                with suppress(registry.ModelNotFound, registry.NotServedHere):
                    served = registry.resolve(self._database, reference, owner=owner, provider=self._provider())
                    fresh[owner, reference] = served
        return count, fresh


def _drawn(served: Served, sticky_key: str | None) -> Served:
    """Return the target of a weighted alias that answers this request."""
    if not served.split:
        return served
    return served.drawn(random() if sticky_key is None else _place_of(sticky_key, served.model))


def _place_of(sticky_key: str, model: str) -> float:
    """Return a place from 0 to below 1: the same in every process and release, and another one for each model."""
    digest = hashlib.blake2b(sticky_key.encode(), key=model.encode()[:64], digest_size=6).digest()
    return int.from_bytes(digest) / 2**48


def _take_note_of_failure(task: "asyncio.Task[Served] | asyncio.Task[None]") -> None:
    """Read the error of a task for which nobody may be waiting any more; those who wait get it."""
    if not task.cancelled():
        task.exception()
