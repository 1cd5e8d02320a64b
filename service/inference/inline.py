"""Inline batches: small nets run in the event loop itself, because a thread would cost more than they do.

A batch is what one turn of the event loop has read: rows gather while the loop reads, and run after it. All models of a
loop share a bound on the time of one turn, so that reading and answering never wait long for them.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable

import structlog

from service.inference.batches import Outcome
from service.inference.estimates import ServiceTime
from service.inference.tickets import Row, Ticket, failure
from service.inference.waiting import Waiting

TURN_S = 0.002
"""Work of all models in one turn of the event loop, in seconds."""

log = structlog.get_logger(__name__)


class Inline:
    """Rows of one model that wait for the event loop. Only the loop's own thread uses it."""

    def __init__(
        self,
        serve: Callable[[list[Row]], Outcome],
        *,
        turns: "Turns",
        time_of: ServiceTime,
        most_per_batch: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.waiting = Waiting()
        self._serve = serve
        self._turns = turns
        self._time = time_of
        self._most = most_per_batch
        self._clock = clock

    def add(self, ticket: Ticket) -> None:
        """Let a ticket wait for the next turn."""
        self.waiting.add(ticket)
        self._turns.add(self, ticket.loop)

    def withdraw(self, ticket: Ticket) -> None:
        """Let the rows of a ticket leave."""
        self.waiting.withdraw(ticket)

    def serve(self, within_s: float) -> bool:
        """Serve what takes about so long, one row at least; return whether rows still wait."""
        taken_s = self._clock()
        most = max(1, min(self._most, int(within_s / (self._time.effort_s or TURN_S))))
        rows, expired = self.waiting.take(most, now_s=taken_s)
        for ticket in expired:
            ticket.fail(ticket.too_late())
        if rows:
            for ticket in self._outcome(rows).record(taken_s):
                ticket.deliver()
        return bool(self.waiting)

    def _outcome(self, rows: list[Row]) -> Outcome:
        try:
            return self._serve(rows)
        except Exception as error:  # the next batch may succeed
            log.exception("a batch failed", examples=len(rows))
            return Outcome(faults=[(row, failure(error)) for row in rows])


class Turns:
    """Turns of one event loop, shared by all models: who waits longest is served first."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waiting: deque[Inline] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None

    def add(self, inline: Inline, loop: asyncio.AbstractEventLoop) -> None:
        """Serve it in the next turn."""
        if inline not in self._waiting:
            self._waiting.append(inline)
        if self._loop is not loop:
            self._loop = loop
            loop.call_soon(self._turn, loop)

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        end_s = self._clock() + TURN_S
        while self._waiting:
            inline = self._waiting.popleft()
            if inline.serve(end_s - self._clock()):
                self._waiting.append(inline)
            if self._clock() >= end_s:
                break
        if self._waiting:
            loop.call_soon(self._turn, loop)
        else:
            self._loop = None
