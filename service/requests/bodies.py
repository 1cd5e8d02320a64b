"""Request bodies: read up to a limit, parsed strictly, and validated with pointers into the given document.

A body in memory counts against the process's limit from its first byte on, with its Content-Length if it has one.
Therefore it must also keep a minimum speed.

BodyTooLarge 413 · BodyTooSlow 408 · WrongContentType 415 · InvalidBody 422
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.types import Message

from models_store.errors import EspalierError, FieldError, Invalid, TooLarge, UnsupportedType
from models_store.spec.explain import MOST_FAULTS, explain
from models_store.wording import counted
from service.context import context_of
from service.requests.strict_json import parse

GRACE_S = 30.0
LEAST_BYTES_PER_S = 16 << 10
"""Minimum speed of a body after GRACE_S: slower than any connection that is still in use."""
LARGE_BYTES = 256 << 10
"""Number of bytes from which a body is joined and parsed in a thread."""

Checked = TypeVar("Checked", bound=BaseModel)


class BodyTooLarge(TooLarge):
    """The body is over its limit."""

    code = "body_too_large"


class BodyTooSlow(EspalierError):
    """The body arrives so slowly that it would block its place for hours."""

    status = 408
    code = "body_too_slow"
    title = "The body arrived too slowly"


class WrongContentType(UnsupportedType):
    """This call does not read that content type."""


class InvalidBody(Invalid):
    """The body is JSON that this call does not accept; `errors` has the places."""

    code = "invalid_body"
    title = "The body can't be used"


def content_type(request: Request) -> str:
    """Return the media type of the body, in lower case and without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def what_came(given: str) -> str:
    """Return the start of a message about a content type that is not read."""
    return f"the content type {given[:100]!r} is not read here" if given else "the body came without a content type"


async def read(request: Request, *, max_bytes: int) -> bytes:
    """Return the whole body.

    Raises:
        BodyTooLarge, BodyTooSlow, TooManyBodies: as `chunks` does.
    """
    return await joined([part async for part in chunks(request, max_bytes=max_bytes)])


async def joined(parts: list[bytes]) -> bytes:
    """Return the joined parts of a body; a large body is joined in a thread, so that no other request waits."""
    if len(parts) == 1:
        return parts[0]
    return await run_in_threadpool(b"".join, parts) if sum(map(len, parts)) > LARGE_BYTES else b"".join(parts)


async def parsed(request: Request, body: bytes) -> Any:  # noqa: ANN401  any JSON
    """Return the result of `strict_json.parse` for a body; a large body is parsed in one of a few threads.

    Raises:
        MalformedRequest: as that does.
    """
    if len(body) <= LARGE_BYTES:
        return parse(body)
    limiter = context_of(request).threads.parsers
    return await anyio.to_thread.run_sync(parse, body, limiter=limiter)


async def chunks(request: Request, *, max_bytes: int) -> AsyncIterator[bytes]:
    """Yield the body as it arrives, for a caller that keeps all of it in memory.

    Raises:
        BodyTooLarge: as soon as more than `max_bytes` arrived, whatever Content-Length is.
        BodyTooSlow: if it is slower than the minimum speed.
        TooManyBodies: if this process already holds its limit of bytes of bodies.
    """
    bodies, loop = context_of(request).bodies, asyncio.get_running_loop()
    held_bytes = check_length(request, max_bytes=max_bytes)
    bodies.hold(request.scope, held_bytes)
    started_s, size_bytes, more = loop.time(), 0, True
    while more:
        if size_bytes == 0:  # nearly every body is here already, or soon; the server gives up on one that never begins
            message = await request.receive()
        else:
            message = await _received_in_time(request, size_bytes, started_s=started_s)
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        more = message.get("more_body", False)
        if part := message.get("body", b""):
            size_bytes += len(part)
            if size_bytes > max_bytes:
                raise too_large(max_bytes)
            if size_bytes > held_bytes:
                bodies.hold(request.scope, size_bytes - held_bytes)
                held_bytes = size_bytes
            yield part


async def _received_in_time(request: Request, size_bytes: int, *, started_s: float) -> Message:
    try:
        async with asyncio.timeout_at(started_s + GRACE_S + size_bytes / LEAST_BYTES_PER_S):
            return await request.receive()
    except TimeoutError as error:
        raise BodyTooSlow(
            f"after {counted(size_bytes, 'byte')} the rest of the body arrived at less than {LEAST_BYTES_PER_S} bytes "
            "per second; send it faster, or send less at once"
        ) from error


def check_length(request: Request, *, max_bytes: int) -> int:
    """Return the body's Content-Length, 0 without one; refuse one over the limit before any of it is read."""
    declared = request.headers.get("content-length", "")
    if not declared.isascii() or not declared.isdigit():
        return 0
    size_bytes = int(declared[:20])
    if size_bytes > max_bytes:
        raise too_large(max_bytes)
    return size_bytes


def too_large(max_bytes: int) -> BodyTooLarge:
    """Return the error for a body over its limit."""
    return BodyTooLarge(f"the body is larger than the allowed {counted(max_bytes, 'byte')}; send less")


async def read_json(request: Request, *, max_bytes: int, types: Sequence[str] = ("application/json",)) -> bytes:
    """Return the body of a call that takes only JSON, with one of the media types.

    Raises:
        WrongContentType: if it has another content type.
        BodyTooLarge: as `read` does.
    """
    given = content_type(request)
    if given not in types:  # none at all is what a foreign page's form can send without asking
        raise WrongContentType(f"{what_came(given)}; send {' or '.join(types)}")
    return await read(request, max_bytes=max_bytes)


async def read_optional_json(request: Request, *, max_bytes: int) -> bytes:
    """Return the body of a call that takes JSON or no body; no body needs no content type.

    Raises:
        WrongContentType: if a body came without the content type of JSON.
        BodyTooLarge: as `read` does.
    """
    if content_type(request):
        return await read_json(request, max_bytes=max_bytes)
    body = await read(request, max_bytes=max_bytes)
    if body:
        raise WrongContentType("a body came without a content type; send application/json, or no body")
    return body


def check(model: type[Checked], given: Any) -> Checked:  # noqa: ANN401  any JSON
    """Return the model that was given.

    Raises:
        InvalidBody: with one error for each fault, naming the nearest key of an unknown one.
    """
    with reporting_faults(model, given):
        return model.model_validate(given)


@contextmanager
def reporting_faults(model: type[BaseModel], given: Any, *, below: str = "") -> Iterator[None]:  # noqa: ANN401  any JSON
    """Turn pydantic's error about `given` into InvalidBody, with pointers into it and what `model` allows there.

    If the body is only a part of `given`, `below` is the pointer to it, and errors point into the body. Errors
    elsewhere belong to the whole body, with their place in words.
    """
    try:
        yield
    except ValidationError as error:
        errors = [_pointing_below(FieldError(**fault), below) for fault in explain(error, model, given)]
        first = errors[0]
        count = len(errors) if error.error_count() <= MOST_FAULTS else error.error_count()
        others = f" (and {count - 1} more)" if count > 1 else ""
        raise InvalidBody(f"{first.pointer or 'the body'}: {first.message}{others}", errors=errors) from error


def _pointing_below(fault: FieldError, below: str) -> FieldError:
    if f"{fault.pointer}/".startswith(f"{below}/"):
        return replace(fault, pointer=fault.pointer.removeprefix(below))
    return replace(fault, pointer="", message=f"{fault.pointer}: {fault.message}")
