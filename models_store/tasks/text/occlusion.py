"""Parts of a text, which are left out one after the other: words, and characters where no spaces separate words.

The parts cover the whole text: spaces belong to the part before them, and what follows a character without standing by
itself (accents, joiners, apostrophes) to that character. Where there are very many, neighbours are joined.
"""

# M parts

import itertools
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from models_store.tasks.explanation import MOST_PARTS, Losses, Method

Decoded = TypeVar("Decoded")
UNSPACED = ("CJK ", "HIRAGANA ", "KATAKANA ", "THAI ", "LAO ", "KHMER ", "MYANMAR ")
"""beginnings of the names of characters that are written without spaces between words"""


class TextOcclusion(Generic[Decoded]):
    """A text, as much of it as the model sees, to be explained; `decode` is the codec's."""

    method: Method = "leave_one_out"

    def __init__(self, text: str, decode: Callable[[str], Decoded]) -> None:
        self._text = text
        self._decode = decode
        self._parts = parts_of(text)

    def copies(self) -> Iterator[Decoded]:
        """Yield the text without each part."""
        for start, end in self._parts:
            yield self._decode(self._text[:start] + self._text[end:])

    def show(self, losses_M: Losses) -> dict[str, Any]:
        """Return the parts with their weights."""
        return weights_of(self._text, self._parts, losses_M.tolist())


def weights_of(text: str, parts: Sequence[tuple[int, int]], weights: Sequence[float]) -> dict[str, Any]:
    """Return the parts of a text with their weights, as JSON."""
    return {
        "weights": [
            {"text": text[start:end], "start": start, "end": end, "weight": weight}
            for (start, end), weight in zip(parts, weights, strict=True)
        ]
    }


def parts_of(text: str, *, most: int = MOST_PARTS) -> list[tuple[int, int]]:
    """Return where each part begins and ends; there are `most` at most."""
    starts, before, is_blank = [0] if text else [], "", True
    for place, character in enumerate(text):
        kind = _kind(character)
        if kind == "after":
            if before not in {"", "space"}:
                continue
            kind = "sign"
        if kind != "space" and before and (before != kind or kind == "sign") and not is_blank:
            starts.append(place)
        is_blank = is_blank and kind == "space"
        before = kind
    if len(starts) > most:
        starts = [starts[number * len(starts) // most] for number in range(most)]
    return list(itertools.pairwise([*starts, len(text)]))


def _kind(character: str) -> str:
    """Return what a character is: of a word, one by itself, a space, or one that belongs to whatever is before it."""
    if character.isascii():
        if character == "'":
            return "after"
        return "word" if character.isalnum() else "space" if character.isspace() else "sign"
    category = unicodedata.category(character)
    if category[0] == "M" or category == "Cf" or character == "\u2019":
        return "after"
    if character.isspace():
        return "space"
    is_letter = category[0] in "LN"
    return "word" if is_letter and not unicodedata.name(character, "").startswith(UNSPACED) else "sign"
