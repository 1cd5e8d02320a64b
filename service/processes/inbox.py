"""Inboxes of the API processes: each takes file descriptors (connections, links) and short notices from the others.

Every process holds both ends of every inbox. What a process that dies has not read stays in its inbox.
"""

import socket
from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """Meaning of a message."""

    CONNECTION = b"c"
    """a client's connection"""
    MOVED = b"m"
    """a client's connection that another process has served so far; its next request has not begun"""
    LINK = b"l"
    """one end of a link over which another process forwards predictions"""
    REFRESH = b"r"
    """bring your gauges up to date"""
    RELEASE = b"u"
    """take a model out of memory; its digest follows"""


LONGEST = 256


@dataclass(frozen=True)
class Message:
    """A message that came."""

    kind: Kind
    text: str
    sent: socket.socket | None
    """missing where it belongs to the kind if the process has no file descriptor to spare"""


class Inbox:
    """A queue of messages to one process; any process may send."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when there is a message."""
        return self._reader.fileno()

    def send(self, kind: Kind, sent: socket.socket | None = None, *, text: str = "") -> bool:
        """Send a message, with a copy of a socket; return whether there was room for it."""
        message = kind.value + text.encode()
        try:
            if sent is None:
                self._writer.send(message)
            else:
                socket.send_fds(self._writer, [message], [sent.fileno()])
        except OSError:  # it is full (EAGAIN), or too many descriptors are under way (ETOOMANYREFS)
            return False
        return True

    def receive(self) -> Message | None:
        """Return the next message; None if there is none."""
        try:
            message, descriptors, _, _ = socket.recv_fds(self._reader, LONGEST, 1)
        except OSError:
            return None
        sent = socket.socket(fileno=descriptors[0]) if descriptors else None
        return Message(Kind(message[:1]), message[1:].decode(), sent)
