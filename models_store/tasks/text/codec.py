"""Codec of texts: from a string, or a file in UTF-8, to the numbers that a model's file takes.

A file that reads the text itself takes `code_points`, int32 (N, L), and 0 after the end of a shorter text:
`text.encode("utf-32-le")`, cut to `max_tokens`, is all that a client has to do. Other files take `tokens`, the same of
ids, and `lengths`, int32 (N,). A text without tokens is a row of zeros. The decisions, with reasons:

- **Half of a surrogate pair** is refused: it is no character, and UTF-8 and UTF-32 can't hold it.
- **NUL** is refused: 0 is what comes after the end. Other control characters count as a space (`folding`).
- **A byte order mark** at the beginning is no part of the text: editors write it, and nobody sees it.
- **Nothing else is stripped or composed**: what the client of a file would have to do too, the file does, or nobody.
- **Too long** is what has more than 100,000 characters: that is a book. What has more than `max_tokens` is cut.
"""

# N texts, L code points or tokens of the longest text

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models_store.errors import TooLarge
from models_store.tasks.codec import BadExample, Codec, Inputs, Tensor, bad_example
from models_store.tasks.explanation import SelfExplaining
from models_store.tasks.text import folding
from models_store.tasks.text.blank import is_blank
from models_store.tasks.text.limits import MOST_BYTES, MOST_CHARACTERS
from models_store.tasks.text.occlusion import TextOcclusion
from models_store.tasks.text.tokenizers.tokens import Tokens

CODE_POINTS = "code_points"
"""what a file that reads the text itself calls its input"""
TOKENS, LENGTHS = "tokens", "lengths"
"""what other files call theirs"""
SHORTEST_BUCKET = 16
QUICK_CHARACTERS = 128
"""a text up to which any tokenizer takes far less than a millisecond; the slowest has 10 µs for a character"""
QUICK_CODE_POINTS = 1 << 14
"""the same, where the file reads the text itself"""
BYTE_ORDER_MARK = "\ufeff"
SURROGATES = (0xD800, 0xDFFF)

Numbers = npt.NDArray[np.int32]


class TextTooLong(TooLarge):
    """A text has more characters than any may have."""

    code = "text_too_long"
    title = "The text is too long"


@dataclass(frozen=True, slots=True)
class EncodedText:
    """A text as numbers, and what an answer about it says."""

    numbers: Numbers
    """code points or tokens (L,), none of them 0"""
    truncated: bool
    empty: bool


