"""Compression of text answers above 1 KB, if the client asks for it: JSON, pages, CSV, SVG; and of binary tensors.

Not compressed are files that are already packed (PNG, archives), ONNX files (fp32 weights shrink by only 8 %, and
clients request parts of them by `Range`), events, which must not wait, and every answer to a `Range`. A compressed
answer has a weak ETag, because it is the same content in other bytes.
"""

import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import Protocol

import brotli
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models_store.archives import zstd
from models_store.errors import EspalierError
from service import problems
from service.negotiation import qualities

LEAST_DIGITS = 4
LEAST_COMPRESSED_BYTES = 10 ** (LEAST_DIGITS - 1)
"""Number of bytes from which an answer is compressed, and its number of digits, which costs less to look at."""
LONG_BYTES = 32 << 10
"""Number of bytes from which an answer is compressed in a thread, so that it does not delay other requests."""
ZSTD_LEVEL, BROTLI_QUALITY, ZLIB_LEVEL = 3, 4, 4
GZIP = 16 + zlib.MAX_WBITS
LONGEST_HEADER = 1000
UNTOUCHED_STATUSES = {204, 206, 304}
TEXTS = {
    "application/javascript",
    "application/json",
    "application/openapi+json",
    "application/problem+json",
    "application/schema+json",
    "application/x-ndjson",
    "application/jsonl",
    "application/xml",
    "application/yaml",
    "image/svg+xml",
}
EVENTS = "text/event-stream"


class EncodingNotAcceptable(EspalierError):
    """The client accepts neither an available coding nor the plain answer."""

    status = 406
    code = "encoding_not_acceptable"
    title = "No content coding is acceptable"


class Pack(Protocol):
    """A compressor of one answer."""

    def __call__(self, data: bytes, *, ends: bool, flushes: bool) -> bytes:
        """Take more of the answer and return what it adds; `flushes`: everything so far."""
        ...


def _zlib(wbits: int) -> Pack:
    packer = zlib.compressobj(ZLIB_LEVEL, wbits=wbits)

    def pack(data: bytes, *, ends: bool, flushes: bool) -> bytes:
        packed = packer.compress(data)
        if ends or flushes:
            packed += packer.flush(zlib.Z_FINISH if ends else zlib.Z_SYNC_FLUSH)
        return packed

    return pack


def _brotli() -> Pack:
    packer = brotli.Compressor(quality=BROTLI_QUALITY)

    def pack(data: bytes, *, ends: bool, flushes: bool) -> bytes:
        packed = bytes(packer.process(data))
        if ends or flushes:
            packed += packer.finish() if ends else packer.flush()
        return packed

    return pack


def _zstd() -> Pack:
    packer = zstd.ZstdCompressor(ZSTD_LEVEL)

    def pack(data: bytes, *, ends: bool, flushes: bool) -> bytes:
        if ends:
            return packer.compress(data, packer.FLUSH_FRAME)
        return packer.compress(data, packer.FLUSH_BLOCK if flushes else packer.CONTINUE)

    return pack


MAKERS: dict[str, Callable[[], Pack]] = {
    "zstd": _zstd,  # the first of equals is taken: it costs a quarter of gzip's time
    "br": _brotli,
    "gzip": lambda: _zlib(GZIP),
    "deflate": lambda: _zlib(zlib.MAX_WBITS),
}


@lru_cache(maxsize=256)
def wanted_coding(header: bytes) -> tuple[str | None, bool]:
    """Return the coding that an Accept-Encoding prefers, if any, and whether the plain answer is accepted."""
    given = qualities(header[:LONGEST_HEADER].decode("latin-1"))
    if "x-gzip" in given:
        given.setdefault("gzip", given["x-gzip"])
    others = given.get("*", 0.0)
    plain = given.get("identity")
    best = max(MAKERS, key=lambda coding: given.get(coding, others))
    quality = given.get(best, others)
    takes_plain = plain > 0 if plain is not None else given.get("*") != 0
    return (best if quality > 0 and quality >= (plain or 0) else None), takes_plain


