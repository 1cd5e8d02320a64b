"""Compressed request bodies: unpacked as they arrive, in small steps, before any route sees them.

A route reads the unpacked body and applies its limits to it, so that a bomb is stopped when the limit is reached. It
sees neither Content-Encoding nor the compressed length.

UnknownCoding   415  an unknown coding, or several at once; `Accept-Encoding` of the answer names the known ones
BrokenCoding    400  the body is not what Content-Encoding says, ends too early, or goes on behind its end
TooCompressed   413  the body unpacks to far more bytes than arrived
"""

import asyncio
import zlib
from collections.abc import Callable
from typing import ClassVar

import brotli
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models_store.archives import decompression
from models_store.archives.decompression import Decompressor, Inflator, zstd_decompressor
from models_store.errors import FieldError, TooLarge, UnsupportedType
from models_store.wording import counted
from service.problems import MalformedRequest

WITH_BODY = {"POST", "PUT", "PATCH", "DELETE"}
READ = ("gzip", "deflate", "br", "zstd")
ALIASES = {"x-gzip": "gzip"}
IDENTITY = "identity"
STEP_BYTES = 64 << 10
"""Approximate number of bytes that one step unpacks; other requests get their turn after each step."""
ZSTD_WINDOW_LOG = 23  # 8 MiB, which RFC 9659 sets as the most for this use
RATIO = 100
RATIO_FREE_BYTES = 16 << 20
MOST_FRUITLESS_BYTES = 1 << 20
"""Largest number of compressed bytes in a row that unpack to nothing: an endless header, empty blocks."""
FREE_STREAMS = 1024
LEAST_STREAM_BYTES = 1024


class UnknownCoding(UnsupportedType):
    """The body has an unknown coding."""

    code = "unsupported_content_encoding"
    title = "Unsupported content coding"
    headers: ClassVar[dict[str, str]] = {"Accept-Encoding": ", ".join(READ)}

    def __init__(self, detail: str) -> None:
        fault = FieldError("header:Content-Encoding", self.code, detail, allowed=[*READ, IDENTITY])
        super().__init__(detail, errors=[fault])


class BrokenCoding(MalformedRequest):
    """The body is not what Content-Encoding says."""

    code = "content_encoding_broken"


class TooCompressed(TooLarge):
    """The body unpacks to far more bytes than arrived."""

    code = "content_encoding_ratio"


class UnpackBodies:
    """Middleware that unpacks compressed bodies."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request that `scope` describes."""
        if scope["type"] == "http" and scope["method"] in WITH_BODY:
            for name, _ in scope["headers"]:
                if name == b"content-encoding":
                    receive = _unpacking(scope, receive)
                    break
        await self._app(scope, receive, send)


def _unpacking(scope: Scope, receive: Receive) -> Receive:
    """Return a `receive` that gives the unpacked body, and remove the headers about its coding."""
    given = b",".join(value for name, value in scope["headers"] if name == b"content-encoding").decode("latin-1")
    names = (name.strip().lower() for name in given.split(","))
    codings = [ALIASES.get(name, name) for name in names if name and name != IDENTITY]
    if not codings:
        return receive
    dropped = {b"content-encoding", b"content-length"}
    scope["headers"] = [pair for pair in scope["headers"] if pair[0] not in dropped]
    return _Unpacking(receive, codings).receive


class _Brotli:
    """A reader of a brotli stream, with the interface of the others."""

    unused_data = b""  # what comes behind the end is an error to it

    def __init__(self) -> None:
        self._reader = brotli.Decompressor()

    @property
    def eof(self) -> bool:
        return bool(self._reader.is_finished())

    @property
    def needs_input(self) -> bool:
        return bool(self._reader.can_accept_more_data())

    def decompress(self, data: bytes, /, max_length: int = -1) -> bytes:
        return bytes(self._reader.process(data, output_buffer_limit=max_length))


def _deflate(head: bytes) -> Decompressor:
    """Return a reader of `deflate`: zlib's format, or the bare stream that some clients send instead."""
    is_zlib = len(head) > 1 and head[0] & 0x0F == zlib.DEFLATED and int.from_bytes(head[:2]) % 31 == 0
    return Inflator(zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS)


