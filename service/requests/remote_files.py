"""Files of a prediction request that are given by URL: fetched from public addresses only, and only when switched on.

A name is resolved once, every address of it must be allowed, and the connection goes to the address that was checked,
so that a name can't point elsewhere in the meantime (DNS rebinding). Redirects are followed a few times, each checked
anew. Cookies are not kept, and credentials and proxies of the environment are not used. While files arrive, they count
among the bodies in flight.

EspalierError
├── UrlsAreOff (422)         PREDICT_URLS is not set
├── UrlRefused (422)         the URL, or an address behind it, is not allowed
├── UrlNotFetched (422)      the other server did not give the file
└── FilesTooLarge (413)      the files are larger than a body may be
"""

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Sequence
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from models_store.errors import FieldError, Invalid, TooLarge
from models_store.settings import Settings
from service.answers.predictions import FileAtUrl
from service.requests.bodies_in_flight import BodiesInFlight

if TYPE_CHECKING:
    import httpx

MOST_REDIRECTS = 3
MOST_AT_ONCE = 8
TIMEOUT_S = 10.0
"""for a connection, and between two packets; PREDICT_TIMEOUT_S bounds all of it"""
SCHEMES = {"http": 80, "https": 443}
MOST_URL_CHARACTERS = 2048
EMBEDDING = ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::/96", "::ffff:0:0:0/96")
"""IPv6 networks whose addresses stand for IPv4 addresses, private ones too (NAT64, 6to4, Teredo, IPv4-compatible and
IPv4-translated)"""
SPECIAL = ("fec0::/10", "5f00::/16", "3fff::/20", "192.88.99.0/24")
"""networks that Python calls global and that are not (site-local, segment routing, documentation, 6to4's relays)"""
REFUSED = tuple(map(ipaddress.ip_network, (*EMBEDDING, *SPECIAL)))
REDIRECTS = {301, 302, 303, 307, 308}

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Networks = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]


class UrlsAreOff(Invalid):
    """A file was given by URL, and this service does not fetch any."""

    code = "urls_are_off"
    title = "Inputs by URL are switched off"


class UrlRefused(Invalid):
    """The URL, or an address that its host name stands for, is not allowed."""

    code = "url_refused"
    title = "The URL is not allowed"


class UrlNotFetched(Invalid):
    """The other server did not give the file."""

    code = "url_not_fetched"
    title = "The file could not be fetched"


class FilesTooLarge(TooLarge):
    """The files of one request are larger than a body may be."""

    code = "files_too_large"
    title = "The files are too large together"


