"""Strict JSON (RFC 8259): UTF-8, without NaN, infinity, repeated or very long keys, or deep nesting.

orjson holds the interpreter's lock while it parses, which stops every other request of the process. So the strings of a
large body are parsed one by one, and the rest with a mark in place of each string. In a thread, this lets other
requests continue.

MalformedRequest     400  what is wrong, and where
├── TooManyValues         a large body has more values than it may
└── LoneSurrogate    422  a string has half of a surrogate pair, which JSON can spell and no text can hold
"""

import json
import re
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import orjson

from models_store.errors import FieldError
from models_store.json_rules import DuplicateKey, unique_keys
from service.problems import MalformedRequest

DEEPEST = 64
"""Largest depth of nesting of a body; a spec needs 6."""
LONGEST_KEY = 1000
"""Largest number of characters of a key: a message repeats an unknown key, and names the nearest valid one."""
SMALL_BYTES = 1 << 20
VALUE_SIGNS = (b",", b"[", b"{")  # each value but the first has one of them before it
MOST_VALUES = 10_000
"""Largest number of values in a body above SMALL_BYTES: each takes about 60 bytes of memory, and 64 MB could contain 20
million."""
MOST_PLACES = 20
"""Number of strings with half of a surrogate pair that a refusal names."""
MOST_QUOTES = 4 * MOST_VALUES
LONG_BYTES = 512
"""Number of bytes from which a string is parsed by itself."""
PIECE_BYTES = 1 << 20
"""Number of bytes of a very long string that are parsed at a time."""
STEP_BYTES = 4 << 10
LONGEST_CHARACTER = 4  # bytes of UTF-8
CONTINUATION = range(0x80, 0xC0)  # bytes inside of one
ESCAPE_BYTES = 6
"""Bytes of the longest escape, as in `\\u002f`."""
HIGH_SURROGATE = re.compile(rb"\\u[dD][89abAB]")
COLON = re.compile(rb"[ \t\n\r]*:")  # behind a key, which stays where it is
BACKSLASH = ord("\\")


class TooManyValues(MalformedRequest):
    """A large body has so many values that they would take far more memory than its bytes."""

    code = "too_many_values"


class LoneSurrogate(MalformedRequest):
    """A string has half of a surrogate pair."""

    status = 422
    code = "lone_surrogate"
    title = "A text has half a character"


def parse(body: bytes) -> Any:  # noqa: ANN401  any JSON
    """Return the document of strict JSON.

    Raises:
        MalformedRequest: with the error and its place.
    """
    try:
        return _parsed(body)
    except LoneSurrogate as error:
        raise LoneSurrogate(error.detail, errors=_half_characters(body)) from error


def _parsed(body: bytes) -> Any:  # noqa: ANN401  any JSON
    taken_out = _TakenOut()
    if len(body) > SMALL_BYTES:
        if sum(_bounded_count(body, sign, MOST_VALUES) for sign in VALUE_SIGNS) > MOST_VALUES:
            raise TooManyValues(f"a body of more than {SMALL_BYTES} bytes may contain at most {MOST_VALUES} values")
        body = taken_out.rest_of(body)
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        where = taken_out.position(error.pos) or str(error)
        raise _malformed(error, where, hint=_hint_on_numbers(body)) from error
    given, strings = _checked(given, taken_out)
    if _bounded_count(body, b'"', 2 * strings) > 2 * strings:  # a key that is lost, or only a quote inside of a string
        try:
            json.loads(body, object_pairs_hook=unique_keys, parse_int=str, parse_float=str)
        except DuplicateKey as error:
            raise MalformedRequest(str(error)) from error
    return given


@dataclass
class _TakenOut:
    """The long strings of a body by their marks."""

    strings: dict[str, str] = field(default_factory=dict)
    _prefix: str = ""
    _cuts: list[tuple[int, int]] = field(default_factory=list)  # where in the rest a mark ends, what it made shorter

    def rest_of(self, body: bytes) -> bytes:
        """Return the body with marks for its long strings.

        Raises:
            MalformedRequest: if one of them is not JSON, or there are too many quotation marks.
        """
        view = memoryview(body)
        kept: list[bytes | memoryview] = []
        begin = kept_bytes = at = quotes = 0
        while (opening := body.find(b'"', at)) >= 0:
            closing = body.find(b'"', opening + 1)
            while closing >= 0 and body[closing - 1] == BACKSLASH and _is_escaped(body, closing, after=opening):
                closing, quotes = body.find(b'"', closing + 1), quotes + 1
                if quotes > MOST_QUOTES:
                    raise TooManyValues(
                        f"a body of more than {SMALL_BYTES} bytes may contain at most {MOST_QUOTES} quotation marks"
                    )
            if closing < 0:
                break
            quotes += 2
            if closing - opening > LONG_BYTES and not COLON.match(body, closing + 1):
                mark = self._take(body, opening, closing + 1)
                kept += [view[begin:opening], mark]
                kept_bytes += opening - begin + len(mark)
                self._cuts.append((kept_bytes, closing + 1 - opening - len(mark)))
                begin = closing + 1
            at = closing + 1
        return b"".join([*kept, view[begin:]]) if kept else body

    def position(self, position: int) -> str | None:
        """Return the position in the body of a position in the rest; None if it is the same."""
        if not self._cuts:
            return None
        return f"byte {position + sum(shorter for end, shorter in self._cuts if end <= position)} is wrong"

    def _take(self, body: bytes, begin: int, end: int) -> bytes:
        self._prefix = self._prefix or secrets.token_hex(8)  # small bodies, which have no marks, are spared the call
        mark = f"{self._prefix}:{len(self.strings)}"
        self.strings[mark] = _string(body, begin, end)
        return f'"{mark}"'.encode()


