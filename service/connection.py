"""Protocol of one client's connection: uvicorn's HTTP/1.1 on httptools, with the limits that both lack.

Without them, a head of any size is collected, thousands of requests in one packet are parsed at once, and a client may
stay silent for ever. Here the input is parsed in slices: a head that is too large is refused before any code reads its
key, a request that follows another waits unparsed for its turn, and an alarm ends incomplete requests.
"""

import asyncio
from collections import deque
from typing import ClassVar

import httptools
from starlette.types import Message, Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from service.answers.refusals import (
    MOST_HEAD_BYTES,
    MOST_HEADERS,
    MOST_URL_BYTES,
    ConnectionRefusal,
    HeadersTooLarge,
    MalformedHttp,
    UnknownTransferCoding,
    UrlTooLong,
)
from service.patience import Patience, Reading
from service.serving import State
from service.transport import Answering, Flow, end_when_unread, with_path, without_chunks

SLICE_BYTES = 4 << 10
FRAMING_PER_BYTE = 8
"""Largest number of bytes of chunk sizes, extensions and trailers per byte of content, beyond 64 KB; 1-byte chunks need
5."""
LINGER_S = 10.0
"""Time for which the rest of a refused request is read and dropped: a client that is still sending would not see the
answer if the connection were reset."""
MOST_DROPPED_BYTES = 1 << 20
"""Largest rest of a body that is read after its answer is sent, to keep the connection; a longer rest ends the
connection."""


