"""Access to the service and by it: API_KEYS, ALLOWED_HOSTS, CORS_ORIGINS and PREDICT_URL_NETWORKS, parsed strictly.

A message about keys names the position of an entry and never its content, because a malformed entry may be a key.
"""

import ipaddress
import re
from urllib.parse import urlsplit

SHORTEST_KEY, LONGEST_KEY = 16, 512
ANY_HOST = "*"

OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
KEY = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # what a bearer token may have: RFC 6750, section 2.1
HOST_NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
AUTHORITY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\[\]:/?#@\s]+)(:(?P<port>[0-9]{1,5}))?")
DEFAULT_PORTS = {"http": 80, "https": 443}


def owners_in(api_keys: str) -> dict[str, str]:
    """Return key → owner of `owner:key,owner:key`; empty text: nobody needs a key.

    Raises:
        ValueError: if an entry is malformed, a key is shorter than 16 characters, or two entries have the same key.
    """
    if not api_keys:
        return {}
    entries = [entry.strip() for entry in api_keys.split(",")]
    owners: dict[str, str] = {}
    for number, entry in enumerate(entries, start=1):
        where = f"API_KEYS, entry {number} of {len(entries)}"
        owner, _, key = entry.partition(":")
        if not OWNER.fullmatch(owner) or not key:
            raise ValueError(
                f"{where} is not in the format `owner:key`; an owner has 1 to 64 letters, digits and `.`, `_`, `@`, `-`"
            )
        if not KEY.fullmatch(key):
            raise ValueError(f"{where}: a key has letters, digits and `.`, `_`, `~`, `+`, `/`, `-`, `=` at its end")
        if not SHORTEST_KEY <= len(key) <= LONGEST_KEY:
            raise ValueError(
                f"{where}: a key has {SHORTEST_KEY} to {LONGEST_KEY} characters, this one has {len(key)}; "
                "`openssl rand -hex 16` makes one"
            )
        if key in owners:
            raise ValueError(f"{where} has the same key as an earlier entry; give each entry a different key")
        owners[key] = owner
    return owners


def hosts_in(allowed_hosts: str) -> frozenset[str]:
    """Return the host names of `name,name`, in lower case; `*` stands for all.

    Raises:
        ValueError: if an entry is no name or address of a host.
    """
    return frozenset(_host(entry.strip()) for entry in allowed_hosts.split(",")) if allowed_hosts else frozenset()


def origins_in(cors_origins: str) -> frozenset[str]:
    """Return the origins of `https://name,http://name:port`, as browsers write them.

    Raises:
        ValueError: if an entry is no origin of http or https.
    """
    return frozenset(_origin(entry.strip()) for entry in cors_origins.split(",")) if cors_origins else frozenset()


def networks_in(networks: str) -> list[str]:
    """Return the networks of `10.1.0.0/16,192.168.7.20`, each with the length of its prefix.

    Raises:
        ValueError: if an entry is no network or address.
    """
    return [_network(entry.strip()) for entry in networks.split(",")] if networks else []


def host_of(authority: str) -> str | None:
    """Return the host of a `Host` header in lower case, without its port; None when the header is malformed."""
    found = AUTHORITY.fullmatch(authority)
    return found["host"].lower().removesuffix(".") or None if found else None


def is_loopback(host: str) -> bool:
    """Return whether a host is a loopback name: `localhost`, 127.0.0.0/8 or ::1."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def is_reachable(address: str) -> bool:
    """Return whether other machines may reach a socket of this IP address; false if it is not an address."""
    try:
        return not ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def address_of(setting: str) -> str:
    """Return the IP address that a setting is.

    Raises:
        ValueError: if it is none.
    """
    try:
        return str(ipaddress.ip_address(setting))
    except ValueError as error:
        raise ValueError(
            f"GRPC_HOST is {setting!r}, and must be an IP address, such as 127.0.0.1 or 0.0.0.0"
        ) from error


def is_same_origin(origin: str, authority: str) -> bool:
    """Return whether a page of this origin comes from the service that is addressed as `authority`.

    The scheme is not compared: behind a proxy that ends TLS, the service sees http.
    """
    scheme, _, of_page = origin.partition("://")
    default = DEFAULT_PORTS.get(scheme.lower())
    page, service = AUTHORITY.fullmatch(of_page), AUTHORITY.fullmatch(authority)
    if default is None or page is None or service is None:
        return False
    return page["host"].lower() == service["host"].lower() and (
        int(page["port"] or default) == int(service["port"] or default)
    )


def _host(entry: str) -> str:
    host = entry.lower()
    if host == ANY_HOST or HOST_NAME.fullmatch(host):
        return host
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        raise ValueError(
            f"ALLOWED_HOSTS: {entry!r} is not a name or address of a host; give names without scheme and port, as in "
            "`espalier.example.org,192.0.2.7`"
        ) from None
    return f"[{address}]" if address.version == 6 else str(address)  # noqa: PLR2004  the protocol's number


def _network(entry: str) -> str:
    try:
        return str(ipaddress.ip_network(entry))
    except ValueError:
        raise ValueError(
            f"PREDICT_URL_NETWORKS: {entry!r} is not a network; give an address and the length of its prefix, as in "
            "`10.1.0.0/16`, or one address"
        ) from None


def _origin(entry: str) -> str:
    try:
        parts = urlsplit(entry)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    found = AUTHORITY.fullmatch(parts.netloc)
    if (
        found is None
        or parts.scheme not in DEFAULT_PORTS
        or entry.lower() != f"{parts.scheme}://{parts.netloc.lower()}"
    ):
        raise ValueError(
            f"CORS_ORIGINS: {entry!r} is not an origin; give scheme, host and port without a path, as in "
            "`https://app.example.org,http://localhost:3000`"
        )
    shown = "" if port is None or port == DEFAULT_PORTS[parts.scheme] else f":{port}"
    return f"{parts.scheme}://{found['host'].lower()}{shown}"