@dataclass(frozen=True)
class TextCodec(Codec[EncodedText]):
    """How texts become the input of one model."""

    max_tokens: int
    truncate: str
    tokenizer: Tokens

    @classmethod
    def of(cls, described: Mapping[str, Any], tokenizer: Tokens) -> "TextCodec":
        """Return the codec of a card's `input`, and of the tokenizer that was fitted to its training texts."""
        return cls(described["max_tokens"], described["truncate"], tokenizer)

    @property
    def lengths(self) -> tuple[int, ...]:
        """Return 16, 24, 32, 48, … up to the largest length: from 16 on, a text is padded to half as much again at most."""
        found = []
        length = SHORTEST_BUCKET
        while length < self.max_tokens:
            found += [length, length * 3 // 2]
            length *= 2
        return (*(each for each in found if each < self.max_tokens), self.max_tokens)

    @property
    def exact(self) -> bool:
        """Tokens are found, and padding is left out, in the file: each can be wrong by a little in every text."""
        return True

    def describe(self) -> tuple[Tensor, ...]:
        """Return the code points, or tokens with their numbers."""
        if self.tokenizer.in_graph:
            return (Tensor(CODE_POINTS, "int32", (None,)),)
        return (Tensor(TOKENS, "int32", (None,)), Tensor(LENGTHS, "int32", ()))

    def decode(self, given: Any, *, budget: Any = None) -> EncodedText:  # noqa: ANN401, ARG002  a string or bytes; there is no budget
        """Return a text as numbers.

        Raises:
            BadExample: if it is no text.
            TextTooLong: if it has more than 100,000 characters.
        """
        text = text_of(given)
        code_points = code_points_of(text)
        if self.tokenizer.in_graph:
            return self._encoded(code_points)
        return self._encoded(self.tokenizer.ids(text), blank=is_blank(code_points))

    def decodes_quickly(self, given: Any) -> bool:  # noqa: ANN401  a string or bytes
        """Return whether the text is short."""
        most = QUICK_CODE_POINTS if self.tokenizer.in_graph else QUICK_CHARACTERS
        return len(given) <= most if isinstance(given, str | bytes) else True

    def length(self, example: EncodedText) -> int:
        """Return the number of code points or tokens, one at least."""
        return max(1, len(example.numbers))

    def collate(self, examples: Sequence[EncodedText]) -> Inputs:
        """Return texts side by side, with zeros after the end of the shorter ones."""
        numbers_NL = padded([example.numbers for example in examples])
        if self.tokenizer.in_graph:
            return {CODE_POINTS: numbers_NL}
        return {TOKENS: numbers_NL, LENGTHS: np.array([len(example.numbers) for example in examples], np.int32)}

    def examples_of(self, inputs: Inputs) -> list[EncodedText]:
        """Return the rows, each without what is behind its end, and cut as texts are.

        Raises:
            BadExample: if a number is none of a text's: a file would take it for another.
        """
        check: Callable[[Numbers], None] = self._check_tokens
        if self.tokenizer.in_graph:
            rows, check = [np.trim_zeros(row, "b") for row in inputs[CODE_POINTS]], check_code_points
        else:
            rows = [row[:length] for row, length in zip(inputs[TOKENS], self._checked_lengths(inputs), strict=True)]
        for row in rows:
            check(row)
        return [self._encoded(row) for row in rows]

    def occlusion(self, given: Any, example: EncodedText) -> TextOcclusion[EncodedText]:  # noqa: ANN401  a string or bytes
        """Return the text with each word or character left out; where the file reads it, only the part that it is given."""
        is_cut = example.truncated and self.tokenizer.in_graph
        return TextOcclusion(folding.text_of(example.numbers) if is_cut else text_of(given), self.decode)

    def self_explaining(self, path: Path) -> SelfExplaining[EncodedText] | None:
        """Return the file with what each n-gram adds, where it reads the text itself and is linear."""
        from models_store.tasks.text import exact  # noqa: PLC0415  onnx is for explanations alone

        found = exact.with_ngrams(path) if self.tokenizer.in_graph else None
        if found is None:
            return None
        graph, ngrams = found
        return SelfExplaining("exact", graph, lambda text, added: exact.shown(text.numbers, added, ngrams))

    def notes(self, example: EncodedText) -> dict[str, Any]:
        """Return whether the text was cut, whether it is blank, and the share of tokens that the model doesn't know."""
        unknown = self.tokenizer.unknown_share(example.numbers)
        return {"truncated": example.truncated, "unknown_share": round(unknown, 4), "empty": example.empty}

    def _encoded(self, numbers: Numbers, *, blank: bool = False) -> EncodedText:
        kept = self.tokenizer.cut(numbers, self.max_tokens, truncate=self.truncate)
        empty = blank or (is_blank(kept) if self.tokenizer.in_graph else not len(kept))
        return EncodedText(kept, truncated=len(kept) < len(numbers), empty=empty)

    def _checked_lengths(self, inputs: Inputs) -> Numbers:
        lengths, most = inputs[LENGTHS], inputs[TOKENS].shape[1]
        if len(lengths) and not 0 <= int(lengths.min()) <= int(lengths.max()) <= most:
            raise bad_example("bad_length", f"a length is outside 0 to {most}, the number of tokens of a row")
        return lengths

    def _check_tokens(self, ids: Numbers) -> None:
        if len(ids) and not 1 <= int(ids.min()) <= int(ids.max()) < self.tokenizer.size:
            message = f"a token is outside 1 to {self.tokenizer.size - 1}; 0 comes after the end alone"
            raise bad_example("bad_token", message)


def text_of(given: Any) -> str:  # noqa: ANN401  any JSON, or a file's bytes
    """Return a text that came as a string, or as a file in UTF-8, without a byte order mark.

    Raises:
        BadExample: if it is neither.
        TextTooLong: if it has more than 100,000 characters.
    """
    if isinstance(given, bytes):
        if len(given) > MOST_BYTES:
            raise _too_long(f"{len(given):,} bytes")
        try:
            given = given.decode("utf-8")
        except UnicodeDecodeError as error:
            message = f"byte {error.start} (0x{given[error.start]:02x}) is not UTF-8; send the text in UTF-8"
            raise bad_example("not_utf8", message) from error
    if not isinstance(given, str):
        raise bad_example("not_a_text", "a text is a string, or a file in UTF-8")
    text = given.removeprefix(BYTE_ORDER_MARK)
    if len(text) > MOST_CHARACTERS:
        raise _too_long(f"{len(text):,} characters")
    return text


def code_points_of(text: str) -> Numbers:
    """Return the code points of a text, int32 (L,).

    Raises:
        BadExample: if there is half of a surrogate pair, or a NUL.
    """
    try:
        numbers = folding.code_points(text)
    except UnicodeEncodeError as error:
        message = f"character {error.start} is half of a surrogate pair (U+{ord(text[error.start]):04X})"
        raise bad_example("lone_surrogate", message) from error
    if not numbers.all():
        raise _nul(numbers)
    return numbers


def check_code_points(numbers: Numbers) -> None:
    """Refuse numbers that are not the code points of a text.

    Raises:
        BadExample: as `code_points_of`, or if a number is no code point at all.
    """
    if not numbers.all():
        raise _nul(numbers)
    wrong = (numbers < 0) | (numbers >= folding.CODE_POINTS) | ((numbers >= SURROGATES[0]) & (numbers <= SURROGATES[1]))
    if wrong.any():
        place = int(np.flatnonzero(wrong)[0])
        message = f"number {place} is {int(numbers[place])}, and no character has this code point"
        raise bad_example("bad_code_point", message)


def padded(rows: Sequence[Numbers]) -> Numbers:
    """Return rows side by side, int32 (N, L), with zeros after the end of the shorter ones; L is 1 at least."""
    numbers_NL = np.zeros((len(rows), max(1, *map(len, rows))), np.int32)
    for place, row in enumerate(rows):
        numbers_NL[place, : len(row)] = row
    return numbers_NL


def _nul(numbers: Numbers) -> BadExample:
    place = int(np.flatnonzero(numbers == 0)[0])
    return bad_example("nul_character", f"character {place} is NUL (U+0000), which no text has; leave it out")


def _too_long(size: str) -> TextTooLong:
    return TextTooLong(f"the text has {size}; at most {MOST_CHARACTERS:,} characters are allowed for one text")
