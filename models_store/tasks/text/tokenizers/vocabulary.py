"""Tokenizers that number words: a segmenter and a vocabulary."""

# T tokens of a text

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from models_store.tasks.text.folding import FOLD_ID, folded
from models_store.tasks.text.tokenizers.segmenters import Segment
from models_store.tasks.text.tokenizers.tokens import FIRST, UNKNOWN, Document, Ids, Tokens

MOST_COUNTED = 1_000_000
"""different words that are counted at once, about 150 MB"""
LONGEST_WORD = 64
"""characters of a word that can be known: longer ones are links, codes and noise"""


@dataclass(frozen=True, eq=False)
class WordTokens(Tokens):
    """Words of a segmenter; `words` are those that are known, the most frequent first."""

    in_graph: ClassVar[bool] = False
    words: tuple[str, ...]
    segment: Segment
    description: Mapping[str, Any]
    """the segmenter in the document: `kind`, its package, version and options"""
    numbers: Mapping[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "numbers", {word: FIRST + place for place, word in enumerate(self.words)})

    @property
    def size(self) -> int:
        """Return the number of known words, and two."""
        return FIRST + len(self.words)

    def ids(self, text: str) -> Ids:
        """Return the id of each word."""
        numbers = self.numbers
        return np.array([numbers.get(word, UNKNOWN) for word in self.segment(folded(text))], np.int32)

    def as_document(self) -> Document:
        """Return the segmenter, the fold and the known words."""
        return {**self.description, "fold": FOLD_ID, "words": list(self.words)}


def frequent_words(texts: Iterable[str], segment: Segment, *, min_count: int, vocabulary: int) -> tuple[str, ...]:
    """Return the most frequent words of the texts; of equally frequent ones, the first by code points.

    Memory is bounded: when too many different words are counted, the rarest are forgotten, as in fastText.
    """
    counts: Counter[str] = Counter()
    rarest = 1
    for text in texts:
        counts.update(word for word in segment(folded(text)) if len(word) <= LONGEST_WORD)
        while len(counts) > MOST_COUNTED:
            counts = Counter({word: count for word, count in counts.items() if count > rarest})
            rarest += 1
    known = [word for word, count in counts.items() if count >= min_count]
    return tuple(sorted(known, key=lambda word: (-counts[word], word))[:vocabulary])