class CompressAnswers:
    """Middleware that compresses answers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request that `scope` describes."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given, known_tags, has_range = b"", b"", False
        for name, value in scope["headers"]:
            if name == b"accept-encoding":
                given = given + b"," + value if given else value
            elif name == b"if-none-match":
                known_tags = value
            elif name == b"range":
                has_range = True
        coding, takes_plain = wanted_coding(given) if given else (None, True)
        if coding is None and not takes_plain:
            refusal = EncodingNotAcceptable(
                f"Accept-Encoding refuses every available coding of the answer; accept one of {', '.join(MAKERS)}, or "
                "identity"
            )
            await problems.respond(refusal, instance=scope["path"])(scope, receive, send)
            return
        answer = _Answer(send, None if has_range else coding, takes_plain=takes_plain, known_tags=known_tags)
        await self._app(scope, receive, answer.send)


class _Answer:
    """One answer on its way out."""

    __slots__ = ("_coding", "_flushes", "_known_tags", "_pack", "_send", "_start", "_takes_plain")

    def __init__(self, send: Send, coding: str | None, *, takes_plain: bool, known_tags: bytes) -> None:
        self._send = send
        self._coding = coding
        self._takes_plain = takes_plain
        self._known_tags = known_tags
        self._start: Message | None = None  # held back until it is known whether one part is all of the answer
        self._pack: Pack | None = None
        self._flushes = False

    async def send(self, message: Message) -> None:
        """Pass a part of the answer on."""
        if message["type"] == "http.response.start":
            if not self._is_packed(message):
                await self._send(message)
        elif self._start is not None:
            await self._send_first(message)
        elif self._pack is not None:
            await self._send_part(message)
        else:
            await self._send(message)

    def _is_packed(self, start: Message) -> bool:
        """Decide about an answer by its head; the head of a compressed one is held back."""
        if start["status"] in UNTOUCHED_STATUSES:
            self._repeat_weak_tag(start)
            return False
        media_type = length = b""
        is_fixed = has_tensors = False
        for name, value in start["headers"]:
            if name == b"content-length":
                if len(value) < LEAST_DIGITS and self._takes_plain:
                    return False  # the most usual answer, and the one that may cost least
                length = value
            elif name == b"content-type":
                media_type = value
            elif name in {b"content-encoding", b"content-range"}:
                is_fixed = True
            elif name == b"inference-header-content-length":
                has_tensors = True
        if is_fixed or not (has_tensors or _is_text(media_type)):
            return False
        MutableHeaders(raw=start["headers"]).add_vary_header("Accept-Encoding")
        if self._coding is None or (length and int(length) == 0):
            return False
        self._start = start
        self._flushes = not length
        return True

    async def _send_first(self, message: Message) -> None:
        start, self._start = self._start, None
        assert start is not None
        assert self._coding is not None
        headers = MutableHeaders(raw=start["headers"])
        pack = MAKERS[self._coding]()
        is_whole = not message.get("more_body", False)
        body = message.get("body", b"")
        packed = await self._packed(pack, body, ends=is_whole)
        if is_whole and len(packed) >= len(body) and self._takes_plain:
            await self._send(start)
            await self._send(message)
            return
        headers["Content-Encoding"] = self._coding
        if (tag := headers.get("etag")) is not None and not tag.startswith("W/"):
            headers["ETag"] = f"W/{tag}"
        del headers["Accept-Ranges"]
        if is_whole:
            headers["Content-Length"] = str(len(packed))
        else:
            del headers["Content-Length"]
            self._pack = pack
        await self._send(start)
        await self._send({**message, "body": packed})

    async def _send_part(self, message: Message) -> None:
        assert self._pack is not None
        body, ends = message.get("body", b""), not message.get("more_body", False)
        packed = await self._packed(self._pack, body, ends=ends) if body or ends else b""
        if packed or ends:
            await self._send({**message, "body": packed})

    async def _packed(self, pack: Pack, body: bytes, *, ends: bool) -> bytes:
        if len(body) > LONG_BYTES:
            return await run_in_threadpool(pack, body, ends=ends, flushes=self._flushes)
        return pack(body, ends=ends, flushes=self._flushes)

    def _repeat_weak_tag(self, start: Message) -> None:
        """Answer a client that has the compressed content with the tag of that content."""
        headers = MutableHeaders(raw=start["headers"])
        tag = headers.get("etag", "")
        if self._known_tags and f"W/{tag}".encode("latin-1") in [each.strip() for each in self._known_tags.split(b",")]:
            headers["ETag"] = f"W/{tag}"
            headers.add_vary_header("Accept-Encoding")


@lru_cache(maxsize=64)
def _is_text(content_type: bytes) -> bool:
    media_type = content_type.partition(b";")[0].strip().lower().decode("latin-1")
    return media_type in TEXTS or (media_type.startswith("text/") and media_type != EVENTS)
