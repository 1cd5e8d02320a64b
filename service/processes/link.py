"""Link between two API processes: a Unix socket that carries whole Python objects both ways.

Both ends come from one parent and nobody else has the socket, so what arrives is trusted as code is.
"""

import asyncio
import pickle
import socket
import struct
from collections.abc import Callable
from typing import Any

SIZE = struct.Struct("<Q")


class Link(asyncio.Protocol):
    """One end of a link. Use within an event loop; `open_link` makes it."""

    def __init__(self, *, on_message: Callable[[Any], None], on_lost: Callable[[], None]) -> None:
        self._on_message = on_message
        self._on_lost = on_lost
        self._unread = bytearray()
        self._transport: asyncio.WriteTransport | None = None
        self._has_room = asyncio.Event()
        self._has_room.set()
        self.is_lost = False

    def connection_made(self, transport: asyncio.WriteTransport) -> None:  # type: ignore[override]
        """Begin."""
        self._transport = transport

    def connection_lost(self, _error: Exception | None) -> None:
        """End: the other process has closed the link, or died."""
        self.is_lost = True
        self._has_room.set()
        self._on_lost()

    def pause_writing(self) -> None:
        """Let senders wait: the other process is slower."""
        self._has_room.clear()

    def resume_writing(self) -> None:
        """Let senders go on."""
        self._has_room.set()

    def data_received(self, data: bytes) -> None:
        """Take in what has arrived, and pass on every object that is whole."""
        self._unread += data
        position = 0
        while len(self._unread) - position >= SIZE.size:
            begin = position + SIZE.size
            end = begin + SIZE.unpack_from(self._unread, position)[0]
            if end > len(self._unread):
                break
            with memoryview(self._unread) as view, view[begin:end] as piece:
                message = pickle.loads(piece)  # noqa: S301  see the module's docstring
            position = end
            self._on_message(message)
        del self._unread[:position]

    async def room(self) -> None:
        """Wait until the other process has read most of what was sent."""
        await self._has_room.wait()

    def send(self, message: Any) -> None:  # noqa: ANN401  anything that can be pickled
        """Send an object; it is lost if the link is."""
        if self.is_lost or self._transport is None:
            return
        packed = pickle.dumps(message, protocol=5)
        self._transport.write(SIZE.pack(len(packed)) + packed)

    def close(self) -> None:
        """End the link after what was sent."""
        if self._transport is not None:
            self._transport.close()


async def open_link(end: socket.socket, *, on_message: Callable[[Any], None], on_lost: Callable[[], None]) -> Link:
    """Return a link over one end of a pair of sockets."""
    end.setblocking(False)
    link = Link(on_message=on_message, on_lost=on_lost)
    await asyncio.get_running_loop().connect_accepted_socket(lambda: link, end)
    return link
