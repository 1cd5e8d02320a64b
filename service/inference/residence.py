"""Residence of models in memory: load one, unload it, report where it runs; in this process, or in the owner's.

The owner of large models (`processes.place`) answers for all API processes of the host: copies of small nets that
other processes have are not listed.
"""

from collections.abc import Callable
from typing import Protocol

from models_store.models.served import Served
from service.inference.forwarded import InMemory, Order
from service.inference.forwarding import Forwarding
from service.inference.sessions import Sessions


class Residence(Protocol):
    """Models in memory; each call is about one file."""

    async def load(self, served: Served) -> InMemory | None:
        """Load the file now, and return where it runs; None: it has left already, to make room for another.

        Raises:
            ModelUnusable, NoRoom: as `Sessions.get` does.
        """
        ...

    async def unload(self, served: Served) -> None:
        """Take the file out of memory in every process; what waits for it is answered first.

        Raises:
            ModelPinned: if an alias keeps it there.
        """
        ...

    async def find(self, served: Served) -> InMemory | None:
        """Return where the file runs; None: it is not in memory."""
        ...


class OwnResidence:
    """Models in the memory of this process, the owner; `tell_others` makes other processes let a file go."""

    def __init__(self, sessions: Sessions, *, tell_others: Callable[[str], None]) -> None:
        self._sessions = sessions
        self._tell_others = tell_others

    async def load(self, served: Served) -> InMemory | None:
        """Load the file: see `Residence`."""
        await self._sessions.get(served)
        return await self.find(served)

    async def unload(self, served: Served) -> None:
        """Unload the file: see `Residence`."""
        await self._sessions.unload(served)
        self._tell_others(served.blob)

    async def find(self, served: Served) -> InMemory | None:
        """Find the file: see `Residence`."""
        return self._sessions.in_memory(served)


class OwnersResidence:
    """Models in the memory of the owner, which is another process."""

    def __init__(self, forwarding: Forwarding) -> None:
        self._forwarding = forwarding

    async def load(self, served: Served) -> InMemory | None:
        """Let the owner load the file: see `Residence`. Raises OwnerAway too."""
        return await self._forwarding.order(Order.LOAD, served)

    async def unload(self, served: Served) -> None:
        """Let the owner unload the file: see `Residence`. Raises OwnerAway too."""
        await self._forwarding.order(Order.UNLOAD, served)

    async def find(self, served: Served) -> InMemory | None:
        """Ask the owner for the file: see `Residence`. Raises OwnerAway too."""
        return await self._forwarding.order(Order.FIND, served)
