"""Lanes: threads that take a share of a queue, decode it and run it. An idle lane sleeps until rows come for it.

Nothing waits on a timer: a lone row runs at once, and batches grow only from what queued while all lanes were busy. The
share is queue ÷ free lanes, so that no lane is left idle beside a greedy one. Decoding and running stay in one thread:
no hand-over between threads, which costs more than a small model.

    add ─► queue ─► lane: decode, run ─► its tickets settle, once, in their event loop, woken once a batch

A lane outlives whatever a batch does to it.
"""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

import structlog

from service.inference.batches import Outcome
from service.inference.estimates import Throughput
from service.inference.nets import RunOptions
from service.inference.tickets import Row, Ticket, failure
from service.inference.waiting import Waiting

BATCH_S = 0.05
"""A batch takes about so long at most: the answer of its first row waits for its last."""

log = structlog.get_logger(__name__)


class Serve(Protocol):
    """What a lane does with its rows."""

    def __call__(self, rows: list[Row], options: RunOptions, *, alone: bool) -> Outcome:
        """Decode and run rows; `alone`: nothing else of this model waits or runs."""
        ...


class Lane:
    """One thread, and what it runs now."""

    def __init__(self, options: RunOptions) -> None:
        self.options = options
        self.rows: list[Row] = []
        self.wake = threading.Lock()
        self.wake.acquire()  # a lane that acquires it sleeps until somebody releases it
        self.thread: threading.Thread | None = None

    def stop_if_nobody_waits(self) -> None:
        """Stop the run if the request of every row is gone."""
        if self.rows and all(ticket.gone for ticket, _ in self.rows):
            self.options.terminate = True


class Lanes:
    """Up to `count` lanes before one model; each is started when it is first needed."""

    def __init__(
        self,
        serve: Serve,
        *,
        options: Callable[[], RunOptions],
        count: int,
        most_per_batch: int,
        row_s: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.waiting = Waiting()
        self.throughput = Throughput()
        self._serve = serve
        self._options = options
        self._count = count
        self._most = most_per_batch
        self._row_s = row_s
        self._clock = clock
        self._lock = threading.Lock()
        self._lanes: list[Lane] = []
        self._idle: deque[Lane] = deque()
        self._busy: set[Lane] = set()
        self._closed = False

    @property
    def running(self) -> int:
        """Return how many rows the lanes have taken and not answered."""
        return sum(len(lane.rows) for lane in self._lanes)

    def ahead_of(self, priority: int) -> int:
        """Return how many rows are taken before those of a ticket that comes now."""
        with self._lock:
            return self.waiting.ahead_of(priority)

    def share(self, waiting: int, *, lanes: int | None = None) -> int:
        """Return how many of so many waiting rows one of so many free lanes takes; of all lanes if none are given."""
        most = min(self._most, max(1, int(BATCH_S / (self._row_s() or BATCH_S))))
        return min(most, -(-waiting // (lanes or self._count)))

    def add(self, ticket: Ticket) -> None:
        """Let a ticket wait, and wake as many idle lanes as it has rows."""
        with self._lock:
            self.waiting.add(ticket)
            self._wake(len(ticket.examples) - ticket.taken)

    def withdraw(self, ticket: Ticket) -> None:
        """Let the rows of a ticket leave; a run that is for it alone is stopped."""
        with self._lock:
            self.waiting.withdraw(ticket)
            for lane in self._busy:
                lane.stop_if_nobody_waits()

    def close(self) -> None:
        """Finish what waits, and join the lanes."""
        with self._lock:
            self._closed = True
            self._wake(len(self._lanes))
        for lane in self._lanes:
            assert lane.thread is not None
            lane.thread.join()

    def _wake(self, most: int) -> None:
        for _ in range(most):
            if self._idle:
                self._idle.pop().wake.release()  # the one that slept last: its caches are warm
            elif len(self._lanes) < self._count and not self._closed:
                if not self._start():
                    return
            else:
                return

    def _start(self) -> bool:
        """Start one more lane; return whether the host has a thread for it. Without any lane, that is an error."""
        lane = Lane(self._options())
        lane.thread = threading.Thread(target=self._run, args=(lane,), name="lane", daemon=True)
        try:
            lane.thread.start()  # before it is one of the lanes: who counts on it would wait for ever
        except RuntimeError:
            if not self._lanes:
                raise
            log.warning("there is no thread for one more lane", lanes=len(self._lanes))
            return False
        self._lanes.append(lane)
        return True

    def _run(self, lane: Lane) -> None:
        while True:
            with self._lock:
                alone, expired = self._take(lane)
                ends = not lane.rows and self._closed
                sleeps = not lane.rows and not ends
                if sleeps:
                    self._idle.append(lane)
            _settle([], expired)
            del expired  # a lane that sleeps keeps nobody's examples in memory
            if ends:
                return
            if sleeps:
                lane.wake.acquire()
                continue
            taken_s = self._clock()
            outcome = self._outcome(lane, alone=alone)
            with self._lock:
                self._busy.discard(lane)
                lane.rows = []
                lane.options.terminate = False
                finished = outcome.record(taken_s)
                answered = outcome.rows + len(outcome.faults)
                self.throughput.answered(answered, now_s=self._clock(), others_wait=bool(self.waiting))
            _settle(finished, [])
            del outcome, finished

    def _take(self, lane: Lane) -> tuple[bool, list[Ticket]]:
        """Give a lane its fair share of the queue; return whether it is alone, and the tickets whose time is over."""
        share = self.share(self.waiting.rows, lanes=self._count - len(self._busy))
        batch_s = share * self._row_s()
        lane.rows, expired = self.waiting.take(share, now_s=self._clock(), batch_s=batch_s)
        alone = len(lane.rows) == 1 and not self.waiting and not self._busy
        if lane.rows:
            self._busy.add(lane)
        if self.waiting:
            self._wake(1)
        return alone, expired

    def _outcome(self, lane: Lane, *, alone: bool) -> Outcome:
        try:
            return self._serve(lane.rows, lane.options, alone=alone)
        except Exception as error:  # a lane outlives whatever one batch does to it
            if all(ticket.gone for ticket, _ in lane.rows):  # it was stopped, or might as well have been
                return Outcome()
            log.exception("a batch failed", examples=len(lane.rows))
            return Outcome(faults=[(row, failure(error)) for row in lane.rows])


def _settle(finished: list[Ticket], expired: list[Ticket]) -> None:
    """Wake each event loop once, for all its tickets."""
    for loop in {ticket.loop for ticket in (*finished, *expired)}:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(
                _deliver,
                [ticket for ticket in finished if ticket.loop is loop],
                [ticket for ticket in expired if ticket.loop is loop],
            )


def _deliver(finished: list[Ticket], expired: list[Ticket]) -> None:
    for ticket in finished:
        ticket.deliver()
    for ticket in expired:
        ticket.fail(ticket.too_late())
