"""N-grams that weigh most in a linear net of texts, read back from the training texts that have them."""

# B batch, L token, G n-gram, V row of the table (0: unknown), K class or label (1 for a number)

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from models_store.tasks.text.tokenizers.tokens import FIRST
from models_store.tasks.text.words import BETWEEN, IN_WORD
from workers.evaluation.features import Feature
from workers.tasks.text.backbones.ngrams import LinearNet
from workers.tasks.text.examples import TextExamples
from workers.tasks.text.front_ends import inputs_of
from workers.tasks.text.known_ngrams import KnownNgrams
from workers.tasks.text.net import TextNet
from workers.tasks.text.ngrams import Words
from workers.training.feeds import batches

MOST = 20
"""n-grams of each class"""
CANDIDATES = 10 * MOST
"""n-grams of each class that are read back: of two, one is left out where it is a part of the other"""
LEAST_TEXTS = 3
"""training texts that an n-gram must be in to be worth a reader's time"""
AT_ONCE = 256
NOT_KNOWN = "\ufffd"

Array = npt.NDArray[Any]
Read = dict[int, tuple[str, int]]
"""row → the n-gram, and how many training texts have it"""


def features(net: TextNet, examples: TextExamples) -> list[Feature]:
    """Return what speaks most for each class or label, or for and against a large number; nothing of other nets."""
    names = _names(examples)
    if not isinstance(net.backbone, LinearNet) or names == []:
        return []
    weights_VK = net.backbone.weights().detach().cpu().numpy()
    if examples.targets.ndim == 1:  # of classes that exclude each other only differences matter
        weights_VK = weights_VK - weights_VK.mean(axis=1, keepdims=True)
    columns: list[tuple[str | None, Array, float]]
    columns = [(label, weights_VK[:, number], 1.0) for number, label in enumerate(examples.classes)]
    if not columns:
        columns = [(None, weights_VK[:, 0], 1.0), (None, -weights_VK[:, 0], -1.0)]
    largest = [_largest(column_V) for _, column_V, _ in columns]
    read = _read(net.backbone.known, examples, np.unique(np.concatenate(largest)), names)
    return [
        Feature(label, ngram, sign * float(column_V[row]), count)
        for (label, column_V, sign), rows in zip(columns, largest, strict=True)
        for row, ngram, count in _distinct(rows.tolist(), read)
    ]


def _names(examples: TextExamples) -> Sequence[str] | None:
    """Return the tokens in the order of their ids; None: ids are code points; none at all: they can't be spelled."""
    document = examples.tokenizer.as_document()
    if document["kind"] == "code_points":
        return None
    return list(document.get("characters") or document.get("words") or "")


def _largest(column_V: Array) -> Array:
    """Return the rows of the largest weights above 0, the largest first."""
    order: Array = np.argsort(-column_V, kind="stable")[:CANDIDATES]
    return order[column_V[order] > 0]


def _distinct(rows: Sequence[int], read: Read) -> Iterator[tuple[int, str, int]]:
    """Yield the first n-grams that are in enough texts, and no part of each other."""
    shown: list[str] = []
    for row in rows:
        ngram, count = read.get(row, ("", 0))
        bare = ngram.strip()
        if count < LEAST_TEXTS or not bare or any(bare in each or each in bare for each in shown):
            continue
        shown.append(bare)
        yield row, ngram, count
        if len(shown) == MOST:
            return


def _read(known: KnownNgrams, examples: TextExamples, wanted: Array, names: Sequence[str] | None) -> Read:
    """Return the n-grams of the wanted rows, as the first training text has them."""
    ngrams: dict[int, str] = {}
    counts: dict[int, int] = {}
    train = examples.split("train")
    for start, end in batches(len(train), AT_ONCE):
        raw = {name: torch.from_numpy(array) for name, array in examples.batch(train[start:end]).items()}
        with torch.no_grad():
            inputs = inputs_of(raw).to(known.dictionary.keys.device)
            rows_BG = known(inputs).cpu().numpy()
            ids_BL = known.front_end(inputs)[0].cpu().numpy()
        for rows_G, ids_L in zip(rows_BG, ids_BL, strict=True):
            places = np.flatnonzero(np.isin(rows_G, wanted))
            if not len(places):
                continue
            spelled = _Spelled(known, ids_L, names)
            ngrams |= {row: spelled.at(place) for place in places.tolist() if (row := int(rows_G[place])) not in ngrams}
            for row in set(rows_G[places].tolist()):
                counts[row] = counts.get(row, 0) + 1
    return {row: (ngram, counts[row]) for row, ngram in ngrams.items()}


class _Spelled:
    """A text's n-grams as strings, in the order in which `KnownNgrams` has their rows."""

    def __init__(self, known: KnownNgrams, ids_L: Array, names: Sequence[str] | None) -> None:
        self._ids_L, self._names = ids_L, names
        self._lengths = [] if known.tokens is None else (known.tokens.ends + 1).tolist()
        self._word_lengths = [] if known.in_words is None else (known.in_words.ends + 1).tolist()
        self._words = [] if known.words is None else _words(known.words, ids_L)

    def at(self, place: int) -> str:
        """Return the n-gram at a place."""
        of_tokens = len(self._ids_L) * len(self._lengths)
        if place >= of_tokens:
            first, which = divmod(place - of_tokens, len(self._word_lengths))
            return " ".join(self._words[first : first + self._word_lengths[which]])
        first, which = divmod(place, len(self._lengths))
        tokens = [self._name(number) for number in self._ids_L[first : first + self._lengths[which]].tolist()]
        return (" " if any(len(token) > 1 for token in tokens) else "").join(tokens)

    def _name(self, number: int) -> str:
        if self._names is None:
            return chr(number)
        return self._names[number - FIRST] if number >= FIRST else NOT_KNOWN


def _words(words: Words, ids_L: Array) -> list[str]:
    """Return the words of folded code points, as `Words` finds them."""
    kinds_L = words.kinds_of(torch.from_numpy(ids_L).to(words.kinds.device)).cpu().numpy()
    found: list[str] = []
    for kind, run in groupby(zip(kinds_L.tolist(), ids_L.tolist(), strict=True), key=lambda each: each[0]):
        letters = [chr(number) for _, number in run]
        if kind == IN_WORD:
            found.append("".join(letters))
        elif kind != BETWEEN:
            found += letters
    return found
