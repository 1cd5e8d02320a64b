"""Threads by the kind of work, so that one kind that waits never keeps another from beginning.

Plain path operations (they read) share the server's own 40 threads. Whatever writes, takes an archive in, reads
examples of datasets, or reads a page for an event stream, has a few of its own: while another program holds the
database's write lock, writers wait among themselves, and are refused when it takes too long.
"""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import anyio
import anyio.to_thread

from models_store.errors import EspalierError, Unavailable
from service.problems import DatabaseUnavailable

P = ParamSpec("P")
R = TypeVar("R")

WRITERS = 16
INTAKES = 8
IMAGE_READERS = 4
THUMBNAILS = 2  # each may decode a large image
STREAM_READERS = 2  # they share the interpreter's lock with the event loop: more would be slower for everybody
PARSERS = 2
LONGEST_INTAKE_QUEUE_S = 600.0


class ImagesBusy(Unavailable):
    """Too many examples of datasets are being read."""

    code = "images_busy"
    title = "Too many examples are asked for at once"

    def __init__(self, detail: str) -> None:
        super().__init__(detail.replace("the database", "examples of datasets"))


class ThreadGroup:
    """A few threads; a call that gets none of them in time is refused."""

    def __init__(
        self, size: int, *, wait_s: float, refusal: Callable[[str], EspalierError] = DatabaseUnavailable
    ) -> None:
        self._free = asyncio.Semaphore(size)
        self._limiter = anyio.CapacityLimiter(size)
        self._wait_s = wait_s
        self._refusal = refusal

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Return what the function returns in one of the threads.

        Raises:
            EspalierError: the group's refusal, if all of them stayed busy.
        """
        try:
            async with asyncio.timeout(self._wait_s):
                await self._free.acquire()
        except TimeoutError:
            raise self._refusal(
                f"too many calls wait for the database: this one found no place within {self._wait_s:g} s; "
                "nothing was changed, try again"
            ) from None
        try:
            return await anyio.to_thread.run_sync(functools.partial(function, *args, **kwargs), limiter=self._limiter)
        finally:
            self._free.release()


@dataclass(frozen=True)
class Threads:
    """One app's groups of threads."""

    writers: ThreadGroup
    intake: ThreadGroup
    stream_readers: ThreadGroup
    images: ThreadGroup
    thumbnails: ThreadGroup
    parsers: anyio.CapacityLimiter
    """of large JSON bodies"""


def threads(*, wait_s: float) -> Threads:
    """Return the groups; a call waits up to `wait_s` for a place, one with an archive in its hands much longer."""
    return Threads(
        writers=ThreadGroup(WRITERS, wait_s=wait_s),
        intake=ThreadGroup(INTAKES, wait_s=LONGEST_INTAKE_QUEUE_S),
        stream_readers=ThreadGroup(STREAM_READERS, wait_s=wait_s),
        images=ThreadGroup(IMAGE_READERS, wait_s=wait_s, refusal=ImagesBusy),
        thumbnails=ThreadGroup(THUMBNAILS, wait_s=wait_s, refusal=ImagesBusy),
        parsers=anyio.CapacityLimiter(PARSERS),
    )


def writes(operation: Callable[..., R]) -> Callable[..., Awaitable[R]]:
    """Run a path operation that takes `here` and writes in the writers' threads."""

    @functools.wraps(operation)
    async def in_a_writers_thread(**given: Any) -> R:  # noqa: ANN401  what FastAPI found for its parameters
        return await given["here"].threads.writers.run(operation, **given)  # type: ignore[no-any-return]

    return in_a_writers_thread
