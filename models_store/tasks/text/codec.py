"""Codec of texts: from a string, or a file in UTF-8, to the numbers that a model's file takes.

Of a file that reads the text itself these are code points, int32, and 0 after the end of a shorter text:
`text.encode("utf-32-le")` is all that a client has to do.
"""

# N texts, L code points of the longest text

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models_store.errors import TooLarge
from models_store.tasks.codec import Codec, Inputs, Tensor, bad_example
from models_store.tasks.text.limits import MOST_BYTES, MOST_CHARACTERS
from models_store.tasks.text.occlusion import TextOcclusion

CODE_POINTS = "code_points"
"""what a file that reads the text itself calls its input"""
SHORTEST_BUCKET = 16
BYTE_ORDER_MARK = "\ufeff"

Numbers = npt.NDArray[np.int32]


class TextTooLong(TooLarge):
    """A text has more characters than any may have."""

    code = "text_too_long"
    title = "The text is too long"


@dataclass(frozen=True, slots=True)
class EncodedText:
    """A text as numbers, and what an answer about it says."""

    numbers: Numbers
    """(L,), none of them 0"""
    truncated: bool
    empty: bool


@dataclass(frozen=True)
class TextCodec(Codec[EncodedText]):
    """How texts become the input of one model."""

    max_tokens: int
    truncate: str

    @classmethod
    def of(cls, described: Mapping[str, Any]) -> "TextCodec":
        """Return the codec of a card's `input`."""
        return cls(described["max_tokens"], described["truncate"])

    @property
    def lengths(self) -> tuple[int, ...]:
        """Return powers of two up to the largest length."""
        doubled = []
        length = SHORTEST_BUCKET
        while length < self.max_tokens:
            doubled.append(length)
            length *= 2
        return (*doubled, self.max_tokens)

    def describe(self) -> tuple[Tensor, ...]:
        """Return the one input."""
        return (Tensor(CODE_POINTS, "int32", (None,)),)

    def decode(self, given: Any, *, budget: Any = None) -> EncodedText:  # noqa: ANN401, ARG002  a string or bytes; there is no budget
        """Return a text as numbers.

        Raises:
            BadExample: if it is no text.
            TextTooLong: if it has more than 100,000 characters.
        """
        numbers = code_points_of(text_of(given))
        kept = cut(numbers, self.max_tokens, truncate=self.truncate)
        return EncodedText(kept, truncated=len(kept) < len(numbers), empty=not len(numbers))

    def decodes_quickly(self, given: Any) -> bool:  # noqa: ANN401  a string or bytes
        """Return whether the text is short."""
        return len(given) <= 1 << 14 if isinstance(given, str | bytes) else True

    def length(self, example: EncodedText) -> int:
        """Return the number of code points, one at least."""
        return max(1, len(example.numbers))

    def collate(self, examples: Sequence[EncodedText]) -> Inputs:
        """Return texts side by side, with zeros after the end of the shorter ones."""
        longest = max(self.length(example) for example in examples)
        numbers_NL = np.zeros((len(examples), longest), np.int32)
        for row, example in enumerate(examples):
            numbers_NL[row, : len(example.numbers)] = example.numbers
        return {CODE_POINTS: numbers_NL}

    def examples_of(self, inputs: Inputs) -> list[EncodedText]:
        """Return the rows, each without the zeros behind it."""
        rows = [np.trim_zeros(row, "b") for row in inputs[CODE_POINTS]]
        return [EncodedText(row, truncated=False, empty=not len(row)) for row in rows]

    def occlusion(self, given: Any, example: EncodedText) -> TextOcclusion[EncodedText]:  # noqa: ANN401  a string or bytes
        """Return the part of the text that the model sees, with each word or character of it left out."""
        seen = "".join(map(chr, example.numbers)) if example.truncated else text_of(given)
        return TextOcclusion(seen, self.decode)

    def notes(self, example: EncodedText) -> dict[str, Any]:
        """Return whether the text was cut, and whether there was none."""
        return {"truncated": example.truncated, "empty": example.empty}


def text_of(given: Any) -> str:  # noqa: ANN401  any JSON, or a file's bytes
    """Return a text that came as a string, or as a file in UTF-8 (with a byte order mark or without).

    Raises:
        BadExample: if it is neither, or has characters that no text has.
        TextTooLong: if it has more than 100,000 characters.
    """
    if isinstance(given, bytes):
        if len(given) > MOST_BYTES:
            raise _too_long(f"{len(given):,} bytes")
        try:
            given = given.decode("utf-8").removeprefix(BYTE_ORDER_MARK)
        except UnicodeDecodeError as error:
            message = f"byte {error.start} (0x{given[error.start]:02x}) is not UTF-8; send the text in UTF-8"
            raise bad_example("not_utf8", message) from error
    if not isinstance(given, str):
        raise bad_example("not_a_text", "a text is a string, or a file in UTF-8")
    if len(given) > MOST_CHARACTERS:
        raise _too_long(f"{len(given):,} characters")
    return given


def code_points_of(text: str) -> Numbers:
    """Return the code points of a text, int32 (L,).

    Raises:
        BadExample: if there is half of a surrogate pair, or a NUL: 0 stands for what is after the end of a text.
    """
    try:
        numbers = np.frombuffer(text.encode("utf-32-le"), np.int32)
    except UnicodeEncodeError as error:
        message = f"character {error.start} is half of a surrogate pair (U+{ord(text[error.start]):04X})"
        raise bad_example("lone_surrogate", message) from error
    if not numbers.all():
        place = int(np.flatnonzero(numbers == 0)[0])
        raise bad_example("nul_character", f"character {place} is NUL (U+0000), which no text has; leave it out")
    return numbers


def cut(numbers: Numbers, most: int, *, truncate: str) -> Numbers:
    """Return `most` numbers at most: without the end, the start or the middle of those that are too many."""
    if len(numbers) <= most:
        return numbers
    if truncate == "end":
        return numbers[:most]
    if truncate == "start":
        return numbers[-most:]
    head = most - most // 2
    return np.concatenate([numbers[:head], numbers[len(numbers) - most // 2 :]])


def _too_long(size: str) -> TextTooLong:
    return TextTooLong(f"the text has {size}; at most {MOST_CHARACTERS:,} characters are allowed for one text")
