"""Tickets: requests on their way through the engine. Each settles once, in the event loop that waits for it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from models_store.errors import EspalierError
from models_store.tasks import rooms
from service.inference.decode import BadInput, Example, Ready
from service.inference.engine import Answer, DeadlineTooShort, InferenceFailed, Notes, Outputs, PredictTimeout

MOST_ERRORS = 20
BYTES, LISTS, NUMBERS = (bytes, str), (list, tuple), (int, float)
NOTHING: Notes = {}
NUMBER_BYTES = 8
"""of a number of a JSON value, once it is parsed"""


@dataclass(eq=False, slots=True)
class Ticket:
    """One request. `taken` of its rows have left the queue, `left` have no outcome yet."""

    examples: Sequence[Example]
    pointers: Sequence[str]
    future: "asyncio.Future[Answer]"
    loop: asyncio.AbstractEventLoop
    budget: Any
    provider: str
    submitted_s: float
    deadline_s: float
    priority: int
    size_bytes: int
    """while it waits"""
    left: int
    is_inline: bool
    """whether the event loop runs it itself"""
    taken: int = 0
    others_ahead: bool = False
    """whether any rows waited or ran when it came"""
    gone: bool = False
    """nobody waits for it any more"""
    outputs: dict[int, Outputs] = field(default_factory=dict)
    faults: dict[int, EspalierError] = field(default_factory=dict)
    notes: dict[int, Notes] = field(default_factory=dict)
    queue_s: float = 0.0
    decode_s: float = 0.0
    run_s: float = 0.0
    batch_size: int = 0
    timer: asyncio.TimerHandle | None = None

    def deliver(self) -> None:
        """Give the outcome to whoever waits. Only the ticket's event loop calls it."""
        self.stop_timer()
        if self.future.done():  # it was canceled, or its time was over
            return
        if self.faults:
            self.future.set_exception(_error_of([self.faults[index] for index in sorted(self.faults)]))
            return
        self.future.set_result(
            Answer(
                [self.outputs[index] for index in range(len(self.outputs))],
                self.queue_s,
                self.decode_s,
                self.run_s,
                self.batch_size,
                self.provider,
                [self.notes.get(index, NOTHING) for index in range(len(self.outputs))] if self.notes else (),
            )
        )

    def stop_timer(self) -> None:
        """Let the deadline pass, and let go of the examples before that."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def fail(self, error: EspalierError) -> None:
        """Fail the whole request at once, and give up its rows. Only the ticket's event loop calls it."""
        self.faults = {0: error}
        self.deliver()

    def too_late(self) -> PredictTimeout | DeadlineTooShort:
        """Return the error for a request whose deadline has passed, or will before it is answered.

        If others were ahead of it, it is refused as those are that come when too much waits.
        """
        within = f"the {rooms.examples()} were not answered within {self.deadline_s - self.submitted_s:.3g} s"
        if self.others_ahead:
            return DeadlineTooShort(f"{within}, because others were served first; try again later")
        return PredictTimeout(f"{within}; send fewer or smaller ones, or try again later")


Row = tuple[Ticket, int]
"""one example: its request, and its index there"""


def failure(cause: Exception) -> InferenceFailed:
    """Return the error for requests that hit a fault of the model or of its codec."""
    error = InferenceFailed("the model failed on this input; the service's log has the reason")
    error.__cause__ = cause
    return error


def size_of(example: Example) -> int:
    """Return the bytes that an example takes while it waits, roughly for a JSON value."""
    if isinstance(example, BYTES):
        return len(example)
    if isinstance(example, LISTS):
        nested = bool(example) and not isinstance(example[0], NUMBERS)
        return sum(map(size_of, example)) if nested else NUMBER_BYTES * len(example)
    if isinstance(example, dict):
        return sum(map(size_of, example)) + sum(map(size_of, example.values()))
    if isinstance(example, Ready):
        return size_of(example.decoded)
    return example.nbytes if isinstance(example, np.ndarray) else NUMBER_BYTES


def _error_of(faults: list[EspalierError]) -> EspalierError:
    """Return one error for a request: what concerns all of it as it is, or every example's fault together."""
    of_all = next((fault for fault in faults if not isinstance(fault, BadInput)), None)
    if of_all is not None or len(faults) == 1:
        return of_all or faults[0]
    errors = [error for fault in faults for error in fault.errors][:MOST_ERRORS]
    return BadInput(f"{len(faults)} of the inputs can't be used; the first: {faults[0].detail}", errors=errors)
