"""request bodies: read up to a cap, parsed strictly, checked against a model with pointers into what was given."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, TypeVar

import orjson
from fastapi import Request
from pydantic import BaseModel, ValidationError

from models_store.errors import FieldError, Invalid, TooLarge, UnsupportedType
from models_store.spec.explain import explain
from service.problems import MalformedRequest

DEEPEST = 64
"""Levels of nesting that a JSON body may have; a spec needs 6."""

Checked = TypeVar("Checked", bound=BaseModel)


class BodyTooLarge(TooLarge):
    """The body is over its cap."""

    code = "body_too_large"


class WrongContentType(UnsupportedType):
    """This call does not read that content type."""


class InvalidBody(Invalid):
    """The body is JSON, and not what this call takes; `errors` says where."""

    code = "invalid_body"
    title = "The body can't be used"


def content_type(request: Request) -> str:
    """Return the media type of the body, in lower case and without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read(request: Request, *, max_bytes: int) -> bytes:
    """Return the whole body.

    Raises:
        BodyTooLarge: as soon as more came than `max_bytes`, whatever Content-Length said.
    """
    check_length(request, max_bytes=max_bytes)
    chunks, size_bytes = [], 0
    async for chunk in request.stream():
        size_bytes += len(chunk)
        if size_bytes > max_bytes:
            raise too_large(max_bytes)
        chunks.append(chunk)
    return b"".join(chunks) if len(chunks) != 1 else chunks[0]


def check_length(request: Request, *, max_bytes: int) -> None:
    """Refuse a body whose Content-Length is over the cap, before any of it is read."""
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared[:20]) > max_bytes:
        raise too_large(max_bytes)


def too_large(max_bytes: int) -> BodyTooLarge:
    """Return the error for a body over its cap."""
    return BodyTooLarge(f"the body is larger than the {max_bytes} bytes that may come; send less")


async def read_json(request: Request, *, max_bytes: int) -> bytes:
    """Return the body of a call that takes JSON alone.

    Raises:
        WrongContentType: if it says that it is something else.
        BodyTooLarge: as `read` does.
    """
    given = content_type(request)
    if given not in {"", "application/json"} and not (given.startswith("application/") and given.endswith("+json")):
        raise WrongContentType(f"{given!r} is not read here; send application/json")
    return await read(request, max_bytes=max_bytes)


def parse(body: bytes) -> Any:  # noqa: ANN401  any JSON
    """Return what strict JSON says (RFC 8259): no NaN, no infinity, no duplicate keys, not too deep, UTF-8.

    Raises:
        MalformedRequest: saying what is wrong and where.
    """
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedRequest(f"the body is not JSON: {error}{_no_numbers_told(body)}") from error
    _check_depth(given)
    json.loads(body, object_pairs_hook=_unique, parse_int=str, parse_float=str)
    return given


def _no_numbers_told(body: bytes) -> str:
    """Return that JSON has no NaN and no infinity, if one of them is all that is wrong."""
    names: list[str] = []
    with suppress(ValueError, RecursionError):  # something else is wrong, and told already
        json.loads(body, parse_constant=names.append)
        return f"; JSON has no {names[0]} (RFC 8259, section 6): leave the field out, or give a number" if names else ""
    return ""


def check(model: type[Checked], given: Any) -> Checked:  # noqa: ANN401  any JSON
    """Return the model that was given.

    Raises:
        InvalidBody: with one error for each fault, naming the nearest key of an unknown one.
    """
    with faults_told(model, given):
        return model.model_validate(given)


@contextmanager
def faults_told(model: type[BaseModel], given: Any, *, below: str = "") -> Iterator[None]:  # noqa: ANN401  any JSON
    """Turn pydantic's complaint about `given` into InvalidBody, with pointers into it and what `model` allows there.

    When the body is but a part of `given`, `below` is the pointer to it: what is told points into the body. What is
    wrong elsewhere is told of the whole body, with its place in words.
    """
    try:
        yield
    except ValidationError as error:
        errors = [_told_below(FieldError(**fault), below) for fault in explain(error, model, given)]
        first = errors[0]
        others = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise InvalidBody(f"{first.pointer or 'the body'}: {first.message}{others}", errors=errors) from error


def _told_below(fault: FieldError, below: str) -> FieldError:
    if f"{fault.pointer}/".startswith(f"{below}/"):
        return replace(fault, pointer=fault.pointer.removeprefix(below))
    return replace(fault, pointer="", message=f"{fault.pointer}: {fault.message}")


def _check_depth(given: Any) -> None:  # noqa: ANN401  any JSON
    level, depth = [given], 0
    while level := [
        child
        for node in level
        if isinstance(node, dict | list)
        for child in (node.values() if isinstance(node, dict) else node)
    ]:
        depth += 1
        if depth > DEEPEST:
            raise MalformedRequest(f"the body is nested deeper than {DEEPEST} levels")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise MalformedRequest(f"the key {twice!r} stands twice in one object; keep one")
    return found
