"""Clients that look at every answer: an open loop at a given rate, and kept connections that ask again and again.

Latencies of the open loop count from the moment at which a request was due, so that a server that stalls is charged
for the requests that would have come meanwhile.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from benchmarks.serving.client import Ask

NO_ANSWER = 0


@dataclass(frozen=True)
class Answered:
    """One answer; times are of `time.monotonic()`. The status is 0 where the connection ended without one."""

    due_s: float
    ended_s: float
    status: int
    body: bytes

    @property
    def took_ms(self) -> float:
        """Return how long the client waited."""
        return 1000 * (self.ended_s - self.due_s)


class Connection:
    """One kept connection of HTTP/1.1."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, url: str) -> Self:
        """Connect."""
        parts = urlsplit(url)
        return cls(*await asyncio.open_connection(parts.hostname, parts.port))

    def send(self, ask: Ask) -> None:
        """Send a request."""
        headers = ask.headers | {"Host": "127.0.0.1", "Content-Length": str(len(ask.body))}
        lines = [f"POST {ask.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        self._writer.write("\r\n".join([*lines, "", ""]).encode() + ask.body)

    async def read(self) -> tuple[int, bytes]:
        """Return an answer's status and body."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines if ": " in line)
        return int(first.split()[1]), await self._reader.readexactly(int(headers["content-length"]))

    async def ask(self, ask: Ask, *, due_s: float | None = None) -> Answered:
        """Send a request and return its answer."""
        due_s = time.monotonic() if due_s is None else due_s
        try:
            self.send(ask)
            status, body = await self.read()
        except (OSError, asyncio.IncompleteReadError):
            status, body = NO_ANSWER, b""
        return Answered(due_s, time.monotonic(), status, body)

    def close(self) -> None:
        """Close it at once."""
        self._writer.transport.abort()


async def open_loop(url: str, ask: Ask, *, rate: float, seconds: float) -> list[Answered]:
    """Send so many requests a second, whatever is answered, and return all answers."""
    free: list[Connection] = []

    async def one(due_s: float) -> Answered:
        try:
            connection = free.pop() if free else await Connection.open(url)
        except OSError:
            return Answered(due_s, time.monotonic(), NO_ANSWER, b"")
        answered = await connection.ask(ask, due_s=due_s)
        if answered.status == NO_ANSWER:
            connection.close()
        else:
            free.append(connection)
        return answered

    began_s = time.monotonic()
    async with asyncio.TaskGroup() as group:
        tasks = []
        for number in range(round(rate * seconds)):
            due_s = began_s + number / rate
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            tasks.append(group.create_task(one(due_s)))
    for connection in free:
        connection.close()
    return [task.result() for task in tasks]


async def closed_loop(
    url: str, next_ask: Callable[[], Ask], *, connections: int, is_over: Callable[[], bool]
) -> list[Answered]:
    """Ask on so many kept connections, each as soon as it has its answer, until `is_over`; return all answers."""

    async def one() -> list[Answered]:
        answers: list[Answered] = []
        connection = await Connection.open(url)
        while not is_over():
            answers.append(await connection.ask(next_ask()))
            if answers[-1].status == NO_ANSWER:
                connection.close()
                connection = await Connection.open(url)
        connection.close()
        return answers

    return [answered for answers in await asyncio.gather(*(one() for _ in range(connections))) for answered in answers]


async def leave(url: str, ask: Ask, *, clients: int, after_s: float) -> None:
    """Send a request on each of so many connections, and close them all before they are answered."""
    connections = [await Connection.open(url) for _ in range(clients)]
    for connection in connections:
        connection.send(ask)
    await asyncio.sleep(after_s)
    for connection in connections:
        connection.close()
    await asyncio.sleep(0)
