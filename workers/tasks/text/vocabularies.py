"""Vocabularies of a text net: how much each entry matters, and nets that know fewer entries.

An entry is an n-gram of a net on n-grams, or a token that has an embedding. Padding and what is unknown are none. An
ensemble has a vocabulary for each of its members.
"""

# B batch, L token, G n-gram, V row of a table, K class, E embedding

import copy
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from models_store.tasks.text.tokenizers.tokens import FIRST
from workers.tasks.task import Entries, Worths
from workers.tasks.text.backbones.ngrams import BagNet, LinearNet
from workers.tasks.text.backbones.sequence import Embedded
from workers.tasks.text.examples import TextExamples
from workers.tasks.text.front_end import renumbered
from workers.tasks.text.front_ends import inputs_of
from workers.tasks.text.known_ngrams import Counts, KnownNgrams
from workers.tasks.text.net import TextNet
from workers.tasks.text.ngrams import Dictionary
from workers.training.feeds import batches

AT_ONCE = 256
UNKNOWN_ROWS = 1
"""rows of an n-gram's table before the first entry"""


def worths(net: TextNet, examples: TextExamples) -> list[Worths]:
    """Return of each entry its squared weights times the number of training texts that have it.

    That is what the scores of the training texts lose without it, squared and added up, as if entries came alone.
    """
    places = list(_places(net))
    counts = _texts_with([_rows_of(place) for place in places], [_size(place) for place in places], examples)
    return [
        (_squares(place) * texts_V)[_first(place) :].astype(np.float64)
        for place, texts_V in zip(places, counts, strict=True)
    ]


def with_entries(net: TextNet, kept: Sequence[Entries]) -> TextNet:
    """Return a copy of a net that knows these entries alone."""
    cut = copy.deepcopy(net)
    for place, entries in zip(_places(cut), kept, strict=True):
        if isinstance(place, Embedded):
            _cut_tokens(place, entries)
        else:
            _cut_ngrams(place, entries)
    return cut


Place = LinearNet | BagNet | Embedded


def _places(net: TextNet) -> Iterator[Place]:
    for module in net.backbone.modules():
        if isinstance(module, LinearNet | BagNet | Embedded):
            yield module


def _first(place: Place) -> int:
    """Return the row of the first entry."""
    return FIRST if isinstance(place, Embedded) else UNKNOWN_ROWS


def _size(place: Place) -> int:
    return place.front_end.size if isinstance(place, Embedded) else place.known.size


def _rows_of(place: Place) -> Callable[[Tensor], Tensor]:
    """Return the function from what the net takes of texts to rows of the table (B, L or G)."""
    if not isinstance(place, Embedded):
        return place.known
    front_end = place.front_end
    return lambda inputs: front_end(inputs)[0]


def _squares(place: Place) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    if isinstance(place, LinearNet):
        weights_VK = place.weights().detach()
        if weights_VK.shape[1] > 1:  # what all classes have in common decides little
            weights_VK = weights_VK - weights_VK.mean(dim=1, keepdim=True)
    else:
        weights_VK = (place.embedding.weight if isinstance(place, Embedded) else place.table).detach()
    squares: np.ndarray[tuple[int], np.dtype[np.float32]] = weights_VK.square().sum(dim=1).cpu().numpy()
    return squares


def _texts_with(
    rows_of: Sequence[Callable[[Tensor], Tensor]], sizes: Sequence[int], examples: TextExamples
) -> list[np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Return in how many training texts each row is, for each vocabulary."""
    counts = [np.zeros(size, np.int64) for size in sizes]
    train = examples.split("train")
    for start, end in batches(len(train), AT_ONCE):
        raw = {name: torch.from_numpy(array) for name, array in examples.batch(train[start:end]).items()}
        inputs = inputs_of(raw)
        for number, find in enumerate(rows_of):
            with torch.no_grad():
                ordered = np.sort(find(inputs).cpu().numpy(), axis=1)
            is_first = np.ones(ordered.shape, np.bool_)
            is_first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
            counts[number] += np.bincount(ordered[is_first], minlength=sizes[number])
    return counts


def _cut_ngrams(place: LinearNet | BagNet, entries: Entries) -> None:
    known: KnownNgrams = place.known
    keys_Y = known.dictionary.keys[: known.dictionary.count].cpu().numpy().astype(np.int64)
    device = place.table.device
    known.dictionary = Dictionary.of(keys_Y[entries]).to(device)
    rows_V = torch.from_numpy(np.concatenate([np.arange(UNKNOWN_ROWS), entries + UNKNOWN_ROWS])).to(device)
    place.table = nn.Parameter(place.table.detach()[rows_V])
    known.counts = Counts.unknown(known.size, class_count=place.table.shape[1])
    if isinstance(place, LinearNet):
        place.factor = None if place.factor is None else place.factor[rows_V]
        place.square = None if place.square is None else place.square[rows_V]


def _cut_tokens(place: Embedded, entries: Entries) -> None:
    rows = np.concatenate([np.arange(FIRST), entries + FIRST])
    device = place.embedding.weight.device
    place.front_end = renumbered(place.front_end, rows)
    weight_VE = place.embedding.weight.detach()[torch.from_numpy(rows).to(device)]
    place.embedding = nn.Embedding(len(rows), weight_VE.shape[1], padding_idx=0, _weight=weight_VE)
