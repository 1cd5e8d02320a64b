"""Streams of job events: one watcher per process serves all open streams.

Twice a second the watcher asks the database, in one query, which of the followed jobs have new events. It reads these
once, and wakes the streams of each job a few at a time, so that other requests get their turn in between. A stream
itself reads only the events from before it began.

TooManyStreams   429  the owner holds as many streams as one may
NoRoomForStream  503  the process has no file descriptors to spare for one more
"""

import asyncio
import resource
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import anyio
import orjson
import structlog
from sqlalchemy.exc import SQLAlchemyError
from sse_starlette import ServerSentEvent

from models_store.errors import EspalierError, Unavailable
from models_store.jobs import events
from models_store.jobs.errors import JobNotFound
from models_store.jobs.job import TERMINAL
from models_store.storage.database import UNAVAILABLE, Database
from models_store.wording import counted
from service.problems import DatabaseUnavailable
from service.threads import ThreadGroup

POLL_S = 0.5
WATCH_WAIT_S = 60.0
PAGE = 200
KEPT = 64
"""Number of newest events of each followed job that are kept for its streams; a stream that is further behind reads the
database itself."""
AT_ONCE = 8
"""Number of streams that are woken, or of events sent to one stream, before other requests get their turn."""
BREATH_S = 0.001
"""Pause after each of these: on a busy host, a process that uses up its time slice waits long for the next one."""
OTHER_FILES = 256
"""File descriptors reserved for everything except streams."""

log = structlog.get_logger(__name__)


class TooManyStreams(EspalierError):
    """The owner holds as many event streams as one may."""

    status = 429
    code = "too_many_streams"
    title = "Too many event streams"
    headers: ClassVar[dict[str, str]] = {"Retry-After": "5"}


class NoRoomForStream(Unavailable):
    """The process can hold no more event streams."""

    code = "overloaded"
    title = "No room for one more event stream"


@dataclass(frozen=True)
class Frame:
    """An event in the format in which it is sent."""

    seq: int
    text: bytes
    event: events.Event


Rendered = Callable[[Frame], bytes]
"""the text that a stream sends for a frame; nothing if it is empty"""


def whole(frame: Frame) -> bytes:
    """Return the event unchanged."""
    return frame.text


def sent(seq: int, kind: str, data: Mapping[str, Any]) -> bytes:
    """Return a server-sent event whose data repeat its kind, by which clients' types distinguish events."""
    text = orjson.dumps({"event": kind, **data}, option=orjson.OPT_UTC_Z).decode()
    return ServerSentEvent(id=str(seq), event=kind, data=text, sep="\n").encode()


@dataclass(frozen=True)
class Page:
    """Frames after some event, and the job's progress when they were read."""

    newest: int
    is_over: bool
    frames: list[Frame]

    @classmethod
    def of(cls, found: events.Page) -> "Page":
        """Return the frames of events that were read."""
        return cls(found.newest, found.state in TERMINAL, [_frame(event) for event in found.events])


@dataclass
class _Feed:
    """State of one followed job in this process: `known` is the newest event that it has read."""

    known: int
    is_over: bool
    followers: int = 0
    recent: deque[Frame] = field(default_factory=lambda: deque(maxlen=KEPT))
    waiting: set[asyncio.Future[None]] = field(default_factory=set)

    def since(self, seen: int) -> list[Frame]:
        """Return the frames after an event, if all of them are kept."""
        if not self.recent or self.recent[0].seq > seen + 1:
            return []
        return [frame for frame in self.recent if frame.seq > seen]

    def take(self, page: Page | None) -> None:
        """Keep what was read; None: the job's row is gone."""
        if page is None:
            self.is_over = True
            return
        self.recent.extend(page.frames)
        self.known = page.frames[-1].seq if page.frames else page.newest
        self.is_over = page.is_over and self.known >= page.newest

    async def news(self) -> None:
        """Wait until something has happened."""
        future = asyncio.get_running_loop().create_future()
        self.waiting.add(future)
        try:
            await future
        finally:
            self.waiting.discard(future)


