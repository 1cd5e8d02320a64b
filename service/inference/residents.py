"""Things in memory under a budget of bytes: loaded once however many ask, the least recently used leave first.

    use ─► loaded? ─► yes: at once
                └──► no: waits in line ─► room is made: the least recently used that is not pinned is drained
                                          and leaves ─► loaded, and what it takes is measured

Whoever uses a thing has it until they are done: what leaves takes no new user, and is closed after its last one. Loads
take turns, so that what each takes can be measured. Nobody may wait for one thing while they use another: it might have
to leave first. All of it runs in one event loop.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Generic, Protocol, TypeVar

from models_store.errors import Unavailable
from service.inference import memory

MEBI = 1 << 20


class NoRoom(Unavailable):
    """The model is larger than what the budget leaves beside those that are pinned."""

    code = "no_room_for_model"
    title = "There is no memory for the model"


class Closes(Protocol):
    """What is kept: it can be closed, which takes a while."""

    async def close(self) -> None:
        """Finish what waits; the memory is free when nothing names it any more."""
        ...


Kept = TypeVar("Kept", bound=Closes)


class Resident(Generic[Kept]):
    """One thing in memory, or on its way in."""

    def __init__(self, key: str, *, size_bytes: int) -> None:
        self.key = key
        self.size_bytes = size_bytes
        """measured; until it is loaded, what it took before, or its least"""
        self.users = 0
        self.kept: Kept | None = None
        """None: it is not loaded yet"""
        self.loading: asyncio.Task[Kept] | None = None
        self.unused = asyncio.Event()


class Residents(Generic[Kept]):
    """What is in memory, by key. `in_use` reads the memory in use; by it every load is measured."""

    def __init__(self, *, budget_bytes: Callable[[], int], in_use: Callable[[], int]) -> None:
        self._find_budget = budget_bytes
        self._in_use = in_use
        self._budget_bytes: int | None = None
        self._residents: OrderedDict[str, Resident[Kept]] = OrderedDict()  # the least recently used first
        self._leaving: dict[asyncio.Task[None], Resident[Kept]] = {}
        self._costs: dict[str, int] = {}  # key → bytes when it was loaded last
        self._turn = asyncio.Lock()
        self.pinned: frozenset[str] = frozenset()
        """keys that stay once they are loaded"""
        self.evictions = 0
        """those that left to make room"""

    @property
    def all(self) -> list[Resident[Kept]]:
        """Return what is in memory or on its way in, the least recently used first."""
        return list(self._residents.values())

    @property
    def size_bytes(self) -> int:
        """Return what all of it takes, with what is leaving."""
        return self._staying_bytes() + sum(each.size_bytes for each in self._leaving.values())

    async def budget_bytes(self) -> int:
        """Return what all of it may take: found once, because half of what is left is less after every load."""
        if self._budget_bytes is None:
            self._budget_bytes = await asyncio.to_thread(self._find_budget)
        return self._budget_bytes

    def use(self, key: str, load: Callable[[], Kept], *, least_bytes: int) -> Resident[Kept]:
        """Return the thing for use, and begin to load it when it is not there; `done` must follow."""
        resident = self._residents.get(key)
        if resident is None:
            resident = Resident(key, size_bytes=self._costs.get(key, least_bytes))
            self._residents[key] = resident
            resident.loading = asyncio.create_task(self._load(resident, load, least_bytes=least_bytes))
            resident.loading.add_done_callback(lambda task: self._forget_failed(resident, task))
        else:
            self._residents.move_to_end(key)
        resident.users += 1
        return resident

    async def ready(self, resident: Resident[Kept]) -> Kept:
        """Return the thing when it is loaded; a load that fails is tried again by the next use."""
        if resident.kept is not None:
            return resident.kept
        assert resident.loading is not None
        return await asyncio.shield(resident.loading)  # whoever leaves first does not stop it for the others

    def done(self, resident: Resident[Kept]) -> None:
        """End a use."""
        resident.users -= 1
        if resident.users == 0:
            resident.unused.set()

    def find(self, key: str) -> Resident[Kept] | None:
        """Return what is there of this key, without using it."""
        return self._residents.get(key)

    def release(self, keys: Iterable[str]) -> list[asyncio.Task[None]]:
        """Let things go, each when its last user is done; what is returned ends when their memory is free."""
        return [self._let_go(self._residents[key]) for key in set(keys) & self._residents.keys()]

    async def close(self) -> None:
        """Let everything go."""
        self.release(list(self._residents))
        while self._leaving:
            await asyncio.gather(*self._leaving)

    async def _load(self, resident: Resident[Kept], load: Callable[[], Kept], *, least_bytes: int) -> Kept:
        async with self._turn:
            budget_bytes = await self.budget_bytes()
            await self._make_room(resident, budget_bytes, least_bytes=least_bytes)
            kept, took_bytes = await asyncio.to_thread(self._measured, load)
            resident.size_bytes = self._costs[resident.key] = max(least_bytes, took_bytes)
            resident.kept = kept
        if self._residents.get(resident.key) is resident:
            self._residents.move_to_end(resident.key)  # its users have waited in line: they are served before it leaves
        while self._staying_bytes() > budget_bytes and self._evict(besides=resident):
            pass  # it took more than was expected
        return kept

    def _measured(self, load: Callable[[], Kept]) -> tuple[Kept, int]:
        """Load in a thread; return what came, and by how much the memory in use has grown."""
        before = self._in_use()
        kept = load()
        took_bytes = self._in_use() - before
        memory.trim()
        return kept, took_bytes

    async def _make_room(self, resident: Resident[Kept], budget_bytes: int, *, least_bytes: int) -> None:
        pinned = sum(each.size_bytes for each in self._residents.values() if each is not resident and self._stays(each))
        if least_bytes > budget_bytes - pinned:
            raise NoRoom(
                f"the model takes {least_bytes / MEBI:.0f} MiB at least, and of the {budget_bytes / MEBI:.0f} MiB "
                f"for models {pinned / MEBI:.0f} MiB are pinned; unpin an alias, or raise LOADED_MODELS_MAX_BYTES"
            )
        while self.size_bytes + resident.size_bytes > budget_bytes:
            if self._leaving:
                await asyncio.wait(self._leaving, return_when=asyncio.FIRST_COMPLETED)
            elif not self._evict(besides=resident):
                return  # it is alone with what is pinned, and its least fits

    def _staying_bytes(self) -> int:
        return sum(each.size_bytes for each in self._residents.values() if each.kept is not None)

    def _evict(self, *, besides: Resident[Kept]) -> bool:
        """Let the least recently used go that is loaded and not pinned; return whether there was one."""
        for each in self._residents.values():
            if each is not besides and each.kept is not None and not self._stays(each):
                self.evictions += 1
                self._let_go(each)
                return True
        return False

    def _stays(self, resident: Resident[Kept]) -> bool:
        return resident.key in self.pinned

    def _let_go(self, resident: Resident[Kept]) -> asyncio.Task[None]:
        """Take the thing out, so that no new use finds it, and close it after its last use."""
        del self._residents[resident.key]
        leaving = asyncio.create_task(self._close(resident))
        self._leaving[leaving] = resident
        leaving.add_done_callback(self._leaving.pop)
        return leaving

    async def _close(self, resident: Resident[Kept]) -> None:
        if resident.loading is not None:
            await asyncio.wait([resident.loading])
        while resident.users:
            resident.unused.clear()
            await resident.unused.wait()
        kept, resident.kept, resident.loading = resident.kept, None, None
        if kept is not None:
            await kept.close()
        del kept  # the last name of it: its memory is free before it is counted as such
        await asyncio.to_thread(memory.trim)

    def _forget_failed(self, resident: Resident[Kept], task: asyncio.Task[Kept]) -> None:
        failed = task.cancelled() or task.exception() is not None
        if failed and self._residents.get(resident.key) is resident:
            del self._residents[resident.key]
