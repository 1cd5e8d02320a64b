"""Links of the owner of large models to the fronts, which forward their examples to it."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from functools import partial

import structlog

from models_store.errors import EspalierError
from models_store.models.served import Served
from service.inference.engine import Engine, InferenceFailed
from service.inference.forwarded import Advice, Answered, Asked, Ordered, Orders, Withdrawn
from service.processes.link import Link, open_link

DRAIN_S = 4.0
"""time that the owner, when it ends, leaves the fronts for what they still forward"""

log = structlog.get_logger(__name__)


class Links:
    """Links of the owner to the fronts."""

    def __init__(self, engine: Engine, *, advise: Callable[[Served], Advice], orders: Orders) -> None:
        self._engine = engine
        self._advise = advise
        self._orders = orders
        self._open: set[_OwnersEnd] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._last_has_left = asyncio.Event()
        self._last_has_left.set()

    def serve(self, end: socket.socket) -> None:
        """Answer what comes over a link."""
        opening = asyncio.ensure_future(self._open_link(end))
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)

    async def close(self) -> None:
        """Answer the fronts until they have ended too, but not for long."""
        try:
            async with asyncio.timeout(DRAIN_S):
                await self._last_has_left.wait()
        except TimeoutError:
            self.end()

    def end(self) -> None:
        """End every link at once; what is asked over them fails."""
        for each in list(self._open):
            each.close()

    async def _open_link(self, end: socket.socket) -> None:
        owners_end = _OwnersEnd(self._engine, advise=self._advise, orders=self._orders, on_lost=self._on_lost)
        self._open.add(owners_end)
        self._last_has_left.clear()
        await owners_end.open(end)

    def _on_lost(self, lost: "_OwnersEnd") -> None:
        self._open.discard(lost)
        if not self._open:
            self._last_has_left.set()


class _OwnersEnd:
    """The owner's end of a link to one front."""

    def __init__(
        self,
        engine: Engine,
        *,
        advise: Callable[[Served], Advice],
        orders: Orders,
        on_lost: Callable[["_OwnersEnd"], None],
    ) -> None:
        self._engine = engine
        self._orders = orders
        self._advise = advise
        self._on_lost = on_lost
        self._named: dict[int, Served] = {}
        self._running: dict[int, asyncio.Task[None]] = {}
        self._link: Link | None = None

    async def open(self, end: socket.socket) -> None:
        """Begin to answer."""
        self._link = await open_link(end, on_message=self._on_message, on_lost=self._end)

    def close(self) -> None:
        """End the link."""
        if self._link is not None:
            self._link.close()

    def _on_message(self, message: Asked | Ordered | Withdrawn) -> None:
        if isinstance(message, Withdrawn):
            if (task := self._running.get(message.request)) is not None:
                task.cancel()
            return
        if isinstance(message, Ordered):
            answering = partial(self._obey, message)
        else:
            if message.served is not None:
                self._named[message.number] = message.served
            answering = partial(self._infer, message, self._named[message.number])
        request = message.request
        running = self._running[request] = asyncio.ensure_future(self._answer(request, answering))
        running.add_done_callback(lambda _: self._running.pop(request))  # one withdrawn at once never begins

    async def _answer(self, request: int, answering: Callable[[], Awaitable[Answered]]) -> None:
        try:
            answered = await answering()
        except EspalierError as error:
            answered = Answered(request, error)
        except Exception as error:  # whatever happens in this process, the other one has to answer its client
            log.exception("what another API process asked for failed")
            failure = InferenceFailed("the model failed on this input; the service's log has the reason")
            failure.__cause__ = error
            answered = Answered(request, failure)
        if self._link is not None:
            self._link.send(answered)

    async def _infer(self, message: Asked, served: Served) -> Answered:
        answer = await self._engine.infer(served, message.work)
        return Answered(message.request, answer, self._advise(served))

    async def _obey(self, message: Ordered) -> Answered:
        return Answered(message.request, await self._orders[message.order](message.served))

    def _end(self) -> None:
        for task in list(self._running.values()):
            task.cancel()
        self._on_lost(self)
