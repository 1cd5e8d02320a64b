"""Patience with a client: how long a part of its request may take to arrive."""

from dataclasses import dataclass
from enum import Enum

from service.answers.refusals import RequestTimeout


class Reading(Enum):
    """Part of the request to which the next byte belongs."""

    HEAD = "head"
    BODY = "body"


@dataclass(frozen=True)
class Patience:
    """Time limits for a client: for a whole head, and between two packets of a body."""

    head_s: float = 10.0
    body_idle_s: float = 60.0

    def overdue(self, reading: Reading) -> RequestTimeout:
        """Return the error for a client that was too slow."""
        if reading is Reading.BODY:
            late = f"no byte of the body arrived for {self.body_idle_s:g} s; send the request again"
        else:
            late = f"the request's head did not arrive within {self.head_s:g} s; send it without pauses"
        return RequestTimeout(late)