MAKERS: dict[str, Callable[[bytes], Decompressor]] = {
    "gzip": lambda _head: Inflator(),
    "deflate": _deflate,
    "br": lambda _head: _Brotli(),
    "zstd": lambda _head: zstd_decompressor(ZSTD_WINDOW_LOG),
}
IN_SERIES = {"gzip", "zstd"}
"""Whose streams may follow each other."""
HEAD_BYTES = 2


class _Unpacking:
    """One body on its way in."""

    def __init__(self, receive: Receive, codings: list[str]) -> None:
        self._receive = receive
        self._codings = codings
        self._reader: Decompressor | None = None
        self._waiting = b""
        self._more_comes = True
        self._has_ended = False
        self._came_bytes = 0
        self._fruitless_bytes = 0
        self._unpacked_bytes = 0
        self._streams = 0

    async def receive(self) -> Message:
        """Return the next part of the unpacked body.

        Raises:
            UnknownCoding, BrokenCoding, TooCompressed: if it can't be unpacked, or not within the limits.
        """
        if self._has_ended:
            return await self._receive()
        if len(self._codings) > 1 or self._codings[0] not in READ:
            given = ", ".join(self._codings)[:100]
            raise UnknownCoding(
                f"Content-Encoding is {given!r}; send the body in one of {', '.join(READ)}, or uncompressed"
            )
        while True:
            piece = self._step()
            if piece:
                await asyncio.sleep(0)
                return {"type": "http.request", "body": piece, "more_body": True}
            if self._reader is not None and self._reader.eof and self._waiting:
                continue  # the next of several streams
            if not self._more_comes:
                self._refuse_half()
                self._has_ended = True
                return {"type": "http.request", "body": b"", "more_body": False}
            message = await self._receive()
            if message["type"] != "http.request":
                return message
            self._more_comes = message.get("more_body", False)
            self._take(message.get("body", b""))

    def _take(self, data: bytes) -> None:
        self._waiting += data
        self._came_bytes += len(data)
        self._fruitless_bytes += len(data)
        if self._fruitless_bytes > MOST_FRUITLESS_BYTES + len(data):
            raise BrokenCoding(f"more than {MOST_FRUITLESS_BYTES} successive bytes of the body unpack to nothing")

    def _step(self) -> bytes:
        coding, reader = self._codings[0], self._reader
        if (reader is None or reader.eof) and not self._waiting:
            return b""
        if reader is None and len(self._waiting) < HEAD_BYTES and self._more_comes:
            return b""
        if reader is None or reader.eof:
            reader = self._reader = self._next_stream(coding)
        data, self._waiting = self._waiting, b""
        try:
            piece = reader.decompress(data, max_length=STEP_BYTES)
        except (*decompression.DAMAGE, brotli.error) as error:
            hint = "its window is over 8 MiB" if decompression.MEMORY_SHORT.search(str(error)) else "it is damaged"
            raise BrokenCoding(f"Content-Encoding is {coding}, and the body can't be unpacked so: {hint}") from error
        if reader.eof:
            self._waiting = reader.unused_data
        if piece:
            self._fruitless_bytes = 0
            self._unpacked_bytes += len(piece)
            if self._unpacked_bytes > max(RATIO_FREE_BYTES, RATIO * self._came_bytes):
                raise TooCompressed(
                    f"the body unpacks from {self._came_bytes} to more than {self._unpacked_bytes} bytes; at most "
                    f"{RATIO} for each byte are allowed"
                )
        return piece

    def _next_stream(self, coding: str) -> Decompressor:
        self._streams += 1
        if self._streams > 1 and coding not in IN_SERIES:
            raise BrokenCoding(f"the body continues after the end of its {coding} stream")
        if self._streams > FREE_STREAMS + self._unpacked_bytes // LEAST_STREAM_BYTES:
            raise BrokenCoding(f"{self._streams} streams unpack to only {counted(self._unpacked_bytes, 'byte')}")
        return MAKERS[coding](self._waiting)

    def _refuse_half(self) -> None:
        """Refuse a body that ends inside of a stream; one without any byte is an empty body in every coding."""
        if self._came_bytes and (self._reader is None or not self._reader.eof):
            raise BrokenCoding(f"the body ends before its {self._codings[0]} stream does; send it again")
