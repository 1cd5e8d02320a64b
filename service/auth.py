"""Authentication: an API key (bearer token, or the X-API-Key header) names its owner.

Without keys there is one owner.
"""

import hmac
from collections.abc import Mapping
from typing import Annotated, ClassVar

from fastapi import Depends, Request

from models_store.errors import EspalierError
from models_store.settings import Settings

LOCAL_OWNER = "local"

SECURITY_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "an API key as a bearer token"},
    "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "an API key in its own header"},
}
"""For the OpenAPI document; a deployment without API_KEYS needs no key."""


class Unauthorized(EspalierError):
    """No API key was given, or an unknown one."""

    status = 401
    code = "unauthorized"
    title = "An API key is needed"
    headers: ClassVar[dict[str, str]] = {"WWW-Authenticate": 'Bearer realm="espalier"'}


def owner_of(request: Request) -> str:
    """Return the owner of the request's key; `local` if the service needs no key.

    Raises:
        Unauthorized: if a key is needed and none came, or an unknown one.
    """
    headers = request.headers
    return owner_of_key(
        request.app.state.context.owners,
        authorization=headers.get("authorization", ""),
        api_key=headers.get("x-api-key", ""),
    )


def owner_of_key(owners: Mapping[str, str], *, authorization: str, api_key: str) -> str:
    """Return the owner of the key in one of two headers, of HTTP or gRPC; `local` if the service needs no key.

    Raises:
        Unauthorized: if a key is needed and none came, or an unknown one.
    """
    if not owners:
        return LOCAL_OWNER
    given = _key_in(authorization, api_key)
    if not given:
        raise Unauthorized("send an API key, as `Authorization: Bearer KEY` or `X-API-Key: KEY`")
    found = None
    for key, owner in owners.items():  # all of them, each in constant time: timing tells nothing
        if hmac.compare_digest(key.encode(), given.encode("latin-1", "replace")):
            found = owner
    if found is None:
        raise Unauthorized("this API key is not known here; check it, or ask the operator of the service for one")
    return found


def require_metrics_key(request: Request, settings: Settings) -> None:
    """Refuse a reader of the counters who has not the key for them, if there is one.

    Raises:
        Unauthorized: without that key.
    """
    headers = request.headers
    given = _key_in(headers.get("authorization", ""), headers.get("x-api-key", "")).encode("latin-1", "replace")
    if settings.metrics_key and not hmac.compare_digest(settings.metrics_key.encode(), given):
        raise Unauthorized("send METRICS_KEY, as `Authorization: Bearer KEY`")


async def _owner(request: Request) -> str:
    return owner_of(request)


Owner = Annotated[str, Depends(_owner)]
"""Asynchronous, as every dependency that only looks at the request: a plain function would wait for a free thread."""


def _key_in(authorization: str, api_key: str) -> str:
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else api_key.strip()
