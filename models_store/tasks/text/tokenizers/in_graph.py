"""Tokenizers that a model's file carries out itself: it takes code points."""

# T tokens of a text, P pages

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from models_store.tasks.text.folding import CODE_POINTS, FOLD, FOLD_ID, PAGE, CodePoints, code_points, pages, text_of
from models_store.tasks.text.tokenizers.tokens import FIRST, PADDING, UNKNOWN, Document, Ids, Tokens

CHUNK_CHARACTERS = 1 << 20


class CodePointTokens(Tokens):
    """Folded code points as ids; 1 is a control character, which is folded to a space, so that nothing is unknown."""

    in_graph: ClassVar[bool] = True

    @property
    def size(self) -> int:
        """Return the number of code points."""
        return CODE_POINTS

    def ids(self, text: str) -> Ids:
        """Return the folded code points."""
        return FOLD[code_points(text)]

    def unknown_share(self, given: Ids) -> float:  # noqa: ARG002  see Tokens
        """Return 0."""
        return 0.0

    def as_document(self) -> Document:
        """Return the kind and the fold."""
        return {"kind": "code_points", "fold": FOLD_ID}


@dataclass(frozen=True, eq=False)
class CharacterTokens(Tokens):
    """Characters, folded; `characters` are those that are known, the most frequent first."""

    in_graph: ClassVar[bool] = True
    characters: str
    places: CodePoints = field(init=False, repr=False)
    """code point // 256 → its page, int32 (4352,)"""
    pages: CodePoints = field(init=False, repr=False)
    """page, code point % 256 → id, int32 (P, 256)"""

    def __post_init__(self) -> None:
        ids = np.full(CODE_POINTS, UNKNOWN, np.int32)
        ids[code_points(self.characters)] = np.arange(FIRST, self.size)
        ids[PADDING] = PADDING
        for name, array in zip(("places", "pages"), pages(ids[FOLD]), strict=True):
            object.__setattr__(self, name, array)

    @property
    def size(self) -> int:
        """Return the number of known characters, and two."""
        return FIRST + len(self.characters)

    def ids(self, text: str) -> Ids:
        """Return the id of each character."""
        return self.numbered(code_points(text))

    def numbered(self, code_points_T: CodePoints) -> Ids:
        """Return the id of each code point."""
        return self.pages[self.places[code_points_T // PAGE], code_points_T % PAGE]

    def unknown_share(self, given: Ids) -> float:
        """Return the share of characters that are unknown."""
        return super().unknown_share(self.numbered(given))

    def as_document(self) -> Document:
        """Return the kind, the fold and the known characters."""
        return {"kind": "characters", "fold": FOLD_ID, "characters": self.characters}


def fit_characters(texts: Iterable[str], *, min_count: int, vocabulary: int) -> CharacterTokens:
    """Return the tokenizer that knows the most frequent characters; of equally frequent ones, the lowest code points."""
    counts = np.zeros(CODE_POINTS, np.int64)
    for chunk in _chunks(texts):
        counts += np.bincount(FOLD[code_points(chunk)], minlength=CODE_POINTS)
    counts[PADDING] = 0
    known = np.flatnonzero(counts >= min_count)
    ranked = known[np.argsort(-counts[known], kind="stable")]
    return CharacterTokens(text_of(ranked[:vocabulary].astype(np.int32)))


def _chunks(texts: Iterable[str]) -> Iterator[str]:
    chunk: list[str] = []
    size = 0
    for text in texts:
        chunk.append(text)
        size += len(text)
        if size >= CHUNK_CHARACTERS:
            yield "".join(chunk)
            chunk, size = [], 0
    yield "".join(chunk)
