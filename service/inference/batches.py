"""Batches: rows of any requests are decoded, grouped by length, padded to warmed shapes where that is wanted, and run.

A fault in an example fails its own request; a fault in a run fails the requests of that batch.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import structlog

from models_store.errors import EspalierError, TooLarge
from models_store.tasks.codec import Batch, Codec, Inputs
from service.inference.decode import BadInput, decode
from service.inference.engine import Notes, Outputs
from service.inference.nets import Net, RunOptions
from service.inference.tickets import Row, Ticket, failure

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Ran:
    """Rows that ran together."""

    rows: list[Row]
    outputs: Outputs
    """float32 (B, K)"""
    run_s: float


@dataclass(slots=True)
class Outcome:
    """Results of the rows that somebody still waits for, and how long they took."""

    ran: list[Ran] = field(default_factory=list)
    faults: list[tuple[Row, EspalierError]] = field(default_factory=list)
    notes: list[tuple[Row, Notes]] = field(default_factory=list)
    """of the examples of which there is something to note"""
    decode_s: dict[Ticket, float] = field(default_factory=dict)
    decoded: int = 0
    effort_s: float = 0.0
    """of the thread, decoding and running"""

    @property
    def run_s(self) -> float:
        """Return how long all of it ran."""
        return sum(ran.run_s for ran in self.ran)

    @property
    def rows(self) -> int:
        """Return how many rows ran."""
        return sum(len(ran.rows) for ran in self.ran)

    def record(self, taken_s: float) -> list[Ticket]:
        """Write everything into the tickets, and return those that have all their results."""
        finished = []
        for ticket, spent_s in self.decode_s.items():
            ticket.queue_s = max(ticket.queue_s, taken_s - ticket.submitted_s)
            ticket.decode_s = max(ticket.decode_s, spent_s)
        for (ticket, index), notes in self.notes:
            ticket.notes[index] = notes
        for ran in self.ran:
            size, run_s = len(ran.rows), ran.run_s
            for (ticket, index), output_K in zip(ran.rows, ran.outputs, strict=True):
                ticket.outputs[index] = output_K
                ticket.run_s = max(ticket.run_s, run_s)
                ticket.batch_size = max(ticket.batch_size, size)
                ticket.left -= 1
                if ticket.left == 0:
                    finished.append(ticket)
        for (ticket, index), fault in self.faults:
            ticket.faults[index] = fault
            ticket.left -= 1
            if ticket.left == 0:
                finished.append(ticket)
        return finished


Groups = dict[int | None, tuple[list[Row], Batch[Any]]]
"""padded length → the rows that have it, and their batch"""


class Batches:
    """How rows of one model run together. Batches are padded to `sizes`, ascending; empty: they never are.

    `effort` is the time that the calling thread has worked; where a device works instead, it is the wall's.
    """

    def __init__(
        self,
        codec: Codec[Any],
        *,
        sizes: Sequence[int] = (),
        clock: Callable[[], float] = time.monotonic,
        effort: Callable[[], float] = time.thread_time,
    ) -> None:
        self._codec = codec
        self._tensors = codec.describe()
        self._lengths = codec.lengths
        self._sizes = tuple(size for size in sizes if size <= codec.most_per_batch)
        self._clock = clock
        self._effort = effort

    def shapes(self, sizes: Sequence[int] = ()) -> list[Inputs]:
        """Return inputs of zeros in every padded shape, or of the given sizes; of one example if there are none."""
        return [
            {tensor.name: tensor.zeros(size, free=length) for tensor in self._tensors}
            for length in self._lengths or (1,)
            for size in sizes or self._sizes or (1,)
        ]

    def serve(self, rows: Sequence[Row], net: Net, options: RunOptions | None = None) -> Outcome:
        """Decode and run rows. Those whose request is gone are left out.

        Raises:
            Exception: whatever the net raises.
        """
        outcome = Outcome()
        began_s, groups = self._effort(), self._decoded(rows, outcome)
        for length, (members, batch) in groups.items():
            if all(ticket.gone for ticket, _ in members):
                continue
            inputs = self._padded(batch.inputs(), count=len(members), length=length)
            started_s = self._clock()
            outputs_BK = net.run(inputs, options)
            spent_s = self._clock() - started_s
            if len(outputs_BK) < len(members):
                raise ValueError(f"{len(members)} examples ran, and {len(outputs_BK)} outputs came")
            outcome.ran.append(Ran(members, outputs_BK[: len(members)], spent_s))
        outcome.effort_s = self._effort() - began_s
        return outcome

    def _decoded(self, rows: Sequence[Row], outcome: Outcome) -> Groups:
        groups: Groups = {}
        started_s = self._clock()
        for row in rows:
            ticket, index = row
            if ticket.gone:
                continue
            try:
                example = decode(
                    ticket.examples[index], self._codec, pointer=ticket.pointers[index], budget=ticket.budget
                )
                if notes := self._codec.notes(example):
                    outcome.notes.append((row, notes))
                length = self._bucket(example) if self._lengths else None
                group = groups.get(length)
                if group is None:
                    group = groups[length] = ([], self._codec.batch(len(rows)))
                group[1].add(example)
                group[0].append(row)
            except (BadInput, TooLarge) as error:
                outcome.faults.append((row, error))
            except Exception as error:  # whatever one example does stays with its request
                log.exception("an example failed", pointer=ticket.pointers[index])
                outcome.faults.append((row, failure(error)))
            outcome.decoded += 1
            now_s = self._clock()
            outcome.decode_s[ticket] = outcome.decode_s.get(ticket, 0.0) + now_s - started_s
            started_s = now_s
        return groups

    def _bucket(self, example: Any) -> int:  # noqa: ANN401  the codec's own
        length = self._codec.length(example)
        return next((bucket for bucket in self._lengths if bucket >= length), length)

    def _padded(self, inputs: Inputs, *, count: int, length: int | None) -> Inputs:
        size = next((size for size in self._sizes if size >= count), count)
        if size == count and length is None:
            return inputs
        padded = {}
        for tensor in self._tensors:
            given = inputs[tensor.name]
            free = 1 if length is None else length
            array = (
                tensor.zeros(size, free=free) if length is not None else np.zeros((size, *given.shape[1:]), given.dtype)
            )
            array[tuple(slice(extent) for extent in given.shape)] = given
            padded[tensor.name] = array
        return padded
