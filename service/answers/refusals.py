"""Refusals by the connection itself: no route sees the request, and the connection is closed.

ConnectionRefusal
├── HeadersTooLarge     431  the head, or the parts around the chunks of a body, are over the limits
├── UrlTooLong          414
├── RequestTimeout      408  half a request came, and then nothing more
├── UnknownTransferCoding  501  the body has a transfer coding other than chunked
└── MalformedHttp       400  it is not HTTP/1.1
"""

from collections.abc import Iterable

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from models_store.errors import EspalierError
from service.problems import written

MOST_HEAD_BYTES = 64 << 10
MOST_HEADERS = 100
MOST_URL_BYTES = 8 << 10


class ConnectionRefusal(EspalierError):
    """The connection ends with this answer; no route sees the request."""

    status = 400
    code = "malformed_request"
    title = "The request can't be read"

    def as_response(self, path: str, *, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        """Return the whole answer, its problem included; `headers` come first in it."""
        status, body, media_type = written(self.as_problem() | {"instance": path[:MOST_URL_BYTES] or "/"})
        fields = [
            *headers,
            (b"content-type", media_type.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        lines = [name + b": " + value + b"\r\n" for name, value in fields]
        return b"".join([STATUS_LINE[status], *lines, b"\r\n", body])


class MalformedHttp(ConnectionRefusal):
    """The request is not HTTP/1.1."""


class HeadersTooLarge(ConnectionRefusal):
    """The head, or the parts around the chunks of a body, are over the limits."""

    status = 431
    code = "headers_too_large"
    title = "Request header fields too large"

    def __init__(self) -> None:
        super().__init__(
            f"a request may have {MOST_HEADERS} headers with {MOST_HEAD_BYTES} bytes together, including its first "
            "line; trailers and extensions of chunks have the same limits; send fewer or shorter ones"
        )


class UrlTooLong(ConnectionRefusal):
    """The request line is over its limit."""

    status = 414
    code = "url_too_long"
    title = "URL too long"

    def __init__(self) -> None:
        super().__init__(f"a URL may have {MOST_URL_BYTES} bytes; send long values in the body")


class UnknownTransferCoding(ConnectionRefusal):
    """The body has a transfer coding other than chunked."""

    status = 501
    code = "transfer_coding_unknown"
    title = "The transfer coding is not read"

    def __init__(self) -> None:
        super().__init__("Transfer-Encoding must be `chunked`; a compressed body needs Content-Encoding")


class RequestTimeout(ConnectionRefusal):
    """Half a request came, and then nothing more."""

    status = 408
    code = "request_timeout"
    title = "The request did not arrive in time"
