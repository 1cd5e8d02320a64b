"""N lanes, each one thread: a lane that becomes free takes its fair share of the queue, decodes and runs it.

Nothing waits on a timer: a lone image runs at once, and batches grow only from what queued while all lanes were busy.
The share is queue ÷ free lanes, so that no lane is left idle beside a greedy one. Decoding and running stay in one
thread: no hand-over between threads, which costs more than a small model.

    submit ─► queue of (ticket, index) ─► lane: decode ─► lane: run ─► ticket settles, once, in its event loop

A fault in an image fails its own request; a fault in a run fails the requests of that batch; the lane lives on.
"""

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import structlog

from models_store.errors import EspalierError, Unavailable
from models_store.tasks.image.pixel_budget import PixelBudget, TooManyPixels
from service.inference.decode import BadInput, Encoded, Picture, decode

# B batch, H height, W width, C channel, K class
Images = npt.NDArray[np.uint8]
Probabilities = npt.NDArray[np.float32]

MOST_PIXELS = 32 * 224 * 224
"""Pixels in one batch: 32 images at 224. Larger batches gain nothing on a CPU and hold up whoever comes next."""
MOST_ERRORS = 20

log = structlog.get_logger(__name__)


class Overloaded(Unavailable):
    """More images wait for this model than may wait."""

    code = "overloaded"
    title = "Too many images are waiting"


class InferenceFailed(EspalierError):
    """The model failed while it ran."""

    code = "inference_failed"
    title = "The model failed"


class Closed(Exception):
    """The batcher takes nothing any more: its model was unloaded. Ask for the model again."""


@dataclass(frozen=True)
class Answer:
    """What came of a request; times are of its own images, the longest of each where several lanes shared them."""

    probabilities_BK: Probabilities  # noqa: N815  the shape is part of the name
    queue_s: float
    decode_s: float
    run_s: float


@dataclass(eq=False)
class Ticket:
    """One request's images on their way. Lanes fill it under the batcher's lock; it settles once."""

    images: Sequence[Encoded]
    pointers: Sequence[str]
    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[Answer]"
    submitted_s: float
    budget: PixelBudget
    rows: list[Probabilities | None] = field(default_factory=list)
    faults: dict[int, EspalierError] = field(default_factory=dict)
    left: int = 0
    gone: bool = False
    queue_s: float = 0.0
    decode_s: float = 0.0
    run_s: float = 0.0


Place = tuple[Ticket, int]


