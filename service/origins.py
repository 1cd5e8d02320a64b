"""Refusal of requests that a web page may have sent without its user's knowledge, before any key is checked.

A page in a browser can reach every service of this machine. It is recognised by headers that browsers add and no page
can forge: the `Host` of the connection (a name that is not ours means DNS rebinding), the `Origin` of the page, and
`Sec-Fetch-Site` (https://www.w3.org/TR/fetch-metadata/). Clients other than browsers send neither of the last two.

OriginError
├── HostRefused       400  `Host` is missing, malformed, or not a name of this service
├── OriginRefused     403  the request comes from a page of another origin
└── StrangerRefused   403  a connection from another machine to a service without keys
"""

from functools import lru_cache

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from models_store import access
from models_store.errors import EspalierError
from models_store.settings import Settings
from service import problems

SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
FOREIGN_SITES = {b"cross-site", b"same-site"}
EXPOSED_HEADERS = (
    "Accept-Ranges",
    "Content-Disposition",
    "Content-Range",
    "ETag",
    "Idempotency-Replayed",
    "Location",
    "Retry-After",
    "Server-Timing",
    "WWW-Authenticate",
    "X-Request-ID",
)


class OriginError(EspalierError):
    """The source or the target of the request is refused."""

    status = 403
    code = "origin_not_allowed"
    title = "Not allowed from this source"


class HostRefused(OriginError):
    """`Host` is missing, malformed, or not a name of this service."""

    status = 400
    code = "host_not_allowed"
    title = "The service is not known by this host name"


class OriginRefused(OriginError):
    """The request comes from a page of another origin."""


class StrangerRefused(OriginError):
    """A connection from another machine to a service without keys."""

    code = "keys_not_set"
    title = "The service has no keys and answers only this machine"


def install(app: FastAPI, settings: Settings) -> None:
    """Refuse foreign hosts and origins, and answer the preflights of those that CORS_ORIGINS lists."""
    listed = access.origins_in(settings.cors_origins)
    if listed:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=sorted(listed),
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=EXPOSED_HEADERS,
            allow_private_network=True,
        )
    app.add_middleware(RefuseForeign, settings=settings)  # outside of CORS, which only adds headers


class RefuseForeign:
    """Middleware that answers a foreign request itself."""

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self._app = app
        self._has_keys = bool(settings.owners)
        self._hosts = access.hosts_in(settings.allowed_hosts)
        self._origins = access.origins_in(settings.cors_origins)
        self._is_ours = lru_cache(maxsize=256)(self._names_us)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await problems.respond(refusal, instance=scope["path"])(scope, receive, send)

    def _refusal(self, scope: Scope) -> OriginError | None:
        hosts, origins, sites = [], [], []
        for name, value in scope["headers"]:
            if name == b"host":
                hosts.append(value)
            elif name == b"origin":
                origins.append(value)
            elif name == b"sec-fetch-site":
                sites.append(value)
        local_address = (scope.get("server") or ("",))[0]
        if not self._has_keys and access.is_reachable(local_address):
            return StrangerRefused("this service has no API keys, so it answers only connections from its own machine")
        if len(hosts) != 1:
            if hosts or scope["http_version"] != "1.0":
                return HostRefused(f"the request has {len(hosts)} Host headers; send one")
            hosts = [b"localhost"]  # HTTP/1.0 needs none, and no browser speaks it
        host = hosts[0].decode("latin-1")
        if not self._is_ours(host):
            known = ", ".join(sorted({"localhost", "127.0.0.1", "[::1]"} | self._hosts))
            return HostRefused(
                f"the Host header is {host[:200]!r}, but this service answers to {known}; its operator can add a name "
                "to ALLOWED_HOSTS"
            )
        return self._refusal_of_page([each.decode("latin-1") for each in origins], sites, host, scope["method"])

    def _refusal_of_page(self, origins: list[str], sites: list[bytes], host: str, method: str) -> OriginRefused | None:
        if len(origins) == 1 and origins[0] in self._origins:
            return None
        foreign = [origin for origin in origins if not access.is_same_origin(origin, host)]
        if not foreign and (method in SAFE_METHODS or not FOREIGN_SITES.intersection(sites)):
            return None
        page = f"a page of {foreign[0][:200]!r}" if foreign else "a page of another site"
        return OriginRefused(f"{page} may not call this service; the operator can add its origin to CORS_ORIGINS")

    def _names_us(self, authority: str) -> bool:
        host = access.host_of(authority)
        if host is None:
            return False
        return access.is_loopback(host) or host in self._hosts or access.ANY_HOST in self._hosts
