"""Cache of resolved model references: reading one from the database takes longer than a small net."""

import time
from collections import OrderedDict
from collections.abc import Callable

from models_store.models import registry
from models_store.models.providers import Provider
from models_store.models.registry import Served
from models_store.storage.database import Database

FRESH_S = 0.5
"""An alias moved by another process is seen within this time, in seconds; one moved by this process, at once."""
MOST = 1024


class References:
    """References as they were resolved a moment ago, for the provider that serves here. Safe between threads."""

    def __init__(
        self, database: Database, *, provider: Callable[[], Provider], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._provider = provider
        self._clock = clock
        self._known: OrderedDict[tuple[str, str], tuple[float, Served]] = OrderedDict()
        self._moves = 0

    def known(self, reference: str, *, owner: str) -> Served | None:
        """Return what the reference was resolved to; None when that is too long ago."""
        found = self._known.get((owner, reference))
        return found[1] if found and self._clock() - found[0] < FRESH_S else None

    def resolve(self, reference: str, *, owner: str) -> Served:
        """Return what the reference means now, read from the database.

        Raises:
            ModelNotFound, NotServedHere: as registry.resolve does.
        """
        provider = self._provider()
        read_at, moves = self._clock(), self._moves
        served = registry.resolve(self._database, reference, owner=owner, provider=provider)
        if moves == self._moves:  # else an alias moved while we read
            self._known[owner, reference] = (read_at, served)
        while len(self._known) > MOST:
            self._known.popitem(last=False)
        return served

    def forget(self) -> None:
        """Forget everything: an alias has moved."""
        self._moves += 1
        self._known.clear()
