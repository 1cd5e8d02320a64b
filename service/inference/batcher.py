"""Batcher of one model: admits requests, and lets the event loop or lanes run their rows together.

    infer ─► admit ─┬─ quick net, small body ─► Inline: the event loop runs it in its next turn
                    └─ anything else ─────────► Lanes: threads
                                                    both: Batches, decode and run ─► the ticket settles

A request is refused at once where it would wait too long by what was measured last, see `admission`.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from models_store.tasks.codec import Codec
from service.inference.admission import Admission, Backlog, Limits
from service.inference.batches import Batches, Outcome
from service.inference.decode import Example, Ready
from service.inference.engine import FIRST, LAST, Answer, Work
from service.inference.estimates import QUICK_S, ServiceTime
from service.inference.inline import TURN_S, Inline, Turns
from service.inference.lanes import Lanes
from service.inference.nets import LoneNet, Net, RunOptions
from service.inference.tickets import Row, Ticket, size_of

REQUEST_S = 0.0003
"""What the event loop does for a request that lanes run, with a body of some 100 KB."""
IDLE_SHARE = 0.7
"""An event loop is idle if it does nothing for so much of the time."""


class Closed(Exception):
    """The batcher takes nothing any more: its model was unloaded. Ask for the model again."""


class Batcher:
    """Inline turns and lanes before one net. `examples` is the word for them in messages.

    A lane takes up to `most_per_batch` rows; without it, as many as the codec allows.
    """

    def __init__(
        self,
        net: Net,
        *,
        codec: Codec[Any],
        provider: str,
        examples: str,
        lanes: int,
        limits: Limits,
        batches: Batches | None = None,
        lone: LoneNet | None = None,
        most_per_batch: int | None = None,
        run_s: float = 0.0,
        quick_s: float = QUICK_S,
        turns: Turns | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._net = net
        self._codec = codec
        self._provider = provider
        self._count = lanes
        self._timeout_s = limits.timeout_s
        self._admission = Admission(limits, examples=examples)
        self._batches = batches or Batches(codec, clock=clock)
        self._lone = lone
        self._clock = clock
        self._closed = False
        self._time = ServiceTime(run_s, quick_s=quick_s)
        self._inline = Inline(
            self._serve_inline,
            turns=turns or Turns(clock),
            time_of=self._time,
            most_per_batch=codec.most_per_batch,
            clock=clock,
        )
        self._lanes = Lanes(
            self._serve_in_lane,
            options=net.options,
            count=lanes,
            most_per_batch=most_per_batch or codec.most_per_batch,
            row_s=lambda: self._time.row_s,
            clock=clock,
        )

    @property
    def waiting(self) -> int:
        """Return how many examples wait."""
        return self._inline.waiting.rows + self._lanes.waiting.rows

    @property
    def waiting_bytes(self) -> int:
        """Return how many bytes the examples have that wait."""
        return self._inline.waiting.size_bytes + self._lanes.waiting.size_bytes

    @property
    def running(self) -> int:
        """Return how many examples the lanes decode and run now."""
        return self._lanes.running

    @property
    def row_s(self) -> float:
        """Return how long one example takes to decode and run, by what was measured last."""
        return self._time.row_s

    @property
    def is_inline(self) -> bool:
        """Return whether small requests run in the event loop itself: over before their client could leave."""
        return self._time.is_quick

    @property
    def leaves_loop_idle(self) -> bool:
        """Return whether the event loop is mostly idle while all lanes run requests of one example."""
        return self._count * REQUEST_S < (1 - IDLE_SHARE) * self._time.row_s

    async def infer(self, work: Work) -> Answer:
        """Return the outputs for every example, in order. Cancelling it withdraws them, see `Engine`.

        Raises:
            Closed: if the model was unloaded.
            BadInput, OverBudget, Overloaded, DeadlineTooShort, PredictTimeout, InferenceFailed: as `Engine.infer`.
        """
        assert FIRST <= work.priority <= LAST, work.priority
        assert work.examples
        loop = asyncio.get_running_loop()
        now_s = self._clock()
        ticket = Ticket(
            examples=work.examples,
            pointers=work.pointers,
            future=loop.create_future(),
            loop=loop,
            budget=self._codec.budget(),
            provider=self._provider,
            submitted_s=now_s,
            deadline_s=now_s + self._timeout_s if work.deadline_s is None else work.deadline_s,
            priority=work.priority,
            size_bytes=sum(map(size_of, work.examples)),
            left=len(work.examples),
            is_inline=self._runs_inline(work),
        )
        self._admit(ticket, states_deadline=work.deadline_s is not None)
        try:
            if ticket.is_inline:
                self._inline.add(ticket)
            else:
                ticket.timer = loop.call_later(ticket.deadline_s - now_s, self._expire, ticket)
                self._lanes.add(ticket)
            return await ticket.future
        except (asyncio.CancelledError, RuntimeError):  # the client has left, or there is no thread for a lane
            self._withdraw(ticket)
            raise

    async def close(self) -> None:
        """Take nothing new, finish what waits, and join the lanes."""
        self._closed = True
        self._leave_loop()
        await asyncio.to_thread(self._lanes.close)

    def _runs_inline(self, work: Work) -> bool:
        count = len(work.examples)
        return (
            self._time.is_quick
            and count * self._time.effort_s <= TURN_S
            and all(map(self._decodes_quickly, work.examples))
        )

    def _decodes_quickly(self, example: Example) -> bool:
        return isinstance(example, Ready) or self._codec.decodes_quickly(example)

    def _admit(self, ticket: Ticket, *, states_deadline: bool) -> None:
        if self._closed:
            raise Closed
        one_s = self._time.high_row_s
        in_lanes_s = self._lanes.throughput.row_s(now_s=ticket.submitted_s) or one_s / self._count
        together = 1 if ticket.is_inline else self._lanes.share(self._lanes.waiting.rows + len(ticket.examples))
        backlog = Backlog(
            requests=self._inline.waiting.requests + self._lanes.waiting.requests,
            rows=self.waiting,
            size_bytes=self.waiting_bytes,
            running=self._lanes.running,
            row_s=one_s if ticket.is_inline else in_lanes_s,
            batch_s=one_s * together,
        )
        ticket.others_ahead = backlog.rows + backlog.running > 0
        self._admission.check(ticket, backlog, ahead=self._ahead_of, states_deadline=states_deadline)

    def _ahead_of(self, priority: int) -> int:
        return self._inline.waiting.ahead_of(priority) + self._lanes.ahead_of(priority)

    def _withdraw(self, ticket: Ticket) -> None:
        ticket.stop_timer()
        (self._inline if ticket.is_inline else self._lanes).withdraw(ticket)

    def _expire(self, ticket: Ticket) -> None:
        self._withdraw(ticket)
        ticket.fail(ticket.too_late())

    def _serve_inline(self, rows: list[Row]) -> Outcome:
        outcome = self._batches.serve(rows, self._net)
        self._learn(outcome)
        if not self._time.is_quick:
            self._leave_loop()
        return outcome

    def _serve_in_lane(self, rows: list[Row], options: RunOptions, *, alone: bool) -> Outcome:
        net = self._lone.choose() if alone and self._lone is not None else self._net
        outcome = self._batches.serve(rows, net, options)
        if alone and self._lone is not None and outcome.ran:
            self._lone.measured(net, outcome.run_s)
        if net is self._net:
            self._learn(outcome)
        return outcome

    def _learn(self, outcome: Outcome) -> None:
        self._time.add(
            decoded=outcome.decoded,
            decode_s=sum(outcome.decode_s.values()),
            ran=outcome.rows,
            run_s=outcome.run_s,
            effort_s=outcome.effort_s,
        )

    def _leave_loop(self) -> None:
        """Let lanes run what waits for the event loop."""
        for ticket in self._inline.waiting.everything():
            ticket.is_inline = False
            ticket.timer = ticket.loop.call_later(max(0.0, ticket.deadline_s - self._clock()), self._expire, ticket)
            self._lanes.add(ticket)
