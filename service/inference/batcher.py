"""Queue of examples before a model, and its lanes: threads that take a share of the queue, decode it and run it.

Nothing waits on a timer: a lone example runs at once, and batches grow only from what queued while all lanes were busy.
The share is queue ÷ free lanes, so that no lane is left idle beside a greedy one. Decoding and running stay in one
thread: no hand-over between threads, which costs more than a small model.

    submit ─► queue of (ticket, index) ─► lane: decode, run ─► ticket settles, once, in its event loop

A fault in an example fails its own request; a fault in a run fails the requests of that batch; the lane lives on.
"""

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from models_store.errors import EspalierError
from models_store.tasks.codec import Codec, Inputs, OverBudget
from service.inference.decode import BadInput, Example, decode
from service.inference.engine import Answer, InferenceFailed, Outputs, Overloaded, Work

MOST_ERRORS = 20

log = structlog.get_logger(__name__)


class Closed(Exception):
    """The batcher takes nothing any more: its model was unloaded. Ask for the model again."""


@dataclass(eq=False)
class Ticket:
    """One request's examples on their way. Lanes fill it under the batcher's lock; it settles once."""

    examples: Sequence[Example]
    pointers: Sequence[str]
    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[Answer]"
    submitted_s: float
    budget: Any
    outputs: list[Outputs | None] = field(default_factory=list)
    faults: dict[int, EspalierError] = field(default_factory=dict)
    left: int = 0
    gone: bool = False
    queue_s: float = 0.0
    decode_s: float = 0.0
    run_s: float = 0.0
    batch_size: int = 0
    provider: str = ""


Queued = tuple[Ticket, int]
"""one example: its request, and its index there"""


