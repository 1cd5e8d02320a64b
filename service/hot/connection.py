"""Connection with a hot lane: a whole request with a known head is answered without parsing it.

    data ─► whole, and its head is known? ─► HotLane.answer ─► one write
             no ─► Connection: parser, limits, app; ended with 200 ─► the head is learned

The hot lane takes a request only when its connection is between two requests. A body of moderate size may come in
several packets within a moment; if it does not, the parser takes what came, so that the limits on slow, large and
half-sent requests hold. What comes while a request is answered waits unparsed.

A connection that asks for a slow model again and again moves to the process that runs it, between two requests: bodies
need not be forwarded any more. Its client does not notice.
"""

import asyncio
from typing import ClassVar

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle
from uvicorn.server import ServerState

from service.connection import Connection
from service.hot.heads import Heads, split
from service.hot.lane import HotLane, KnownHead
from service.hot.routes import Reply
from service.patience import Patience, Reading
from service.processes.place import Place

WELL = 200
MOST_COLLECTED_BYTES = 256 << 10
"""Largest body for which the hot lane waits."""
MOMENT_S = 0.25
MOVED_AFTER = 4
"""Requests in a row that the owner had better have got itself."""


class HotConnection(Connection):
    """One client's connection; `protocol` makes the class for a server."""

    lane: ClassVar[HotLane]
    place: ClassVar[Place]
    default_head: ClassVar[tuple[object, bytes]] = (None, b"")
    """the server's own headers, and how they are sent; they change once a second"""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, object],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._heads: Heads[KnownHead]
        self._direct: asyncio.Task[None] | None = None
        self._closes = False
        self._pieces: list[bytes] = []  # of a request with a known head, while its body is incomplete
        self._missing_bytes = 0
        self._moment: asyncio.TimerHandle | None = None
        self._new: tuple[bytes, RequestResponseCycle] | None = None  # a head to learn, if its answer is a 200
        self._better_in_owner = 0  # the last requests in a row
        self.has_asked = False  # another process has answered requests of it

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept a new connection."""
        super().connection_made(transport)
        self._heads = self.lane.heads(self.server)
        if self.has_asked:
            self._begin_outside_of_parser()
            self._give_time()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client, and withdraw what it asked."""
        super().connection_lost(exc)
        if self._direct is not None:
            self._direct.cancel()
        if self._moment is not None:
            self._moment.cancel()

    def data_received(self, data: bytes) -> None:
        """Answer a whole request with a known head; parse everything else."""
        if self._pieces:
            self._pieces.append(data)
            self._missing_bytes -= len(data)
            if self._missing_bytes > 0:
                return
            data = self._collected()
        request = split(data) if self._is_between_requests() else None
        if request is None:
            super().data_received(data)
            return
        head, own, body_at, missing_bytes = request
        known = self._heads.get(head)
        body_bytes = len(data) - body_at
        if known is None or body_bytes + missing_bytes > self.lane.most_body_bytes:
            before = self.messages
            super().data_received(data)
            if self.messages == before + 1 and self._has_read(body_bytes, missing_bytes):
                self._new = head, self.cycle
        elif not missing_bytes:
            self._take(known, own, data[body_at:])
        elif missing_bytes <= MOST_COLLECTED_BYTES:
            self._collect(data, missing_bytes)
        else:
            super().data_received(data)

    def _collect(self, data: bytes, missing_bytes: int) -> None:
        """Wait a moment for the rest of a body."""
        self._begin_outside_of_parser()
        self._pieces, self._missing_bytes = [data], missing_bytes
        self._moment = self.loop.call_later(MOMENT_S, self._stop_collecting)

    def _stop_collecting(self) -> None:
        if self._pieces:
            super().data_received(self._collected())

    def _collected(self) -> bytes:
        data, self._pieces = b"".join(self._pieces), []
        if self._moment is not None:
            self._moment.cancel()
            self._moment = None
        return data

    def on_response_complete(self) -> None:
        """Learn the head of a request that was answered well."""
        new, self._new = self._new, None
        if new is not None and self.status == WELL and not new[1].more_body:
            self.lane.learn(self._heads, new[0], dict(new[1].scope))
        super().on_response_complete()

    def shutdown(self) -> None:
        """End the connection as soon as its request is answered."""
        self._closes = True
        self._stop_collecting()
        if self._direct is None:
            super().shutdown()

    def parse(self) -> None:
        """Parse what waits, unless the hot lane has not answered yet."""
        if self._direct is None:
            super().parse()
        else:
            self.flow.let_wait(len(self.unread))

    def _is_between_requests(self) -> bool:
        """Return whether nothing of a request has come or waits for its answer, and the client reads its answers."""
        has_begun = self._is_amid_message or self._raw_bytes or self.unread or self._pieces or self.is_refused
        is_answered = self._direct is None and (self.cycle is None or self.cycle.response_complete)
        return is_answered and not has_begun and not self.flow.write_paused

    def _has_read(self, body_bytes: int, missing_bytes: int) -> bool:
        """Return whether the parser has found what `split` found: where the body begins, and how long it is."""
        if self.is_refused or self.unread or self._raw_bytes or self.expect_100_continue or self.cycle is None:
            return False
        lengths = self._content_bytes, self._content_left
        is_amid_body = self._reading is Reading.BODY
        return lengths == (body_bytes, missing_bytes) and is_amid_body == (missing_bytes > 0) and self.cycle.keep_alive

    def _take(self, known: KnownHead, own: list[tuple[bytes, bytes]], body: bytes) -> None:
        self._begin_outside_of_parser()
        self.messages += 1
        self._direct = self.loop.create_task(self._answer_known(known, own, body))
        self.tasks.add(self._direct)

    def _begin_outside_of_parser(self) -> None:
        """Stop the clocks that wait for a request."""
        self._unset_keepalive_if_required()
        self._silence_alarm()
        self._head_began_at = None

    async def _answer_known(self, known: KnownHead, own: list[tuple[bytes, bytes]], body: bytes) -> None:
        task, reply = self._direct, None
        try:
            reply = await self.lane.answer(known, own, body)
        finally:
            self._direct = None
            self.tasks.discard(task)
            if reply is None:
                self.transport.close()
        if not self.transport.is_closing():
            self.transport.write(self._bytes_of(reply))
            self._better_in_owner = self._better_in_owner + 1 if reply.better_in_owner else 0
            self._go_on()

    def _go_on(self) -> None:
        """End the connection, take up what came meanwhile, move, or give the client time for its next request."""
        self.server_state.total_requests += 1
        if self._closes or self._server_ends():
            self.transport.close()
        elif self.unread:
            self.parse()
        elif self._better_in_owner < MOVED_AFTER or not self._moves():
            self._give_time()

    def _give_time(self) -> None:
        """Give the client time for its next request."""
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _moves(self) -> bool:
        """Let the owner serve the connection from now on; return whether it does."""
        self._better_in_owner = 0
        if self.transport.get_write_buffer_size():
            return False
        self.transport.pause_reading()  # what comes now is for the owner
        if not self.place.give_to_owner(self.transport.get_extra_info("socket")):
            self.transport.resume_reading()
            return False
        self.transport.close()
        return True

    def _bytes_of(self, reply: Reply) -> bytes:
        kind, headers = type(self), self.server_state.default_headers
        if kind.default_head[0] is not headers:
            kind.default_head = headers, b"".join(b"%b: %b\r\n" % pair for pair in headers)
        lines = [b"%b: %b\r\n" % pair for pair in reply.headers]
        if self._closes or self._server_ends():
            lines.append(b"connection: close\r\n")
        length = b"content-length: %d\r\n\r\n" % len(reply.body)
        return b"".join([STATUS_LINE[reply.status], kind.default_head[1], *lines, length, reply.body])


def protocol(patience: Patience, lane: HotLane, place: Place) -> type[HotConnection]:
    """Return the class of connections with these time limits and this lane, of the process at a place."""
    return type("PatientConnection", (HotConnection,), {"patience": patience, "lane": lane, "place": place})
