"""Readers of event streams on plain sockets: one that reads on, and one that does not."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson


class Reader:
    """One open stream; its events are read when they are asked for."""

    def __init__(self, url: str, job_id: str, *, seen: int = 0, key: str = "") -> None:
        where = urlsplit(url)
        self._socket = socket.create_connection((where.hostname, where.port), timeout=30)
        lines = [
            f"GET /jobs/{job_id}/events HTTP/1.1",
            f"Host: {where.netloc}",
            f"Last-Event-ID: {seen}",
            *([f"X-API-Key: {key}"] if key else []),
        ]
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode())
        self._file = self._socket.makefile("rb")
        self.is_whole = False
        self.status = int(self._file.readline().split()[1])
        self.headers = httpx.Headers(
            [tuple(line.decode().strip().split(": ", 1)) for line in iter(self._file.readline, b"\r\n")]  # type: ignore[misc]
        )

    def events(self) -> Iterator[tuple[int, str, dict[str, Any]]]:
        """Yield the number, kind and data of each event until the stream ends."""
        fields: dict[str, str] = {}
        for raw in self._file:
            line = raw.decode().rstrip("\r\n")
            name, _, value = line.partition(": ")
            if name in {"id", "event", "data"}:
                fields[name] = value
            if len(fields) == 3:
                yield int(fields["id"]), fields["event"], orjson.loads(fields["data"])
                fields = {}
            if line == "0":  # the last chunk (RFC 9112, section 7.1)
                self.is_whole = True
                return

    def numbers(self) -> list[int]:
        """Return the numbers of all events until the stream ends."""
        return [number for number, _, _ in self.events()]

    def until(self, number: int) -> list[int]:
        """Return the numbers of the events up to this one."""
        found = []
        for seq, _, _ in self.events():
            found.append(seq)
            if seq == number:
                return found
        raise AssertionError(f"the stream ended at {found[-1:]}, before {number}")

    def close(self) -> None:
        """Leave."""
        self._file.close()
        self._socket.close()


@contextmanager
def reading(url: str, job_id: str, *, count: int = 1, **given: Any) -> Iterator[list[Reader]]:
    """Open streams, and leave them at the end."""
    readers: list[Reader] = []
    try:
        for _ in range(count):
            readers.append(Reader(url, job_id, **given))  # noqa: PERF401  those that opened are closed whatever happens
        yield readers
    finally:
        for reader in readers:
            reader.close()
