"""Known heads of requests: a request with the same head as an earlier one need not be parsed and checked again.

Clients that keep their connection send the same head with each request; only Content-Length differs, and what tells one
request from another: its id and its trace. A head is known by all of its other bytes, so whatever was found out about
them (host, origin, key, parameters) holds for every request that has the same. The first one goes through the parser
and all checks; nothing is learned from one that was refused.
"""

from typing import Generic, NamedTuple, TypeVar

from service.observer import REQUEST_ID, TRACEPARENT, WELL_FORMED

Known = TypeVar("Known")

END = b"\r\n\r\n"
LINE_END = b"\r\n"
LENGTHS = (b"\r\nContent-Length: ", b"\r\ncontent-length: ", b"\r\ncontent-Length: ")
OWN = {
    REQUEST_ID: (b"\r\nX-Request-ID: ", b"\r\nx-request-id: ", b"\r\nX-Request-Id: "),
    TRACEPARENT: (b"\r\ntraceparent: ", b"\r\nTraceparent: "),
}
"""headers that each request may have of its own → how clients write them"""
LONGEST_HEAD_BYTES = 4 << 10
MOST_DIGITS = 10
MOST_HEADS = 1024


class Split(NamedTuple):
    """Head of a request, and where its body is."""

    known_by: bytes
    """the head without Content-Length, and without its own headers"""
    own: list[tuple[bytes, bytes]]
    """headers of this request alone"""
    body_at: int
    missing_bytes: int
    """of the body"""


def split(data: bytes) -> Split | None:
    """Return the head of the request that `data` begins with.

    None if that is not a whole head with a plain Content-Length, or if there is more than one request.
    """
    end = data.find(END, 0, LONGEST_HEAD_BYTES)
    if end < 0:
        return None
    for name in LENGTHS:
        begin = data.find(name, 0, end)
        if begin >= 0:
            break
    else:
        return None
    first = begin + len(name)
    after = data.find(LINE_END, first, end + len(LINE_END))
    digits = data[first:after]
    if not digits.isdigit() or len(digits) > MOST_DIGITS or data[after + 2] in b" \t":  # a line that goes on
        return None
    body_at = end + len(END)
    missing = body_at + int(digits) - len(data)
    if missing < 0:
        return None
    head, own = data[:begin] + data[after:end], []
    for header, spellings in OWN.items():
        for spelling in spellings:
            begin = head.find(spelling)
            if begin >= 0:
                head, value = _without(head, begin, begin + len(spelling))
                if value:
                    own.append((header, value))
                break
    return Split(head, own, body_at, missing)


def _without(head: bytes, begin: int, first: int) -> tuple[bytes, bytes]:
    """Return a head without a line, and its value; as it is and nothing, if the value could mean something else."""
    after = head.find(LINE_END, first)
    after = len(head) if after < 0 else after
    value = head[first:after]
    goes_on = head[after + 2 : after + 3] in (b" ", b"\t")
    return (head, b"") if goes_on or not WELL_FORMED.fullmatch(value) else (head[:begin] + head[after:], value)


class Heads(Generic[Known]):
    """What is known of heads, each by its bytes."""

    def __init__(self) -> None:
        self._known: dict[bytes, Known] = {}

    def get(self, head: bytes) -> Known | None:
        """Return what is known of a head."""
        return self._known.get(head)

    def learn(self, head: bytes, known: Known) -> None:
        """Remember a head; when there are too many, all others are forgotten, and learned again."""
        if len(self._known) >= MOST_HEADS:
            self._known.clear()
        self._known[head] = known