class RemoteFiles:
    """Fetches files, which `bodies` counts while they arrive."""

    def __init__(self, settings: Settings, *, bodies: BodiesInFlight) -> None:
        self._bodies = bodies
        self._is_on = settings.predict_urls
        self._networks: Networks = tuple(map(ipaddress.ip_network, settings.url_networks))
        self._most_bytes = settings.predict_max_bytes
        self._timeout_s = settings.predict_timeout_s
        self._client: httpx.AsyncClient | None = None

    async def fetched(self, examples: Sequence[Any], pointers: Sequence[str]) -> list[Any]:
        """Return the examples, each URL replaced by the bytes of its file.

        Raises:
            UrlsAreOff, UrlRefused, UrlNotFetched: naming the first input that can't be fetched.
            FilesTooLarge: if all files together are larger than a body may be.
            TooManyBodies: if this process already holds its limit of bytes of bodies.
        """
        asked = [place for place, example in enumerate(examples) if isinstance(example, FileAtUrl)]
        if not asked:
            return list(examples)
        if not self._is_on:
            message = "this service fetches no files; send the file itself, or ask its operator for PREDICT_URLS=true"
            raise UrlsAreOff(message, errors=[FieldError(pointers[asked[0]], UrlsAreOff.code, message)])
        held: dict[str, Any] = {}
        budget = _Budget(self._most_bytes, hold=lambda size_bytes: self._bodies.hold(held, size_bytes))
        at_once = asyncio.Semaphore(MOST_AT_ONCE)

        async def one(place: int) -> bytes:
            async with at_once:
                return await self._fetch(examples[place].url, pointer=f"{pointers[place]}/url", budget=budget)

        try:
            async with asyncio.timeout(self._timeout_s):
                files = await _all_or_none([one(place) for place in asked])
        except TimeoutError as error:
            raise _not_fetched(pointers[asked[0]], f"the files did not arrive within {self._timeout_s:g} s") from error
        finally:
            self._bodies.release(held)
        found = dict(zip(asked, files, strict=True))
        return [found.get(place, example) for place, example in enumerate(examples)]

    async def close(self) -> None:
        """Close the connections that are kept."""
        if self._client is not None:
            await self._client.aclose()

    async def _fetch(self, url: str, *, pointer: str, budget: "_Budget") -> bytes:
        import httpx  # noqa: PLC0415  most services never fetch anything

        if self._client is None:
            limits = httpx.Limits(max_keepalive_connections=0)  # a kept one could outlive what was checked
            no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))  # one owner's would reach another's host
            self._client = httpx.AsyncClient(
                trust_env=False, timeout=TIMEOUT_S, limits=limits, follow_redirects=False, cookies=no_cookies
            )
        try:
            for _ in range(MOST_REDIRECTS + 1):
                request = await self._checked(self._client, url, pointer=pointer)
                response = await self._client.send(request, stream=True)
                try:
                    if response.status_code not in REDIRECTS or "location" not in response.headers:
                        return await _content(response, pointer=pointer, budget=budget)
                    url = _redirected(url, response.headers["location"], pointer=pointer)
                finally:
                    await response.aclose()
        except httpx.HTTPError as error:
            raise _not_fetched(pointer, f"the other server can't be reached ({type(error).__name__})") from error
        raise _not_fetched(pointer, f"the other server redirects more than {MOST_REDIRECTS} times")

    async def _checked(self, client: "httpx.AsyncClient", url: str, *, pointer: str) -> "httpx.Request":
        """Return a request to an address of the URL's host that is allowed."""
        parts = _split(url, pointer=pointer)
        host, port = parts.hostname or "", parts.port or SCHEMES[parts.scheme]
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise _not_fetched(pointer, f"the host name {host!r} has no address") from error
        addresses = [ipaddress.ip_address(str(each[4][0]).partition("%")[0]) for each in found]
        if not addresses or not all(self._is_allowed(address) for address in addresses):
            raise _refused(pointer, f"{host!r} is not a public host; files are fetched from public addresses only")
        address = addresses[0]
        literal = f"[{address}]" if address.version == 6 else str(address)  # noqa: PLR2004  IPv6
        named = f"[{host}]" if ":" in host else host
        query = f"?{parts.query}" if parts.query else ""
        return client.build_request(
            "GET",
            f"{parts.scheme}://{literal}:{port}{parts.path or '/'}{query}",
            headers={
                "Host": named if port == SCHEMES[parts.scheme] else f"{named}:{port}",
                "User-Agent": "espalier",
                "Accept-Encoding": "identity",
            },
            extensions={"sni_hostname": host},
        )

    def _is_allowed(self, address: Address) -> bool:
        if any(address in network for network in self._networks if network.version == address.version):
            return True
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            return self._is_allowed(address.ipv4_mapped)
        is_refused = any(address in network for network in REFUSED if network.version == address.version)
        return address.is_global and not address.is_multicast and not is_refused


class _Budget:
    """Bytes that the files of one request may have together."""

    def __init__(self, most_bytes: int, *, hold: Callable[[int], None]) -> None:
        self._most_bytes = most_bytes
        self._left_bytes = most_bytes
        self._hold = hold

    def spend(self, size_bytes: int) -> None:
        self._left_bytes -= size_bytes
        if self._left_bytes < 0:
            raise FilesTooLarge(f"the files are larger than {self._most_bytes:,} bytes together; send fewer at once")
        self._hold(size_bytes)


async def _content(response: "httpx.Response", *, pointer: str, budget: _Budget) -> bytes:
    if response.status_code != 200:  # noqa: PLR2004  OK
        raise _not_fetched(pointer, f"the other server answers with status {response.status_code}")
    parts = []
    async for part in response.aiter_raw():
        budget.spend(len(part))
        parts.append(part)
    return b"".join(parts)


def _redirected(url: str, location: str, *, pointer: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError as error:  # an address in brackets that is none
        raise _refused(pointer, "the other server redirects to what is no URL") from error


async def _all_or_none(fetches: Sequence[Any]) -> list[bytes]:
    """Return what all return; the first that fails cancels the others."""
    tasks = [asyncio.ensure_future(each) for each in fetches]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _split(url: str, *, pointer: str) -> Any:  # noqa: ANN401  urllib's own
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port or an address in brackets that is none
        is_usable = False
    if not is_usable or len(url) > MOST_URL_CHARACTERS or not url.isascii() or not url.isprintable() or " " in url:
        message = f"expected an http or https URL of at most {MOST_URL_CHARACTERS:,} ASCII characters without spaces"
        raise _refused(pointer, message)
    if parts.username is not None or parts.password is not None:
        raise _refused(pointer, "a URL with a user name or a password is not fetched; use a signed URL")
    return parts


def _refused(pointer: str, message: str) -> UrlRefused:
    return UrlRefused(f"{pointer}: {message}", errors=[FieldError(pointer, UrlRefused.code, message)])


def _not_fetched(pointer: str, message: str) -> UrlNotFetched:
    return UrlNotFetched(f"{pointer}: {message}", errors=[FieldError(pointer, UrlNotFetched.code, message)])
