"""HTTP server of one API process: uvicorn's, without its ten wake-ups a second.

Its connections come from a listening socket, or one by one from the parent of several processes.
"""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable
from email.utils import formatdate
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.server import ServerState

from service.processes.board import Column
from service.processes.inbox import Kind, Message
from service.processes.place import Place

if TYPE_CHECKING:
    from service.hot.connection import HotConnection

MESSAGES_AT_ONCE = 64
LAST_CALL_S = 0.25
"""Time for which a server that ends still takes requests of open connections: each ends with its answer, so that no
client sends into a connection that is being closed."""


class State(ServerState):
    """What all connections of a server share; the `Date` header is made when it is asked for."""

    def __init__(self) -> None:
        self.ends = False
        """whether each answer ends its connection"""
        self._second = 0
        self._headers: list[tuple[bytes, bytes]] = []
        super().__init__()

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """Return the headers of every answer."""
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._headers = [(b"date", formatdate(second, usegmt=True).encode())]
        return self._headers

    @default_headers.setter
    def default_headers(self, _headers: list[tuple[bytes, bytes]]) -> None:
        """Ignore uvicorn's."""


class Server(uvicorn.Server):
    """A server at a place among the API processes; `run` or `serve` without sockets take connections from the inbox."""

    def __init__(
        self,
        config: uvicorn.Config,
        place: Place,
        *,
        on_message: Callable[[Message], None],
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        self._ends = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked_to_end = False
        super().__init__(config)
        self.server_state = self._state = State()
        self._place = place
        self._on_message = on_message
        self._on_ready = on_ready
        self._adopting: set[asyncio.Task[None]] = set()

    @property
    def should_exit(self) -> bool:
        """Return whether the server is to end."""
        return self._asked_to_end

    @should_exit.setter
    def should_exit(self, asked: bool) -> None:
        self._asked_to_end = asked
        if asked and self._loop is not None:
            self._loop.call_soon_threadsafe(self._ends.set)

    @property
    def ends(self) -> bool:
        """Return whether the server takes no new connections any more, and each answer ends its connection."""
        return self._state.ends

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End at a signal; of several processes, the parent alone takes what the terminal sends to all."""
        if sig == signal.SIGTERM or not self._place.inboxes:
            super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the app, then take connections."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets=sockets or [])
        if self._asked_to_end:
            self._ends.set()
        if self._place.inboxes:
            self._loop.add_reader(self._place.inbox.fileno(), self._read_inbox)
        self._place.board.write(self._place.number, Column.PID, os.getpid())
        self._on_ready()

    async def main_loop(self) -> None:
        """Wait until the server is to end."""
        await self._ends.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer what was asked, by connections that were not taken yet too, then end the app."""
        self._place.board.write(self._place.number, Column.PID, 0)
        for server in self.servers:
            server.close()  # connections that come now are for the next process that listens
        self._state.ends = True
        if self._place.inboxes:
            asyncio.get_running_loop().remove_reader(self._place.inbox.fileno())
            while self._take_message():
                pass
            await asyncio.gather(*self._adopting)
        if self.server_state.connections:
            await asyncio.sleep(LAST_CALL_S)
        await super().shutdown(sockets)

    def _read_inbox(self) -> None:
        for _ in range(MESSAGES_AT_ONCE):
            if not self._take_message():
                return

    def _take_message(self) -> bool:
        """Do what the next message asks; return whether there was one."""
        message = self._place.inbox.receive()
        if message is None:
            return False
        if message.kind is Kind.CONNECTION:
            self._adopt(message.sent)
        elif message.kind is Kind.MOVED:
            self._place.board.increase(self._place.number, Column.MOVED)
            self._adopt(message.sent, has_asked=True)
        else:
            self._on_message(message)
        return True

    def _adopt(self, connection: socket.socket | None, *, has_asked: bool = False) -> None:
        """Serve a connection that the parent has accepted; `has_asked`: another process has served it so far."""
        if connection is None:  # there was no file descriptor for it: the kernel has closed it
            self._have_closed()
            return
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        adopting = asyncio.ensure_future(self._serve_connection(connection, has_asked=has_asked))
        self._adopting.add(adopting)
        adopting.add_done_callback(self._adopting.discard)

    async def _serve_connection(self, connection: socket.socket, *, has_asked: bool) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                partial(self._counted_protocol, has_asked=has_asked), connection
            )
        except OSError:  # the client has gone
            self._have_closed()

    def _counted_protocol(self, *, has_asked: bool) -> asyncio.Protocol:
        kind: type[HotConnection] = self.config.http_protocol_class  # type: ignore[assignment]
        made = kind(self.config, self.server_state, self.lifespan.state)
        made.has_asked = has_asked
        lost = made.connection_lost

        def count_lost(exc: Exception | None) -> None:
            self._have_closed()
            lost(exc)

        made.connection_lost = count_lost  # type: ignore[method-assign]
        return made

    def _have_closed(self) -> None:
        self._place.board.increase(self._place.number, Column.CLOSED)
