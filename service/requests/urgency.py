"""Urgency of a prediction: how long its answer is of use to the client, and its priority.

A client says how long in `timeout`, or in the header X-Request-Deadline, which proxies and clients set for every call.
The header has the milliseconds that are left, as gRPC's timeouts do, and no time of day: clocks of two hosts differ by
more than a prediction takes. The smaller of the two counts, from the arrival of the request's head.
"""

import re
import time
from dataclasses import dataclass
from typing import Any

from fastapi import Request

from models_store.errors import FieldError
from service.inference.engine import DEFAULT, FIRST, LAST
from service.problems import InvalidRequest

HEADER = "X-Request-Deadline"
LONGEST_S = 3600
LONGEST_MS = LONGEST_S * 1000
MILLISECONDS = re.compile("[0-9]{1,9}")
HEADER_MEANING = (
    "milliseconds within which the answer is of use, counted from the arrival of the request's head; like `timeout`, "
    "and the smaller one counts"
)
TIMEOUT_MEANING = (
    "seconds within which the answer is of use; a request that can't be answered in time is refused at once with 429, "
    "and one that was not, though nothing was ahead of it, with 504. Left out: PREDICT_TIMEOUT_S"
)
PRIORITY_MEANING = f"{FIRST} is served first, {LAST} last; left out: {DEFAULT}"
TIMEOUT: dict[str, Any] = {"type": "number", "exclusiveMinimum": 0, "maximum": LONGEST_S}
PRIORITY: dict[str, Any] = {"type": "integer", "minimum": FIRST, "maximum": LAST}
PARAMETER: dict[str, Any] = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": HEADER_MEANING,
    "schema": {"type": "integer", "minimum": 1, "maximum": LONGEST_MS},
}


@dataclass(frozen=True)
class Arrival:
    """When a request's head came, by `time.monotonic()`, and how long its answer is of use by the header."""

    at_s: float
    limit_s: float | None

    def deadline_s(self, timeout_s: float | None = None) -> float | None:
        """Return when the answer is of no use any more; None: neither the header nor the request says so."""
        limits_s = [limit_s for limit_s in (self.limit_s, timeout_s) if limit_s is not None]
        return self.at_s + min(limits_s) if limits_s else None


def arrival_of(request: Request) -> Arrival:
    """Return the arrival of a request whose head came just now.

    Raises:
        InvalidRequest: if the header can't be used.
    """
    return Arrival(time.monotonic(), limit_in(request))


def limit_in(request: Request) -> float | None:
    """Return the seconds that the header allows, if it is there.

    Raises:
        InvalidRequest: if it can't be used.
    """
    given = request.headers.get(HEADER)
    if given is None:
        return None
    if MILLISECONDS.fullmatch(given) is None or not 1 <= int(given) <= LONGEST_MS:
        pointer = f"header:{HEADER}"
        message = f"it is {given[:50]!r}; it has the milliseconds that are left, from 1 to {LONGEST_MS}"
        allowed = {"minimum": 1, "maximum": LONGEST_MS}
        raise InvalidRequest(
            f"{pointer}: {message}", errors=[FieldError(pointer, "not_milliseconds", message, allowed)]
        )
    return int(given) / 1000