class Batcher:
    """Lanes before one session.

    `run` takes what the codec collates and gives float32 (B, K), probabilities or numbers; all lanes may call it at
    the same time. `examples` is the word for them in messages.
    """

    def __init__(
        self,
        run: Callable[[Inputs], Outputs],
        *,
        codec: Codec[Any],
        provider: str,
        examples: str,
        lanes: int,
        most_waiting: int,
    ) -> None:
        self._run = run
        self._provider = provider
        self._codec = codec
        self._examples = examples
        self._most = codec.most_per_batch
        self._most_waiting = most_waiting
        self._queue: deque[Queued] = deque()
        self._changed = threading.Condition()
        self._idle = 0
        self._closed = False
        self._threads = [threading.Thread(target=self._lane, name=f"lane-{n}", daemon=True) for n in range(lanes)]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Return how many examples wait for a lane."""
        return len(self._queue)

    def would_wait(self, count: int) -> bool:
        """Return whether some of so many examples would wait: for those of others, or for a second batch."""
        return bool(self._queue) or count > self._most

    async def infer(self, work: Work) -> Answer:
        """Return the outputs for every example, in order. Cancelling it withdraws what still waits.

        Raises:
            BadInput: naming every example of this request that can't be used (the first 20).
            OverBudget: if they are too much together.
            Overloaded: if the queue has no room for all of them.
            InferenceFailed: if the model failed on the batch.
            Closed: if the model was unloaded.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        ticket = Ticket(work.examples, work.pointers, loop, future, time.perf_counter(), self._codec.budget())
        ticket.outputs = [None] * len(work.examples)
        ticket.left = len(work.examples)
        ticket.provider = self._provider
        self._submit(ticket)
        try:
            return await ticket.future
        except asyncio.CancelledError:
            self._withdraw(ticket)
            raise

    def close(self) -> None:
        """Take nothing new, finish what waits, and join the lanes."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _submit(self, ticket: Ticket) -> None:
        count, word = len(ticket.examples), self._examples
        with self._changed:
            if self._closed:
                raise Closed
            if count > self._most_waiting:
                raise OverBudget(f"{count} {word} in one request, and {self._most_waiting} may wait; send fewer")
            if len(self._queue) + count > self._most_waiting:
                raise Overloaded(
                    f"{len(self._queue)} {word} wait for this model, and {self._most_waiting} may; try again soon",
                    retry_after_s=1,
                )
            self._queue.extend((ticket, index) for index in range(count))
            self._changed.notify(min(count, len(self._threads)))

    def _withdraw(self, ticket: Ticket) -> None:
        with self._changed:
            ticket.gone = True
            self._queue = deque(queued for queued in self._queue if queued[0] is not ticket)

    def _lane(self) -> None:
        while taken := self._take():
            try:
                self._serve(taken)
            except Exception as error:  # a lane outlives whatever one batch does to it
                log.exception("a batch failed", examples=len(taken))
                self._settle({queued: _failure(error) for queued in taken})
            taken.clear()  # a lane that waits keeps nobody's examples in memory

    def _take(self) -> list[Queued]:
        """Wait for work and return this lane's fair share of it; nothing when the batcher is closed and empty."""
        with self._changed:
            self._idle += 1
            while not self._queue and not self._closed:
                self._changed.wait()
            share = min(self._most, -(-len(self._queue) // self._idle))
            self._idle -= 1
            return [self._queue.popleft() for _ in range(share)]

    def _serve(self, taken: list[Queued]) -> None:
        taken_s = time.perf_counter()
        batch = self._codec.batch(len(taken))
        running: list[Queued] = []
        outcomes: dict[Queued, Outputs | EspalierError] = {}
        decode_s: dict[Ticket, float] = {}
        run_s = 0.0
        for queued in taken:
            ticket, index = queued
            started_s = time.perf_counter()
            if ticket.gone:
                continue
            pointer = ticket.pointers[index]
            try:
                batch.add(decode(ticket.examples[index], self._codec, pointer=pointer, budget=ticket.budget))
                running.append(queued)
            except (BadInput, OverBudget) as error:
                outcomes[queued] = error
            except Exception as error:  # whatever one example does stays with its request
                log.exception("an example failed", pointer=pointer)
                outcomes[queued] = _failure(error)
            decode_s[ticket] = decode_s.get(ticket, 0.0) + time.perf_counter() - started_s
        if running:
            started_s = time.perf_counter()
            outputs_BK = self._run(batch.inputs())
            run_s = time.perf_counter() - started_s
            outcomes |= zip(running, outputs_BK, strict=True)
        with self._changed:
            for ticket, spent_s in decode_s.items():
                ticket.queue_s = max(ticket.queue_s, taken_s - ticket.submitted_s)
                ticket.decode_s = max(ticket.decode_s, spent_s)
                ticket.run_s = max(ticket.run_s, run_s)
                ticket.batch_size = max(ticket.batch_size, len(running))
        self._settle(outcomes)

    def _settle(self, outcomes: Mapping[Queued, Outputs | EspalierError]) -> None:
        finished = []
        with self._changed:
            for (ticket, index), outcome in outcomes.items():
                if isinstance(outcome, EspalierError):
                    ticket.faults[index] = outcome
                else:
                    ticket.outputs[index] = outcome
                ticket.left -= 1
                if ticket.left == 0:
                    finished.append(ticket)
        for ticket in finished:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                ticket.loop.call_soon_threadsafe(_deliver, ticket)


def _deliver(ticket: Ticket) -> None:
    if ticket.future.done():  # the request was cancelled meanwhile
        return
    if ticket.faults:
        ticket.future.set_exception(_error_of([ticket.faults[index] for index in sorted(ticket.faults)]))
        return
    outputs = [row_K for row_K in ticket.outputs if row_K is not None]
    ticket.future.set_result(
        Answer(outputs, ticket.queue_s, ticket.decode_s, ticket.run_s, ticket.batch_size, ticket.provider)
    )


def _failure(cause: Exception) -> InferenceFailed:
    failure = InferenceFailed("the model failed on this input; the service's log has the reason")
    failure.__cause__ = cause
    return failure


def _error_of(faults: list[EspalierError]) -> EspalierError:
    """Return one error for a request: what concerns all of it as it is, or every example's fault together."""
    of_all = next((fault for fault in faults if not isinstance(fault, BadInput)), None)
    if of_all is not None or len(faults) == 1:
        return of_all or faults[0]
    errors = [error for fault in faults for error in fault.errors][:MOST_ERRORS]
    return BadInput(f"{len(faults)} of the inputs can't be used; the first: {faults[0].detail}", errors=errors)
