"""Admission: a request is refused at once where its answer would come too late, by what was measured last.

A request that states its deadline is admitted if it can be met, however long that is. The others share one bound on the
wait. A burst may exceed it for a moment, a queue that stands may not (the idea of CoDel, RFC 8289).
With nothing ahead, no request is refused: an estimate that is too high would never be corrected.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from models_store.tasks.codec import OverBudget
from service.inference.engine import DeadlineTooShort, Overloaded
from service.inference.tickets import Ticket

USUAL_REQUESTS = 128
"""So many requests may wait where no bound is set: two for each of 64 clients that ask in turn."""
SHORT_WAIT_S = 0.1
"""Nobody is refused for a shorter wait, unless its deadline is shorter."""
BURST_S = 0.5
"""So long, and by so much, a burst may exceed the bound."""
REST_S = 10.0
"""The next burst may come after so long without an excess."""


@dataclass(frozen=True)
class Limits:
    """Bounds on what waits for one model."""

    rows: int
    size_bytes: int
    timeout_s: float
    """deadline of a request that states none"""
    wait_s: float = 0
    """longest wait of a request that states no deadline; 0: what USUAL_REQUESTS take, SHORT_WAIT_S at least"""


class Backlog(NamedTuple):
    """What a request finds when it comes."""

    requests: int
    rows: int
    size_bytes: int
    """of those that wait"""
    running: int
    """rows that run"""
    row_s: float
    """time until one more example is answered, while all lanes work"""
    batch_s: float
    """time of the batch that the request's first example would be in"""


class Admission:
    """Decisions of one model, and when its bound was exceeded."""

    def __init__(self, limits: Limits, *, examples: str) -> None:
        self._limits = limits
        self._examples = examples
        self._last_exceeded_s = -math.inf
        self._burst_ends_s = -math.inf

    def check(self, ticket: Ticket, backlog: Backlog, *, ahead: Callable[[int], int], states_deadline: bool) -> None:
        """Refuse a request that there is no room for, or that would wait too long.

        `ahead` returns how many rows are served before a request of a priority.

        Raises:
            OverBudget: if the request alone is larger than the queue.
            Overloaded, DeadlineTooShort: with the time after which the wait is over.
        """
        count, word, limits = len(ticket.examples), self._examples, self._limits
        if count > limits.rows:
            raise OverBudget(f"{count} {word} in one request, and {limits.rows} may wait; send fewer")
        left_s = ticket.deadline_s - ticket.submitted_s
        if left_s <= 0:
            raise DeadlineTooShort("the deadline of the request has passed; state a later one", retry_after_s=0)
        if backlog.rows + backlog.running == 0:
            return
        if backlog.rows + count > limits.rows or backlog.size_bytes + ticket.size_bytes > limits.size_bytes:
            raise Overloaded(
                f"{backlog.rows} {word} of {backlog.size_bytes} bytes wait for this model; {limits.rows} of "
                f"{limits.size_bytes} bytes may; try again when they are answered",
                retry_after_s=backlog.rows * backlog.row_s,
            )
        own_s = max(count * backlog.row_s, backlog.batch_s)
        wait_s = (backlog.rows + backlog.running) * backlog.row_s
        if wait_s + own_s <= min(left_s, limits.wait_s or SHORT_WAIT_S):
            return
        first = ahead(ticket.priority)
        wait_s = (first + backlog.running) * backlog.row_s
        if not states_deadline and wait_s > self._longest_s(wait_s, backlog, now_s=ticket.submitted_s):
            raise Overloaded(
                f"{first} {word} wait for this model, which takes about {wait_s:.2g} s; try again then, or state a "
                "deadline until which the request may wait",
                retry_after_s=wait_s,
            )
        if wait_s + own_s > left_s:
            raise DeadlineTooShort(
                f"the answer would take about {wait_s + own_s:.2g} s, of which {wait_s:.2g} s for {first} {word} that "
                f"wait, and the deadline is in {left_s:.2g} s; try again later, or state a later one",
                retry_after_s=wait_s,
            )

    def _longest_s(self, wait_s: float, backlog: Backlog, *, now_s: float) -> float:
        """Return how long a request may wait now."""
        usual_s = self._limits.wait_s or math.inf
        if not self._limits.wait_s and backlog.requests >= USUAL_REQUESTS:
            usual_s = max(USUAL_REQUESTS * backlog.rows * backlog.row_s / backlog.requests, SHORT_WAIT_S)
        if wait_s <= usual_s:
            return usual_s
        if now_s - self._last_exceeded_s > REST_S:
            self._burst_ends_s = now_s + BURST_S
        self._last_exceeded_s = now_s
        return usual_s + BURST_S if now_s < self._burst_ends_s else usual_s
