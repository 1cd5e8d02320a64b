"""Routes of the hot lane: calls that may be answered from a request's body alone, once their head is known.

A route says what a head means, once; what it returns is called with each body that comes behind the same head.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fastapi import Request, Response

from service.inference.engine import Answer


@dataclass(frozen=True)
class Reply:
    """A whole answer."""

    status: int
    headers: list[tuple[bytes, bytes]]
    """in lower case, without Content-Length"""
    body: bytes
    better_in_owner: bool = False
    """see `Answer`"""

    def as_response(self) -> Response:
        """Return the same for the documented route."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in self.headers}
        return Response(self.body, self.status, headers)


JSON = (b"content-type", b"application/json")


def server_timing(answer: Answer) -> bytes:
    """Return the value of Server-Timing: milliseconds of an answer's parts."""
    return b"decode;dur=%.2f, queue;dur=%.2f, run;dur=%.2f" % (
        answer.decode_s * 1000,
        answer.queue_s * 1000,
        answer.run_s * 1000,
    )


Answering = Callable[[bytes], Awaitable[Reply]]
"""answers one whole body; it raises what the route itself raises, and is cancelled when the client disconnects"""


@dataclass(frozen=True)
class HotRoute:
    """A call of the hot lane, beside its documented route, which answers every other request to it."""

    pattern: re.Pattern[str]
    """of the whole path"""
    template: str
    """the documented route's path, as metrics name it"""
    prepare: Callable[[Request], Answering | None]
    """What answers the bodies behind a request's head, which the documented route has answered with 200 before.

    None: this head is not for the hot lane. Everything that the head says (owner, parameters, content type) is read
    here; an EspalierError means None.
    """
