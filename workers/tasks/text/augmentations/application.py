"""Augmentation: the parts of a spec applied to a batch, first to whole texts, then to words, characters and tokens."""

# B texts of a batch, R those of them that are changed, L characters or tokens, P parts, K class

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from models_store.spec.part import Part
from models_store.tasks.text.codec import padded
from models_store.tasks.text.tokenizers.tokens import UNKNOWN as UNKNOWN_TOKEN
from workers.tasks.text.augmentations.changes import Change, Characters, Hiding, Mixing, Views, Words, build
from workers.tasks.text.augmentations.draws import Mask, Places, Random, numbers_of
from workers.tasks.text.augmentations.letters import Letters, codes_of, texts_of
from workers.tasks.text.augmentations.material import Material
from workers.tasks.text.augmentations.mixing import Mixed, mix
from workers.tasks.text.augmentations.segments import Cutter, Segments
from workers.tasks.text.augmentations.tokens import hidden

Kind = TypeVar("Kind", bound=Change)
NOTHING = Material()
Numbered = Callable[[str], NDArray[np.int32]]
UNKNOWN = 0xFFFD
"""code point that stands for one that is not known"""


class Augmentation:
    """What the parts of a spec do to batches of training texts. It has no state of a run: each draw is a generator's.

    `material` is what they take from the dataset; `most` is the most characters a text may have, if any; `numbered`
    gives a text's tokens, for `tokens`.
    """

    def __init__(
        self,
        parts: Sequence[Part] = (),
        material: Material = NOTHING,
        *,
        most: int | None = None,
        numbered: Numbered | None = None,
    ) -> None:
        self._most = most
        self._numbered = numbered
        self._changes = [build(part, material) for part in parts]
        self._cutter = Cutter(material.phrases) if self._of(Words) else None

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return itself: nothing of it changes, so copies of a net share it."""
        return self

    @property
    def draws(self) -> bool:
        """Whether there is any part."""
        return bool(self._changes)

    @property
    def rewrites(self) -> bool:
        """Whether `rewritten` does anything."""
        return any(isinstance(change, Views | Words | Characters) for change in self._changes)

    @property
    def mixes(self) -> bool:
        """Whether `mix` does anything."""
        return bool(self._of(Mixing))

    def rewritten(self, texts: Sequence[str], *, generator: Generator) -> list[str]:
        """Return the texts after the parts that change texts, each in its own way; none becomes empty."""
        random = numbers_of(generator)
        result = [*texts]
        self._view(result, random)
        self._change_words(result, random)
        self._change_characters(result, random)
        return result

    def code_points(self, codes_BL: Tensor, *, generator: Generator) -> Tensor:
        """Return texts as code points, with 0 behind their ends, after the parts that change texts or hide tokens."""
        if self.rewrites:
            texts = self.rewritten(texts_of(codes_BL.cpu().numpy()), generator=generator)
            codes_BL = torch.from_numpy(codes_of(texts, most=self._most)).to(codes_BL.device)
        return self.hidden(codes_BL, unknown=UNKNOWN, generator=generator)

    def tokens(self, tokens_BL: Tensor, codes_BL: Tensor, *, generator: Generator) -> Tensor:
        """Return texts as tokens, with 0 behind their ends, after the parts that change texts or hide tokens."""
        if self.rewrites:
            assert self._numbered is not None, "tokens are numbered before the file"
            texts = self.rewritten(texts_of(codes_BL.cpu().numpy()), generator=generator)
            tokens_BL = torch.from_numpy(padded(list(map(self._numbered, texts)))).to(tokens_BL.device)
        return self.hidden(tokens_BL, unknown=UNKNOWN_TOKEN, generator=generator)

    def hidden(self, tokens_BL: Tensor, *, unknown: int, generator: Generator) -> Tensor:
        """Return tokens, where 0 is padding, with some replaced by `unknown`."""
        return hidden(tokens_BL, self._of(Hiding), unknown=unknown, generator=generator)

    def mix(self, inputs: Any, targets_BK: Tensor, *, generator: Generator) -> tuple[Mixed, Tensor]:  # noqa: ANN401  a learner's own
        """Return prepared texts and float targets, mixed; `mixes` says whether there is a part that does it."""
        return mix(inputs, targets_BK, self._of(Mixing), generator=generator)

    def _view(self, texts: list[str], random: Random) -> None:
        for part in self._of(Views):
            draws_2B = random.random((2, len(texts)))
            for row in np.flatnonzero(draws_2B[0] < part.probability).tolist():
                texts[row] = part.change(texts[row], draws_2B[1, row]) or texts[row]

    def _change_words(self, texts: list[str], random: Random) -> None:
        parts = self._of(Words)
        rows_R, chosen_PR = _chosen([part.probability for part in parts], len(texts), random)
        if not len(rows_R):
            return
        assert self._cutter is not None, "there is a part that changes words"
        segments = Segments.of([self._cutter.cut(texts[row]) for row in rows_R.tolist()])
        for part, chosen_R in zip(parts, chosen_PR, strict=True):
            segments = part.change(segments, chosen_R, random)
        _put(texts, rows_R, segments.joined())

    def _change_characters(self, texts: list[str], random: Random) -> None:
        parts = self._of(Characters)
        rows_R, chosen_PR = _chosen([part.probability for part in parts], len(texts), random)
        if not len(rows_R):
            return
        letters = Letters.of([texts[row] for row in rows_R.tolist()])
        for part, chosen_R in zip(parts, chosen_PR, strict=True):
            letters = part.change(letters, chosen_R, random)
        _put(texts, rows_R, letters.joined())

    def _of(self, kind: type[Kind]) -> list[Kind]:
        return [change for change in self._changes if isinstance(change, kind)]


def _chosen(probabilities: Sequence[float], texts: int, random: Random) -> tuple[Places, Mask]:
    """Return the rows of texts that any part changes, and which of those each part does, (P, R)."""
    chosen_PB = random.random((len(probabilities), texts)) < np.array(probabilities).reshape(-1, 1)
    rows_R = np.flatnonzero(chosen_PB.any(0))
    return rows_R, chosen_PB[:, rows_R]


def _put(texts: list[str], rows_R: Places, changed: Iterable[str]) -> None:
    for row, text in zip(rows_R.tolist(), changed, strict=True):
        if text:
            texts[row] = text
