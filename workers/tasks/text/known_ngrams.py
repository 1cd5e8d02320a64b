"""N-grams that a net knows: those of the training texts, and in how many texts of each class they are."""

# B batch, G n-gram, Y key, V row of the table (0: unknown), K class or label (1 for a number)

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models_store.tasks.text.backbones.ngrams import NgramNetwork
from workers.tasks.text.front_end import FrontEnd
from workers.tasks.text.ngrams import PRIME, Dictionary, Grams, Words

MERGED_KEYS = 1 << 23
"""keys that are gathered before they are counted"""

Batch = tuple[Tensor, Tensor]
"""some training texts as the front end takes them, and their targets: float (B, K), shares of classes or labels"""
Counted = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Counts:
    """In how many training texts the n-gram of each row is, and in how many of each class or with each label."""

    all_texts: int
    texts_V1: Tensor  # noqa: N815  the shape is part of the name
    bearing_VK: Tensor  # noqa: N815  the same

    @classmethod
    def unknown(cls, size: int, *, class_count: int) -> "Counts":
        """Return counts of so many rows, all 0: of a net whose state has what was made of them."""
        return cls(0, torch.zeros(size, 1), torch.zeros(size, class_count))


class KnownNgrams(nn.Module):
    """From what a net takes of texts to the rows of the n-grams that are known, 0 elsewhere: int64 (B, G)."""

    counts: Counts

    def __init__(self, part: NgramNetwork, front_end: FrontEnd) -> None:
        super().__init__()
        self.front_end = front_end
        self.tokens = Grams(part.ngrams, unit="token") if part.ngrams else None
        self.words = Words() if part.word_ngrams else None
        self.in_words = Grams(part.word_ngrams, unit="word") if part.word_ngrams else None
        self.dictionary = Dictionary.of(np.empty(0, np.int64))
        self.slots: nn.Module | None = None

    @property
    def size(self) -> int:
        """Return the number that every row is below."""
        return self.dictionary.count + 1

    def keys(self, inputs: Tensor) -> Tensor:
        """Return the keys of all n-grams (B, G), PRIME where there is none."""
        ids_BL, _ = self.front_end(inputs)
        found = [] if self.tokens is None else [self.tokens(ids_BL)]
        if self.words is not None and self.in_words is not None:
            found.append(self.in_words(self.words(ids_BL)))
        return torch.cat(found, dim=1) if len(found) > 1 else found[0]

    def forward(self, inputs: Tensor) -> Tensor:
        """Return rows int64 (B, G)."""
        find = self.dictionary if self.slots is None else self.slots
        rows_BG: Tensor = find(self.keys(inputs))
        return rows_BG

    def arrange(self) -> Tensor:
        """Find n-grams in one step from now on, as a file does; return the row that each new row was before."""
        arranged = self.dictionary.arranged()
        self.slots, self.dictionary = arranged.slots, Dictionary.of(np.empty(0, np.int64))
        return torch.from_numpy(arranged.places_S)


def fit(part: NgramNetwork, front_end: FrontEnd, batches: Iterable[Batch], *, class_count: int) -> KnownNgrams:
    """Return the n-grams of training texts, which are gone through twice."""
    known = KnownNgrams(part, front_end)
    keys_Y, texts_Y = _counted(known, batches)
    kept = np.flatnonzero(texts_Y >= part.min_count)
    if len(kept) > part.vocabulary:
        kept = np.sort(kept[np.argsort(-texts_Y[kept], kind="stable")[: part.vocabulary]])
    known.dictionary = Dictionary.of(keys_Y[kept])
    known.counts = _count_classes(known, batches, class_count=class_count)
    return known


def of_state(part: NgramNetwork, front_end: FrontEnd, state: Mapping[str, Tensor], *, class_count: int) -> KnownNgrams:
    """Return the n-grams that the state of such a module names."""
    known = KnownNgrams(part, front_end)
    known.dictionary = Dictionary.of_state(state, "dictionary.")
    known.counts = Counts.unknown(known.size, class_count=class_count)
    return known


def _counted(known: KnownNgrams, batches: Iterable[Batch]) -> tuple[Counted, Counted]:
    """Return all keys, ascending, and in how many texts each is."""
    keys_Y, texts_Y = np.empty(0, np.int64), np.empty(0, np.int64)
    gathered: list[Counted] = []
    for inputs, _ in batches:
        keys_G, _ = _distinct(known.keys(inputs))
        gathered.append(keys_G[keys_G < PRIME].numpy())
        if sum(map(len, gathered)) > MERGED_KEYS:
            keys_Y, texts_Y = _merged(keys_Y, texts_Y, gathered)
            gathered = []
    return _merged(keys_Y, texts_Y, gathered)


def _merged(keys_Y: Counted, texts_Y: Counted, gathered: list[Counted]) -> tuple[Counted, Counted]:
    distinct, counts = np.unique(np.concatenate([np.empty(0, np.int64), *gathered]), return_counts=True)
    every, places = np.unique(np.concatenate([keys_Y, distinct]), return_inverse=True)
    sums = np.bincount(places, weights=np.concatenate([texts_Y, counts]), minlength=len(every))
    return every, sums.astype(np.int64)


def _count_classes(known: KnownNgrams, batches: Iterable[Batch], *, class_count: int) -> Counts:
    counts = Counts.unknown(known.size, class_count=class_count)
    all_texts = 0
    for inputs, targets_BK in batches:
        rows_G, text_G = _distinct(known(inputs))
        counts.texts_V1.index_add_(0, rows_G, torch.ones(len(rows_G), 1))
        counts.bearing_VK.index_add_(0, rows_G, targets_BK[text_G])
        all_texts += len(targets_BK)
    return Counts(all_texts, counts.texts_V1, counts.bearing_VK)


def _distinct(numbers_BG: Tensor) -> tuple[Tensor, Tensor]:
    """Return the distinct numbers of each text, all in one row, and which text each is of."""
    ordered_BG = numbers_BG.sort(dim=1).values
    is_first_BG = torch.ones_like(ordered_BG, dtype=torch.bool)
    is_first_BG[:, 1:] = ordered_BG[:, 1:] != ordered_BG[:, :-1]
    return ordered_BG[is_first_BG], is_first_BG.nonzero()[:, 0]
