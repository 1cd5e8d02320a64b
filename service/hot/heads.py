"""Known heads of requests: a request with the same head as an earlier one need not be parsed and checked again.

Clients that keep their connection send the same head with each request; only Content-Length differs. A head is known
by all of its other bytes, so whatever was found out about them (host, origin, key, parameters) holds for every request
that has the same. The first one goes through the parser and all checks; nothing is learned from one that was refused.
"""

from typing import Generic, TypeVar

Known = TypeVar("Known")

END = b"\r\n\r\n"
LINE_END = b"\r\n"
LENGTHS = (b"\r\nContent-Length: ", b"\r\ncontent-length: ", b"\r\ncontent-Length: ")
LONGEST_HEAD_BYTES = 4 << 10
MOST_DIGITS = 10
MOST_HEADS = 1024


def split(data: bytes) -> tuple[bytes, int, int] | None:
    """Return the head without its Content-Length, where the body begins, and how many of its bytes are missing.

    None if `data` does not begin with a whole head that has a plain Content-Length, or if it has more than one request.
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
    return None if missing < 0 else (data[:begin] + data[after:end], body_at, missing)


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