class Streams:
    """All event streams of one app. Use within its event loop."""

    def __init__(self, database: Database, readers: ThreadGroup, *, most_per_owner: int) -> None:
        self._database = database
        self._readers = readers
        self._watchers_thread = ThreadGroup(1, wait_s=WATCH_WAIT_S)
        self._most_per_owner = most_per_owner
        self._open: Counter[str] = Counter()
        self._feeds: dict[str, _Feed] = {}
        self._watcher: asyncio.Task[None] | None = None
        self.leaving = anyio.Event()
        """Set when the server stops: every stream then ends normally, and its client connects again."""

    @contextmanager
    def place(self, owner: str) -> Iterator[None]:
        """Hold one of the owner's places for a stream.

        Raises:
            TooManyStreams: if all of them are taken.
            NoRoomForStream: if the process can hold no more.
        """
        if self._open[owner] >= self._most_per_owner:
            raise TooManyStreams(
                f"you already follow {counted(self._open[owner], 'stream')} of events, the limit for one owner "
                "(EVENT_STREAMS_PER_OWNER); close one, then try again"
            )
        if self._open.total() >= resource.getrlimit(resource.RLIMIT_NOFILE)[0] - OTHER_FILES:
            raise NoRoomForStream(
                f"{self._open.total()} streams of events are open; try again when some of them have ended"
            )
        self._open[owner] += 1
        try:
            yield
        finally:
            self._open[owner] -= 1
            if not self._open[owner]:
                del self._open[owner]

    async def read(self, job_id: str, *, owner: str, seen: int) -> Page:
        """Return the first frames after event `seen`.

        Raises:
            JobNotFound: as jobs.find does.
        """
        return await self._readers.run(_first_page, self._database, job_id, owner=owner, seen=seen)

    async def follow(self, job_id: str, page: Page, *, seen: int, rendered: Rendered = whole) -> AsyncIterator[bytes]:
        """Yield the events after `seen` that were read, then new events, until the job has ended.

        A database that does not answer delays a stream, and does not end it.
        """
        frames = page.frames
        with self._joined(job_id, page) as feed:
            while True:
                for start in range(0, len(frames), AT_ONCE):
                    if start:
                        await asyncio.sleep(0)
                    batch = frames[start : start + AT_ONCE]
                    seen = batch[-1].seq
                    if text := b"".join(map(rendered, batch)):
                        yield text
                if seen < feed.known:
                    frames = feed.since(seen) or await self._read_on(job_id, seen)
                    if not frames:
                        return  # the job was deleted
                elif feed.is_over:
                    return
                else:
                    frames = []
                    await feed.news()

    async def close(self) -> None:
        """End the watcher, and with it every stream."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.wait([self._watcher])

    @contextmanager
    def _joined(self, job_id: str, page: Page) -> Iterator[_Feed]:
        feed = self._feeds.setdefault(job_id, _Feed(page.newest, page.is_over))
        feed.followers += 1
        if self._watcher is None:
            self._watcher = asyncio.create_task(self._watch())
        try:
            yield feed
        finally:
            feed.followers -= 1
            if not feed.followers and self._feeds.get(job_id) is feed:
                del self._feeds[job_id]

    async def _read_on(self, job_id: str, seen: int) -> list[Frame]:
        while True:
            try:
                page = await self._readers.run(_page, self._database, job_id, seen=seen)
            except (DatabaseUnavailable, *UNAVAILABLE):
                await asyncio.sleep(POLL_S)
            else:
                return page.frames if page else []

    async def _watch(self) -> None:
        """Look for new events as long as a stream follows; no stream waits for a watcher that has ended."""
        is_away = False
        try:
            while self._feeds and not self.leaving.is_set():
                await asyncio.sleep(POLL_S)
                known = {job_id: feed.known for job_id, feed in self._feeds.items()}
                try:
                    news = await self._watchers_thread.run(_news, self._database, known)
                except (DatabaseUnavailable, SQLAlchemyError) as error:
                    if not is_away:
                        log.warning("event streams wait: the database does not answer", error=type(error).__name__)
                    is_away = True
                    continue
                is_away = False
                for job_id, page in news.items():
                    await self._tell(job_id, page)
        finally:
            self._watcher = None
            for feed in self._feeds.values():
                feed.is_over = True
                _wake(feed.waiting)
            self._feeds = {}

    async def _tell(self, job_id: str, page: Page | None) -> None:
        feed = self._feeds.get(job_id)
        if feed is None:
            return
        feed.take(page)
        waiting = list(feed.waiting)
        for start in range(0, len(waiting), AT_ONCE):
            _wake(waiting[start : start + AT_ONCE])
            await asyncio.sleep(BREATH_S)


def _wake(waiting: Iterable[asyncio.Future[None]]) -> None:
    for future in waiting:
        if not future.done():
            future.set_result(None)


def _frame(event: events.Event) -> Frame:
    return Frame(event.seq, sent(event.seq, event.kind, event.data), event)


def _first_page(database: Database, job_id: str, *, owner: str, seen: int) -> Page:
    found = events.page(database, job_id, seen, owner=owner, limit=PAGE)
    if found is None:
        raise JobNotFound(f"there is no job {job_id!r}; GET /jobs lists yours")
    return Page.of(found)


def _page(database: Database, job_id: str, *, seen: int) -> Page | None:
    found = events.page(database, job_id, seen, limit=PAGE)
    return None if found is None else Page.of(found)


def _news(database: Database, known: dict[str, int]) -> dict[str, Page | None]:
    found = events.news(database, known, limit=PAGE)
    return {job_id: None if page is None else Page.of(page) for job_id, page in found.items()}