class Connection(HttpToolsProtocol):
    """One client's connection."""

    patience: ClassVar[Patience] = Patience()

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, object],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._app, self.app = self.app, self._announcing_ends
        self.url = b""
        self.flow: Flow
        self._answering: Answering
        self._reading = Reading.HEAD
        self.unread = b""  # came while an earlier request waits for its answer
        self._fault: ConnectionRefusal | None = None
        self._lingers = False
        self._unanswered: deque[RequestResponseCycle] = deque()  # the first runs, the others are in the pipeline
        self._alarm: asyncio.TimerHandle | None = None
        self._head_began_at: float | None = None
        self._heard_at = 0.0
        self.status = 0  # of the last answer that the app began
        self._is_amid_message = False
        self.messages = 0
        self._raw_bytes = 0  # of the head or the body that is being read, without the slice it began in
        self._field_bytes = 0
        self._fields = 0
        self._content_bytes = 0
        self._content_left = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept a new connection; its first request has as much time as any head."""
        super().connection_made(transport)
        self.flow = Flow(transport)
        self._answering = Answering(transport, end=self.end)
        end_when_unread(transport)
        self._head_began_at = self.loop.time()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client; uvicorn lets only the request that came last know."""
        for cycle in self._unanswered:
            cycle.disconnected = True
            cycle.message_event.set()
        super().connection_lost(exc)
        self.unread = b""
        self._silence_alarm()

    def data_received(self, data: bytes) -> None:
        """Parse the input, as far as it is its turn."""
        if self.is_refused:
            return  # it is answered, or will be; this is the rest of it
        self._unset_keepalive_if_required()
        self._heard_at = self.loop.time()
        self.unread += data
        self.parse()

    @property
    def is_refused(self) -> bool:
        """Return whether the request that came last is refused, and the connection with it."""
        return self._fault is not None or self._lingers

    def end(self) -> None:
        """End the connection; a client that still sends an answered body gets time to notice."""
        if self._reading is Reading.BODY and self.cycle.response_complete:
            self._linger()
        else:
            self.transport.close()

    def shutdown(self) -> None:
        """End the connection as soon as its request is answered."""
        if self.is_refused:
            self.transport.close()
        else:
            super().shutdown()

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._is_amid_message = True
        self.messages += 1
        self._raw_bytes = self._field_bytes = self._fields = 0
        if self._head_began_at is None:
            self._head_began_at = self.loop.time()

    def on_url(self, url: bytes) -> None:
        """Take a part of the request line."""
        super().on_url(url)
        self._field_bytes += len(url)
        if len(self.url) > MOST_URL_BYTES:
            self._fault = self._fault or UrlTooLong()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; trailers are counted and dropped."""
        self._fields += 1
        self._field_bytes += len(name) + len(value) + len(": \r\n")
        if self._fields > MOST_HEADERS or self._field_bytes > MOST_HEAD_BYTES:
            self._fault = self._fault or HeadersTooLarge()
        elif self._reading is Reading.HEAD:
            name = name.lower()
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Start the request, unless it is refused."""
        if self._fault is not None:
            return
        declared = dict(self.headers)
        chunked, length = b"transfer-encoding" in declared, int(declared.get(b"content-length") or 0)
        if chunked and [value.strip().lower() for name, value in self.headers if name == b"transfer-encoding"] != [
            b"chunked"
        ]:
            self._fault = UnknownTransferCoding()
            return
        if self.parser.should_upgrade() and (chunked or length):
            self._fault = MalformedHttp("a request with a body can't ask for another protocol; leave `Upgrade` out")
            return
        self.url = with_path(self.url)
        super().on_headers_complete()
        self._unanswered.append(self.cycle)
        self.cycle.transport = self._answering
        self._reading = Reading.BODY
        self._head_began_at = None
        self._raw_bytes = self._field_bytes = self._fields = self._content_bytes = 0
        self._content_left = length

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        if self._fault is None:
            self._content_bytes += len(body)
            self._content_left -= len(body)
            super().on_body(body)

    def on_message_complete(self) -> None:
        """End the request; what comes now belongs to the next."""
        if self._fault is None:
            super().on_message_complete()
            self._is_amid_message = False
            self._reading = Reading.HEAD
            self._raw_bytes = 0

    def on_response_complete(self) -> None:
        """Go on with the request that comes next, or refuse it."""
        self._unanswered.popleft()
        if self._lingers:
            return
        if self._fault is not None and not self.pipeline:
            self._answer_fault()
            return
        super().on_response_complete()
        if self._reading is Reading.BODY and self.cycle.response_complete and not self._will_end_soon():
            self._linger()
        elif self.unread:
            self._unset_keepalive_if_required()
            self.parse()

    def parse(self) -> None:
        """Parse what waits, as far as it is its turn."""
        data, position = memoryview(self.unread), 0
        while position < len(data) and self._fault is None and not self.pipeline and not self.transport.is_closing():
            position += self._parse_slice(data[position : position + max(SLICE_BYTES, self._content_left)])
        self.unread = bytes(data[position:])
        self.flow.let_wait(len(self.unread))
        if self._fault is not None:
            self._refuse()
        else:
            self._watch()

    def _parse_slice(self, piece: memoryview) -> int:
        """Parse a slice and return how many bytes of it were taken."""
        reading, message, taken = self._reading, self.messages, len(piece)
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade as upgrade:
            taken = upgrade.args[0]  # we speak nothing else: what follows is HTTP/1.1
        except httptools.HttpParserError:
            self._fault = self._fault or MalformedHttp("this is not an HTTP/1.1 request (RFC 9112)")
        if (reading, message) == (self._reading, self.messages):
            self._raw_bytes += taken
            content_bytes = 0 if reading is Reading.HEAD else self._content_bytes
            if self._raw_bytes - content_bytes > MOST_HEAD_BYTES + FRAMING_PER_BYTE * content_bytes:
                self._fault = self._fault or HeadersTooLarge()
        return taken

    def _refuse(self) -> None:
        """Answer with the error as soon as the requests before it are answered."""
        self.unread = b""
        self._silence_alarm()
        if self._reading is Reading.BODY and self.pipeline:
            self.pipeline.popleft()  # this is the one that is refused
            earlier = True
        else:
            earlier = self._reading is Reading.HEAD and self.cycle is not None and not self.cycle.response_complete
        if not earlier:
            self._answer_fault()

    def _answer_fault(self) -> None:
        assert self._fault is not None
        if self.transport.is_closing():
            return
        if self._reading is Reading.BODY:
            begun = self.cycle.response_started
            self.cycle.disconnected = True  # the route learns that its client is gone
            self.cycle.message_event.set()
            if begun:
                self.transport.close()
                return
        path = self.url.partition(b"?")[0].decode("latin-1")
        self.transport.write(self._fault.as_response(path, headers=self.server_state.default_headers))
        self._linger()

    def _linger(self) -> None:
        """End the connection, and drop what the client still sends for a while: it may not have seen its answer yet."""
        self._lingers = True
        self.unread = b""
        self._unset_keepalive_if_required()
        self._silence_alarm()
        if not self.transport.is_closing():
            self.transport.write_eof()
            self.flow.let_wait(0)
            self.flow.resume_reading()
            self.loop.call_later(LINGER_S, self.transport.close)

    async def _announcing_ends(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app; a header announces an answer that ends the connection, so that no client reuses it."""

        async def send_announced(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.status = message["status"]
                is_read = self.cycle.scope is scope and self._reading is Reading.BODY
                if (is_read and not self._will_end_soon()) or self._server_ends():
                    self.cycle.keep_alive = False  # uvicorn adds `Connection: close`
            await send(message)

        is_old = scope["http_version"] == "1.0" and self.cycle.scope is scope
        await self._app(scope, receive, without_chunks(send_announced, self.cycle) if is_old else send_announced)

    def _server_ends(self) -> bool:
        return isinstance(self.server_state, State) and self.server_state.ends

    def _will_end_soon(self) -> bool:
        """Return whether it is worth waiting for the rest of an answered request's body.

        It is short, and certain to come.
        """
        withheld = self.expect_100_continue and not self._content_bytes
        return 0 < self._content_left <= MOST_DROPPED_BYTES and not withheld

    def _watch(self) -> None:
        """Set the alarm for the time by which the client must continue."""
        due = self._due_at()
        if due is None or (self._alarm is not None and self._alarm.when() > due):
            self._silence_alarm()
        if due is not None and self._alarm is None:
            self._alarm = self.loop.call_at(due, self._on_alarm)

    def _due_at(self) -> float | None:
        if self._reading is Reading.BODY:
            return max(self._heard_at, self.flow.open_since) + self.patience.body_idle_s
        return None if self._head_began_at is None else self._head_began_at + self.patience.head_s

    def _on_alarm(self) -> None:
        self._alarm = None
        if self._fault is not None or self.transport.is_closing():
            return
        if self._is_our_turn():
            self._heard_at = self._head_began_at = self.loop.time()
        due = self._due_at()
        if due is None or due > self.loop.time():
            self._watch()
        elif self._reading is Reading.HEAD and not self.messages and not self._raw_bytes:
            self.transport.close()  # nothing was asked, so nothing is answered
        else:
            self._fault = self.patience.overdue(self._reading)
            self._refuse()

    def _is_our_turn(self) -> bool:
        """Return whether the client may be waiting for us, or may not know that it may continue."""
        asked_to_wait = self._reading is Reading.BODY and self.cycle.waiting_for_100_continue
        return asked_to_wait or self.flow.read_paused or bool(self.unread)

    def _silence_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
