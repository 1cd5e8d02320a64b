"""Changes of words: synonyms, insertion, swap, deletion (EDA), and punctuation marks (AEDA)."""

# U units of all texts, B texts

from collections.abc import Callable

import numpy as np

from models_store.tasks.text.augmentation import (
    PunctuationInsertion,
    RandomDeletion,
    RandomInsertion,
    RandomSwap,
    SynonymReplacement,
)
from workers.tasks.text.augmentations.changes import Words, build
from workers.tasks.text.augmentations.draws import Mask, Places, Random, counted, picked, share_of
from workers.tasks.text.augmentations.material import Material, Synonyms
from workers.tasks.text.augmentations.segments import Segments, Units, is_han

LATIN_MARKS, CHINESE_MARKS = ".;?:!,", "。\uff1b\uff1f\uff1a\uff01\uff0c"


@build.register
def _(part: SynonymReplacement, material: Material) -> Words:
    synonyms = material.synonyms_of(part.neighbours)

    def replace(segments: Segments, chosen_B: Mask, random: Random) -> Segments:
        known_U = np.array([unit.lower() in synonyms for unit in segments.units_U], dtype=np.bool_)
        known_U &= chosen_B[segments.rows_U]
        wanted_B = share_of(counted(known_U, segments.rows_U, texts=segments.texts), part.rate)
        places = picked(known_U, segments.rows_U, wanted_B, random)
        units_U = segments.units_U.copy()
        units_U[places] = _synonyms_of(units_U[places], synonyms, random)
        return Segments(units_U, segments.gaps_U, segments.words_U, segments.rows_U, segments.texts)

    return Words(part.probability, replace)


@build.register
def _(part: RandomInsertion, material: Material) -> Words:
    synonyms = material.synonyms_of(part.neighbours)

    def insert(segments: Segments, chosen_B: Mask, random: Random) -> Segments:
        sources = _picked_words(segments, chosen_B, lambda words_B: share_of(words_B, part.rate), random)
        new = _synonyms_of(segments.units_U[sources], synonyms, random)
        sizes_B = np.bincount(segments.rows_U, minlength=segments.texts)
        rows = segments.rows_U[sources]
        places = (np.cumsum(sizes_B) - sizes_B)[rows] + (random.random(len(rows)) * sizes_B[rows]).astype(np.int64)
        gaps = segments.gaps_U[places]
        for number, place in enumerate(places):
            gaps[number] = gaps[number] or _gap_between(segments.units_U[place], new[number])
        return segments.with_inserted(places, new, gaps=(gaps, gaps), word=True)

    return Words(part.probability, insert)


@build.register
def _(part: RandomSwap, material: Material) -> Words:  # noqa: ARG001  it needs none
    def swap(segments: Segments, chosen_B: Mask, random: Random) -> Segments:
        pairs = _picked_words(
            segments, chosen_B, lambda words_B: 2 * np.minimum(share_of(words_B, part.rate), words_B // 2), random
        ).reshape(-1, 2)
        units_U = segments.units_U.copy()
        units_U[pairs] = units_U[pairs[:, ::-1]]
        return Segments(units_U, segments.gaps_U, segments.words_U, segments.rows_U, segments.texts)

    return Words(part.probability, swap)


@build.register
def _(part: RandomDeletion, material: Material) -> Words:  # noqa: ARG001  it needs none
    def delete(segments: Segments, chosen_B: Mask, random: Random) -> Segments:
        places = _picked_words(
            segments,
            chosen_B,
            lambda words_B: np.minimum(share_of(words_B, part.rate), np.maximum(words_B - 1, 0)),
            random,
        )
        kept_U = np.ones(len(segments.units_U), dtype=np.bool_)
        kept_U[places] = False
        return segments.kept(kept_U)

    return Words(part.probability, delete)


@build.register
def _(part: PunctuationInsertion, material: Material) -> Words:  # noqa: ARG001  it needs none
    def punctuate(segments: Segments, chosen_B: Mask, random: Random) -> Segments:
        draws_B = random.random(segments.texts)
        places = _picked_words(
            segments,
            chosen_B,
            lambda words_B: np.ceil(share_of(words_B, part.rate) * (1 - draws_B)).astype(np.int64),
            random,
        )
        marks = random.integers(len(LATIN_MARKS), size=len(places))
        new = np.empty(len(places), dtype=np.object_)
        for number, (place, mark) in enumerate(zip(places, marks, strict=True)):
            new[number] = (CHINESE_MARKS if is_han(segments.units_U[place][-1]) else LATIN_MARKS)[mark]
        before = np.full(len(places), "", dtype=np.object_)
        return segments.with_inserted(places, new, gaps=(before, segments.gaps_U[places]), word=False)

    return Words(part.probability, punctuate)


def _picked_words(segments: Segments, chosen_B: Mask, wanted: Callable[[Places], Places], random: Random) -> Places:
    """Return the places of words, as many of each chosen text as `wanted` makes of its number of words."""
    eligible_U = segments.words_U & chosen_B[segments.rows_U]
    wanted_B = wanted(counted(eligible_U, segments.rows_U, texts=segments.texts))
    return picked(eligible_U, segments.rows_U, wanted_B, random)


def _synonyms_of(units: Units, synonyms: Synonyms, random: Random) -> Units:
    """Return a synonym of each unit; itself where it has none."""
    found = np.empty(len(units), dtype=np.object_)
    for number, (unit, draw) in enumerate(zip(units, random.random(len(units)).tolist(), strict=True)):
        others = synonyms.get(unit.lower(), (unit,))
        found[number] = others[int(draw * len(others))]
    return found


def _gap_between(left: str, right: str) -> str:
    return "" if is_han(left[-1]) or is_han(right[0]) else " "