def _string(body: bytes, begin: int, end: int) -> str:
    """Return the string between two quotation marks of the body, at `begin` and before `end`."""
    if end - begin <= PIECE_BYTES:
        return _loaded(memoryview(body)[begin:end], at=begin)
    pieces, at, last = [], begin + 1, end - 1
    while at < last:
        following = min(at + PIECE_BYTES, last)
        if following < last:
            following = _between_characters(body, following, after=at)
        pieces.append(_loaded(b'"%b"' % body[at:following], at=at - 1))
        at = following
    return "".join(pieces)


def _between_characters(body: bytes, at: int, *, after: int) -> int:
    """Return the last place up to the given one where a string may be split, outside characters and escapes."""
    for _ in range(LONGEST_CHARACTER - 1):
        at -= body[at] in CONTINUATION
    escape = body.rfind(b"\\", at - ESCAPE_BYTES + 1, at)
    if escape >= 0 and not _is_escaped(body, escape, after=after - 1):
        ends = escape + (ESCAPE_BYTES if body[escape + 1 : escape + 2] == b"u" else 2)
        at = escape if ends > at else at
    pair = at - ESCAPE_BYTES
    if HIGH_SURROGATE.match(body, pair) and not _is_escaped(body, pair, after=after - 1):
        at = pair  # its other half may come next
    return at


def _loaded(text: bytes | memoryview, *, at: int) -> str:
    try:
        return str(orjson.loads(text))
    except orjson.JSONDecodeError as error:
        raise _malformed(error, f"{error.msg}, at byte {at + error.pos}") from error


def _half_characters(body: bytes) -> list[FieldError]:
    """Return where the first strings with half of a surrogate pair are; nothing if the body is no JSON otherwise."""
    found: list[FieldError] = []
    with suppress(ValueError, RecursionError):
        left = [("", json.loads(body))]
        while left and len(found) < MOST_PLACES:
            pointer, value = left.pop()
            if isinstance(value, str):
                found += _half_character(value, pointer, "")
            elif isinstance(value, list):
                left += reversed([(f"{pointer}/{place}", each) for place, each in enumerate(value)])
            elif isinstance(value, dict):
                wrong = [fault for key in value for fault in _half_character(key, pointer, "of a key ")]
                found += wrong
                steps = {key.replace("~", "~0").replace("/", "~1"): each for key, each in value.items()}
                left += [] if wrong else reversed([(f"{pointer}/{step}", each) for step, each in steps.items()])
    return found


def _half_character(text: str, pointer: str, where: str) -> list[FieldError]:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        message = f"character {error.start} {where}is half of a surrogate pair (U+{ord(text[error.start]):04X})"
        return [FieldError(pointer, LoneSurrogate.code, message)]
    return []


def _malformed(error: orjson.JSONDecodeError, where: str, *, hint: str = "") -> MalformedRequest:
    if error.msg.endswith("surrogate in string"):
        return LoneSurrogate(f"a string has half of a surrogate pair (U+D800 to U+DFFF), which is no text: {where}")
    return MalformedRequest(f"the body is not JSON: {where}{hint}")


def _is_escaped(body: bytes, at: int, *, after: int) -> bool:
    """Return whether an odd number of backslashes stands before a quotation mark."""
    first = at
    while first - 1 > after and body[first - 1] == BACKSLASH:
        step = body[max(after + 1, first - STEP_BYTES) : first]
        first -= len(step) - len(step.rstrip(b"\\"))
    return (at - first) % 2 == 1


def _checked(given: Any, taken_out: _TakenOut) -> tuple[Any, int]:  # noqa: ANN401  any JSON
    """Return the document with its long strings in their places, and how many keys and strings it has.

    Raises:
        MalformedRequest: if it is nested too deep, or has a key that is too long.
    """
    long, root = taken_out.strings, [given]
    level: list[Any] = [root]
    depth = strings = 0
    while level:
        if depth > DEEPEST:
            raise MalformedRequest(f"the body is nested deeper than {DEEPEST} levels")
        below: list[Any] = []
        for node in level:
            if isinstance(node, dict):
                strings += len(node)
                longest = max(map(len, node), default=0)
                if longest > LONGEST_KEY:
                    raise MalformedRequest(
                        f"the body has a key of {longest} characters; at most {LONGEST_KEY} are allowed"
                    )
            pairs = node.items() if isinstance(node, dict) else enumerate(node)
            for place, value in pairs:
                if isinstance(value, str):
                    strings += 1
                    if long and value in long:
                        node[place] = long[value]
                elif isinstance(value, dict | list):
                    below.append(value)
        level, depth = below, depth + 1
    return root[0], strings


def _bounded_count(body: bytes, sign: bytes, most: int) -> int:
    """Return how often the byte occurs, at most `most` + 1; faster than `bytes.count` if it is rare."""
    count, at = 0, body.find(sign)
    while at >= 0 and count <= most:
        count += 1
        at = body.find(sign, at + 1)
    return count


def _hint_on_numbers(body: bytes) -> str:
    """Return a hint that JSON has no NaN and no infinity, if that is the only error."""
    names: list[str] = []
    if b"NaN" not in body and b"Infinity" not in body:
        return ""  # reading a large body again takes a second
    with suppress(ValueError, RecursionError):  # something else is wrong, and reported already
        json.loads(body, parse_constant=names.append)
        return f"; JSON has no {names[0]} (RFC 8259, section 6): leave the field out, or give a number" if names else ""
    return ""
