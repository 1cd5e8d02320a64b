"""Predictions forwarded between API processes: fronts ask, the owner of large models answers.

    front: Forwarding.infer ─► Asked ─► link ─► owner: Links ─► Engine.infer ─► Answered ─► front

What a reference means is sent once over each link, and named by a number after that.

OwnerAway       503  the process that runs the models has died or does not run yet; it is being replaced
└── OwnerSilent 503  it is there, and does not answer
"""

import asyncio
import contextlib
import itertools
import socket
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import ClassVar

import structlog

from models_store.errors import EspalierError, Unavailable
from models_store.models.served import Served
from models_store.tasks import rooms
from service.inference.engine import Answer, Engine, PredictTimeout, Work
from service.inference.forwarded import Advice, Answered, Asked, InMemory, Order, Ordered, Withdrawn
from service.inference.sessions import Sessions
from service.processes.board import Column
from service.processes.inbox import Kind
from service.processes.link import Link, open_link
from service.processes.place import OWNER, Place

MOST_NAMED = 256
"""references that have a number on a link; the least recently used loses its own"""
CALM_S = 10.0
"""least time between two copies of small models that push out others"""
LATE_S = 1.0
"""time that the owner has, after a request's deadline, to say so itself"""
ORDER_S = {Order.FIND: 10.0, Order.LOAD: 600.0, Order.UNLOAD: 600.0}
"""time that the owner has for an order: a load waits for its turn, an unload for the last request"""

log = structlog.get_logger(__name__)


class OwnerAway(Unavailable):
    """The process that runs the models is being replaced."""

    code = "models_restarting"
    title = "The models are being restarted"
    headers: ClassVar[dict[str, str]] = {"Retry-After": "2"}


class OwnerSilent(OwnerAway):
    """The process that runs the models does not answer in time."""

    code = "models_silent"
    title = "The models do not answer"


class Forwarding:
    """Engine of a front: small models run here, all others in the owner.

    `here` runs the copies.
    """

    def __init__(
        self,
        place: Place,
        *,
        here: Engine,
        copies: Sessions,
        timeout_s: float,
        order_s: Mapping[Order, float] = ORDER_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._place = place
        self._here = here
        self._copies = copies
        self._clock = clock
        self._timeout_s = timeout_s
        self._order_s = order_s
        self._link: Link | None = None
        self._linking = asyncio.Lock()
        self._requests = itertools.count()
        self._waiting: dict[int, asyncio.Future[Answered]] = {}
        self._named: OrderedDict[int, tuple[Served, int]] = OrderedDict()  # id(served) → itself, its number
        self._taking_over: dict[str, asyncio.Task[None]] = {}
        self._calm_until = 0.0

    async def open(self) -> None:
        """Open the link, so that the first request finds it; one that is lost is opened again when it is needed."""
        with contextlib.suppress(OwnerAway):
            await self._linked()

    async def infer(self, served: Served, work: Work) -> Answer:
        """Return the model's outputs: see `Engine`.

        Raises:
            OwnerAway: if the process that has the model is being replaced.
        """
        if self._copies.is_loaded(served):
            return await self._here.infer(served, work)
        limit_s = self._timeout_s if work.deadline_s is None else work.deadline_s - time.monotonic()
        try:
            async with asyncio.timeout(limit_s + LATE_S) as deadline:
                answered = await self._forward(served, work)
        except TimeoutError as error:
            if not deadline.expired():
                raise
            raise PredictTimeout(f"the {rooms.examples()} were not answered within {limit_s:g} s") from error
        if answered.advice is Advice.COPY:
            self._take_over(served)
        if isinstance(answered.outcome, EspalierError):
            raise answered.outcome
        assert isinstance(answered.outcome, Answer)
        if answered.advice is Advice.MOVE:
            return replace(answered.outcome, better_in_owner=True)
        return answered.outcome

    async def order(self, order: Order, served: Served) -> InMemory | None:
        """Let the owner load, unload or find a model; return where it is then. Raises what that does, and OwnerAway."""
        limit_s = self._order_s[order]
        try:
            async with asyncio.timeout(limit_s) as deadline:
                link = await self._linked()
                answered = await self._asked(link, lambda request: Ordered(request, order, served))
        except TimeoutError as error:
            if not deadline.expired():
                raise
            raise OwnerSilent(
                f"the process that runs the models did not {order.value} this one within {limit_s:g} s; try again later"
            ) from error
        if isinstance(answered.outcome, EspalierError):
            raise answered.outcome
        assert not isinstance(answered.outcome, Answer)
        return answered.outcome

    def _take_over(self, served: Served) -> None:
        """Load a copy of a small model, which answers as soon as it is there."""
        if served.blob not in self._taking_over:
            self._taking_over[served.blob] = asyncio.ensure_future(self._copy(served))

    async def _copy(self, served: Served) -> None:
        try:
            if not await self._copies.has_room(served):  # it would push out another copy, which may be needed as much
                if self._clock() < self._calm_until:
                    return
                self._calm_until = self._clock() + CALM_S
            await self._copies.get(served)
        except EspalierError as error:  # the owner goes on answering
            self._calm_until = self._clock() + CALM_S
            log.warning("a small model did not load beside the owner's", model=served.name, error=error.detail)
        finally:
            del self._taking_over[served.blob]

    def close(self) -> None:
        """End the link."""
        if self._link is not None:
            self._link.close()

    async def _forward(self, served: Served, work: Work) -> Answered:
        link = await self._linked()
        await link.room()
        if link.is_lost:  # by now there may be another link, on which the owner does not know this number
            raise _away()
        number, first = self._number(served)
        return await self._asked(link, lambda request: Asked(request, number, served if first else None, work))

    async def _asked(self, link: Link, message: Callable[[int], object]) -> Answered:
        """Send a request, and return its answer."""
        request = next(self._requests)
        future: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()
        self._waiting[request] = future
        link.send(message(request))
        if link.is_lost:
            self._fail(request)
        try:
            return await future
        except asyncio.CancelledError:
            link.send(Withdrawn(request))
            raise
        finally:
            self._waiting.pop(request, None)

    def _number(self, served: Served) -> tuple[int, bool]:
        """Return the number of what a reference means, and whether the owner does not know it yet."""
        known = self._named.get(id(served))
        if known is not None:
            self._named.move_to_end(id(served))
            return known[1], False
        number = len(self._named) if len(self._named) < MOST_NAMED else self._named.popitem(last=False)[1][1]
        self._named[id(served)] = served, number
        return number, True

    async def _linked(self) -> Link:
        async with self._linking:
            if self._link is not None and not self._link.is_lost:
                return self._link
            if not self._place.board.read(OWNER, Column.PID):
                raise _away()
            self._named.clear()
            ours, theirs = socket.socketpair()
            with theirs:
                if not self._place.inboxes[OWNER].send(Kind.LINK, theirs):
                    ours.close()
                    raise _away()
            self._link = await open_link(ours, on_message=self._on_answer, on_lost=self._on_lost)
            return self._link

    def _on_answer(self, answered: Answered) -> None:
        future = self._waiting.get(answered.request)
        if future is not None and not future.done():
            future.set_result(answered)

    def _on_lost(self) -> None:
        for request in list(self._waiting):
            self._fail(request)

    def _fail(self, request: int) -> None:
        future = self._waiting[request]
        if not future.done():
            future.set_exception(_away())


def _away() -> OwnerAway:
    return OwnerAway("the process that runs the models has ended and is being replaced; try again in a moment")