class Batcher:
    """Lanes before one session.

    `run` takes uint8 (B, H, W, C) and gives float32 (B, K), probabilities or numbers; all lanes may call it at
    the same time.
    """

    def __init__(
        self, run: Callable[[Images], Probabilities], *, picture: Picture, lanes: int, most_waiting: int
    ) -> None:
        self._run = run
        self._picture = picture
        self._most = max(1, MOST_PIXELS // (picture.size * picture.size))
        self._most_waiting = most_waiting
        self._queue: deque[Place] = deque()
        self._changed = threading.Condition()
        self._idle = 0
        self._closed = False
        self._threads = [threading.Thread(target=self._lane, name=f"lane-{n}", daemon=True) for n in range(lanes)]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Return how many images wait for a lane."""
        return len(self._queue)

    def would_wait(self, count: int) -> bool:
        """Tell whether some of so many images would wait: for those of others, or as more than one batch holds."""
        return bool(self._queue) or count > self._most

    async def predict(self, images: Sequence[Encoded], *, pointers: Sequence[str]) -> Answer:
        """Return the probabilities of every image, in order. Cancelling it withdraws what still waits.

        Raises:
            BadInput: naming every image of this request that can't be used (the first 20).
            TooManyPixels: if they have too many pixels together.
            Overloaded: if the queue has no room for all of them.
            InferenceFailed: if the model failed on the batch.
            Closed: if the model was unloaded.
        """
        loop = asyncio.get_running_loop()
        budget = PixelBudget(self._picture.max_request_pixels)
        ticket = Ticket(images, pointers, loop, loop.create_future(), time.perf_counter(), budget)
        ticket.rows = [None] * len(images)
        ticket.left = len(images)
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
        count = len(ticket.images)
        with self._changed:
            if self._closed:
                raise Closed
            if len(self._queue) + count > self._most_waiting:
                raise Overloaded(
                    f"{len(self._queue)} images wait for this model and {self._most_waiting} may; try again in a moment"
                    if self._queue
                    else f"{count} images in one request, and {self._most_waiting} may wait; send fewer at once"
                )
            self._queue.extend((ticket, index) for index in range(count))
            self._changed.notify(min(count, len(self._threads)))

    def _withdraw(self, ticket: Ticket) -> None:
        with self._changed:
            ticket.gone = True
            self._queue = deque(place for place in self._queue if place[0] is not ticket)

    def _lane(self) -> None:
        while places := self._take():
            try:
                self._serve(places)
            except Exception as error:  # a lane outlives whatever one batch does to it
                log.exception("a batch failed", images=len(places))
                self._settle({place: _failure(error) for place in places})
            places.clear()  # a lane that waits keeps nobody's images in memory

    def _take(self) -> list[Place]:
        """Wait for work and return this lane's fair share of it; nothing when the batcher is closed and empty."""
        with self._changed:
            self._idle += 1
            while not self._queue and not self._closed:
                self._changed.wait()
            share = min(self._most, -(-len(self._queue) // self._idle))
            self._idle -= 1
            return [self._queue.popleft() for _ in range(share)]

    def _serve(self, places: list[Place]) -> None:
        taken_s = time.perf_counter()
        images_BHWC = np.empty((len(places), *self._picture.shape), np.uint8)
        decoded: list[Place] = []
        outcomes: dict[Place, Probabilities | EspalierError] = {}
        decode_s: dict[Ticket, float] = {}
        run_s = 0.0
        for place in places:
            ticket, index = place
            started_s = time.perf_counter()
            if ticket.gone:
                continue
            try:
                images_BHWC[len(decoded)] = decode(
                    ticket.images[index], self._picture, pointer=ticket.pointers[index], budget=ticket.budget
                )
                decoded.append(place)
            except (BadInput, TooManyPixels) as error:
                outcomes[place] = error
            except Exception as error:  # whatever one image does stays with its request
                log.exception("an image failed", pointer=ticket.pointers[index])
                outcomes[place] = _failure(error)
            decode_s[ticket] = decode_s.get(ticket, 0.0) + time.perf_counter() - started_s
        if decoded:
            started_s = time.perf_counter()
            probabilities_BK = self._run(images_BHWC[: len(decoded)])
            run_s = time.perf_counter() - started_s
            outcomes |= zip(decoded, probabilities_BK, strict=True)
        with self._changed:
            for ticket, spent_s in decode_s.items():
                ticket.queue_s = max(ticket.queue_s, taken_s - ticket.submitted_s)
                ticket.decode_s = max(ticket.decode_s, spent_s)
                ticket.run_s = max(ticket.run_s, run_s)
        self._settle(outcomes)

    def _settle(self, outcomes: Mapping[Place, Probabilities | EspalierError]) -> None:
        finished = []
        with self._changed:
            for (ticket, index), outcome in outcomes.items():
                if isinstance(outcome, EspalierError):
                    ticket.faults[index] = outcome
                else:
                    ticket.rows[index] = outcome
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
        ticket.future.set_exception(_joined([ticket.faults[index] for index in sorted(ticket.faults)]))
        return
    rows = np.stack([row for row in ticket.rows if row is not None])
    ticket.future.set_result(Answer(rows, ticket.queue_s, ticket.decode_s, ticket.run_s))


def _failure(cause: Exception) -> InferenceFailed:
    failure = InferenceFailed("the model failed on this input; the service's log has the reason")
    failure.__cause__ = cause
    return failure


def _joined(faults: list[EspalierError]) -> EspalierError:
    """Return one error for a request: what concerns all of it as it is, or every image's fault together."""
    ours = next((fault for fault in faults if not isinstance(fault, BadInput)), None)
    if ours is not None or len(faults) == 1:
        return ours or faults[0]
    errors = [error for fault in faults for error in fault.errors][:MOST_ERRORS]
    return BadInput(f"{len(faults)} of the inputs can't be used; the first: {faults[0].detail}", errors=errors)
