"""Transport between uvicorn and the system's transport: decides when to read on, and how to end."""

import asyncio
import re
import socket
from collections.abc import Callable

from starlette.types import Message, Send
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

MOST_WAITING_BYTES = 64 << 10
"""Requests that came before their turn; more of them are left to the system's buffers, or a client could fill ours."""
WITHOUT_PATH = re.compile(rb"^(https?://[^/?#]+)(?=[?#]|$)", re.IGNORECASE)
"""A target in absolute form without a path, which means `/` (RFC 9112, section 3.2.2)."""
STALLED_READER_S = 300.0
"""Time for which a client may leave an answer unread before the system ends the connection."""


def end_when_unread(transport: asyncio.Transport) -> None:
    """Let the system end a connection whose client reads nothing for too long."""
    opened: socket.socket | None = transport.get_extra_info("socket")
    if opened is not None and opened.family in {socket.AF_INET, socket.AF_INET6}:
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(STALLED_READER_S * 1000))


def with_path(url: bytes) -> bytes:
    """Return a request's target, with `/` where one in absolute form has no path; uvicorn would fail on it."""
    return url if url.startswith(b"/") else WITHOUT_PATH.sub(rb"\1/", url, count=1)


def without_chunks(send: Send, cycle: RequestResponseCycle) -> Send:
    """Return a `send` to a client of HTTP/1.0, which can't read chunks (RFC 9112, section 6.1).

    An answer of unknown length ends with the connection; uvicorn would send it in chunks.
    """
    is_of_unknown_length = False

    async def sending(message: Message) -> None:
        nonlocal is_of_unknown_length
        if message["type"] == "http.response.start":
            names = {name.lower() for name, _ in message.get("headers", ())}
            is_of_unknown_length = b"content-length" not in names
            cycle.chunked_encoding = False if is_of_unknown_length else None
        elif is_of_unknown_length:
            cycle.expected_content_length = len(message.get("body", b""))
        await send(message)

    return sending


class Flow(FlowControl):
    """Flow control that remembers since when it has been the client's turn to send, and lets little wait unparsed."""

    open_since = 0.0
    is_full = False

    def resume_reading(self) -> None:
        """Let more come, unless enough waits already: an answer and a route that waits for a body both ask for more."""
        if self.is_full:
            return
        if self.read_paused:
            self.open_since = asyncio.get_running_loop().time()
        super().resume_reading()

    def let_wait(self, size_bytes: int) -> None:
        """Take note of how much waits unparsed."""
        was_full, self.is_full = self.is_full, size_bytes > MOST_WAITING_BYTES
        if self.is_full:
            self.pause_reading()
        elif was_full:
            self.resume_reading()


class Answering(asyncio.Transport):
    """What uvicorn writes an answer to: when it closes after the last byte, the connection decides how to end."""

    def __init__(self, transport: asyncio.Transport, *, end: Callable[[], None]) -> None:
        super().__init__()
        self._transport = transport
        self._end = end

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send a part of the answer."""
        self._transport.write(data)

    def is_closing(self) -> bool:
        """Tell whether the connection ends."""
        return self._transport.is_closing()

    def close(self) -> None:
        """End the connection."""
        self._end()
