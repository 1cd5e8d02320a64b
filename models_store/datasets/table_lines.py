"""Lines of a table's file in the encoding that its owner gives; errors name the byte and the line.

Nothing is guessed: text that is read in a wrong encoding is damaged without a sign of it.
"""

import codecs
import io
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Literal, get_args

Encoding = Literal[
    "utf-8", "utf-16", "gb18030", "big5", "shift_jis", "euc_jp", "cp949", "cp1250", "cp1251", "cp1252", "latin-1"
]
Source = Path | bytes
"""a table's file, or all of its bytes"""
CODECS = {"utf-8": "utf-8-sig", "big5": "big5hkscs", "shift_jis": "cp932"}
"""encodings as people name them → the codec, which reads what later standards have added"""
CHUNK_BYTES = 1 << 16
MOST_LINE_CHARACTERS = 8 << 20
UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")


class TableRefused(Exception):
    """A table that can't be read; `code` says why in a word, `line` is where, if a single line is wrong."""

    def __init__(self, code: str, message: str, *, line: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.line = line


def decoded(data: bytes, encoding: Encoding) -> str:
    """Return all bytes of a file as text, without a mark of the byte order.

    Raises:
        TableRefused: if they are not in the encoding.
    """
    try:
        return data.decode(CODECS.get(encoding, encoding))
    except UnicodeDecodeError as error:
        at = len(data) - len(error.object) + error.start  # the codec may have taken the mark away
        raise _not_in(encoding, at, line=data[:at].count(b"\n") + 1, head=data[:2]) from error


def lines_of(path: Source, encoding: Encoding) -> Iterator[str]:
    r"""Yield the lines with their ends, `\n` or `\r\n`; a mark of the byte order is left out.

    Raises:
        TableRefused: if a byte is not in the encoding, or a line is far longer than any row may be.
    """
    decoder = codecs.getincrementaldecoder(CODECS.get(encoding, encoding))()
    with io.BytesIO(path) if isinstance(path, bytes) else path.open("rb") as file:
        read_bytes, number, rest, is_last = 0, 1, "", False
        head = file.read(2)
        file.seek(0)
        while not is_last:
            chunk = file.read(CHUNK_BYTES)
            is_last, read_bytes = not chunk, read_bytes + len(chunk)
            try:
                text = decoder.decode(chunk, final=is_last)
            except UnicodeDecodeError as error:
                at = read_bytes - len(error.object) + error.start
                before = error.object[: error.start].decode(CODECS.get(encoding, encoding), "replace")
                raise _not_in(encoding, at, line=number + before.count("\n"), head=head) from error
            *whole, rest = (rest + text).split("\n")
            if len(rest) > MOST_LINE_CHARACTERS:
                message = f"it has more than {MOST_LINE_CHARACTERS} characters"
                raise TableRefused("line_too_long", message, line=number + len(whole))
            number += len(whole)
            for line in whole:
                yield f"{line}\n"
        if rest:
            yield rest


def starts_of(path: Path, lines: Collection[int], encoding: Encoding) -> dict[int, int]:
    """Return the byte that each of these lines begins at; in UTF-16, whose bytes have no lines, of none."""
    if not lines or encoding == "utf-16":
        return {}
    found, wanted, last, position = {}, frozenset(lines), max(lines), 0
    with path.open("rb") as file:
        for number in range(1, last + 1):
            if number in wanted:
                found[number] = position
            while (part := file.readline(CHUNK_BYTES)) and not part.endswith(b"\n"):
                position += len(part)
            position += len(part)
    return found


def _not_in(encoding: Encoding, at: int, *, line: int, head: bytes) -> TableRefused:
    others = ", ".join(each for each in get_args(Encoding) if each != encoding)
    if encoding == "utf-8" and head in UTF_16_MARKS:
        advice = (
            "it begins as UTF-16 does: save it as UTF-8, or send `encoding=utf-16`, or `charset=utf-16` in its type"
        )
    elif encoding == "utf-8":
        advice = f"save it as UTF-8, or send `encoding=`, or `charset=` in its type, with what it is in: {others}"
    else:
        advice = f"`encoding={encoding}` is not what it is in; others are {others}"
    return TableRefused("wrong_encoding", f"byte {at} in line {line} is not {encoding.upper()}; {advice}")
