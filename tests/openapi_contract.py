"""Validation of the answers that tests get against docs/openapi.json: what is documented is what is answered."""

import re
from collections.abc import Sequence
from copy import deepcopy
from functools import cache
from typing import Any

import httpx
import jsonschema_rs
import orjson

from service import openapi
from service.problems import MEDIA_TYPE as PROBLEM
from service.protocol.errors import is_protocol

REFUSED_ANYWHERE = {400, 403, 405, 406, 408, 414, 415, 422, 431, 500}
"""Statuses of any call, as the document's own description says; those that concern a call are documented with it."""


@cache
def document() -> dict[str, Any]:
    """Return the OpenAPI document."""
    return dict(orjson.loads(openapi.SNAPSHOT.read_bytes()))


@cache
def _paths() -> list[tuple[re.Pattern[str], str]]:
    """Return the paths' patterns, those with most of their own letters first: a verb's path before its thing's."""
    paths = sorted(document()["paths"], key=lambda path: -len(re.sub(r"\{\w+\}", "", path)))
    return [(re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path))), path) for path in paths]


@cache
def _closed_components() -> dict[str, Any]:
    """Return the components, whose objects may have no other keys than those documented."""
    schemas = deepcopy(document()["components"]["schemas"])
    for schema in schemas.values():
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
    return {"schemas": schemas}


@cache
def validator(*place: str) -> Any:
    """Return the validator of the schema at a place in the document."""
    schema = document()
    for step in place:
        schema = schema[step]
    return jsonschema_rs.Draft202012Validator(schema | {"components": _closed_components()}, validate_formats=True)


def faults(place: Sequence[str], value: Any) -> list[str]:
    """Return what of a value its schema does not allow."""
    found = validator(*place).iter_errors(value)
    return [f"{'/'.join(map(str, fault.instance_path))}: {fault.message[:500]}" for fault in found]


def check(answer: httpx.Response) -> None:
    """Fail where an answer is not as its operation documents it; for `event_hooks` of a client."""
    path = answer.request.url.path
    template = next((template for pattern, template in _paths() if pattern.fullmatch(path)), None)
    method, status = answer.request.method.lower(), str(answer.status_code)
    operation = document()["paths"].get(template, {}).get(method)
    media = answer.headers.get("content-type", "").partition(";")[0]
    if operation is None:
        return
    called = f"{operation['operationId']} answered {status} {media}"
    documented = operation["responses"].get(status)
    if documented is None:
        assert answer.status_code in REFUSED_ANYWHERE, f"{called}, which is not documented"
        media_type, shape = ("application/json", "ProtocolFault") if is_protocol(path) else (PROBLEM, "Problem")
        assert media == media_type, called
        place = ("components", "schemas", shape)
    else:
        content = documented.get("content", {})
        assert media in content or not (content or answer.headers.get("content-length", "0") != "0"), (
            f"{called}; documented are {list(content)}"
        )
        place = ("paths", template or "", method, "responses", status, "content", media, "schema")
    if media in {"application/json", PROBLEM} and method != "head" and answer.read():
        found = faults(place, orjson.loads(answer.content))
        assert not found, f"{called} against its schema: {found[:5]}"
