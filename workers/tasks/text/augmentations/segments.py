"""Segments: texts cut into words and marks, changed as arrays over a whole batch, and joined again."""

# B texts, U units of all of them, one text after the other

import functools
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models_store.tasks.text.tokenizers.segmenters import rjieba_words
from workers.tasks.text.augmentations.draws import Mask, Places

HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
LATIN_MARKS = r"!-/:-@\[-`{-~\u00a1-\u00bf\u2010-\u2027\u2030-\u205e"
WIDE_MARKS = r"\u3001-\u303f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65"
MARKS = LATIN_MARKS + WIDE_MARKS
UNIT = re.compile(rf"([{HAN}]+|[^\s{MARKS}{HAN}]+(?:['\u2019-][^\s{MARKS}{HAN}]+)*|[{MARKS}])(\s*)")
IS_HAN = re.compile(f"[{HAN}]")
IS_MARK = re.compile(f"[{MARKS}]")
CUTS_KEPT = 1 << 14
"""texts whose cuts stay in memory: those of a small dataset come again in every epoch"""

Units = npt.NDArray[np.object_]


@dataclass(frozen=True)
class Cut:
    """One text: its units, the white space behind each, and whether each is a word."""

    units: tuple[str, ...]
    gaps: tuple[str, ...]
    words: tuple[bool, ...]


@dataclass(frozen=True)
class Segments:
    """Texts as arrays over all their units; `rows_U` is the text of each unit, ascending. Arrays are not written to."""

    units_U: Units  # noqa: N815  the shape is part of the name
    gaps_U: Units  # noqa: N815
    words_U: Mask  # noqa: N815
    rows_U: Places  # noqa: N815
    texts: int

    @classmethod
    def of(cls, cuts: Sequence[Cut]) -> "Segments":
        """Return the texts of their cuts."""
        return cls(
            _objects(unit for cut in cuts for unit in cut.units),
            _objects(gap for cut in cuts for gap in cut.gaps),
            np.array([word for cut in cuts for word in cut.words], dtype=np.bool_),
            np.repeat(np.arange(len(cuts)), [len(cut.units) for cut in cuts]),
            len(cuts),
        )

    def joined(self) -> list[str]:
        """Return the texts, without white space at their ends."""
        pieces = (self.units_U + self.gaps_U).tolist()
        ends = np.searchsorted(self.rows_U, np.arange(self.texts), side="right").tolist()
        return ["".join(pieces[start:end]).rstrip() for start, end in zip([0, *ends[:-1]], ends, strict=True)]

    def kept(self, kept_U: Mask) -> "Segments":
        """Return the texts with these units alone."""
        return Segments(
            self.units_U[kept_U], self.gaps_U[kept_U], self.words_U[kept_U], self.rows_U[kept_U], self.texts
        )

    def with_inserted(self, places: Places, units: Units, *, gaps: tuple[Units, Units], word: bool) -> "Segments":
        """Return the texts with new units behind those at `places`; `gaps` are those before and behind the new ones."""
        before, behind = gaps
        gaps_U = self.gaps_U.copy()
        gaps_U[places] = before
        return Segments(
            np.insert(self.units_U, places + 1, units),
            np.insert(gaps_U, places + 1, behind),
            np.insert(self.words_U, places + 1, word),
            np.insert(self.rows_U, places + 1, self.rows_U[places]),
            self.texts,
        )


class Cutter:
    """Cuts texts into units: Chinese by a segmenter, all else at white space and punctuation.

    `phrases` stay whole, though a cut would fall into them.
    """

    def __init__(self, phrases: Iterable[str] = ()) -> None:
        self._segment = rjieba_words(mode="precise", hmm=True, own_words=())
        self._phrases: defaultdict[str, list[tuple[str, ...]]] = defaultdict(list)
        for phrase in sorted(set(phrases)):
            units = self._cut(phrase).units
            if len(units) > 1:
                self._phrases[units[0].lower()].append(tuple(unit.lower() for unit in units))
        for same_start in self._phrases.values():
            same_start.sort(key=len, reverse=True)
        self.cut: Callable[[str], Cut] = functools.lru_cache(CUTS_KEPT)(self._cut_with_phrases)

    def _cut(self, text: str) -> Cut:
        units: list[str] = []
        gaps: list[str] = []
        for unit, gap in UNIT.findall(text):
            if len(unit) > 1 and IS_HAN.match(unit):
                pieces = self._segment(unit)
                units += pieces
                gaps += [""] * (len(pieces) - 1)
            else:
                units.append(unit)
            gaps.append(gap)
        return Cut(tuple(units), tuple(gaps), tuple(not IS_MARK.match(unit) for unit in units))

    def _cut_with_phrases(self, text: str) -> Cut:
        cut = self._cut(text)
        if not self._phrases:
            return cut
        units: list[str] = []
        gaps: list[str] = []
        lowered = [unit.lower() for unit in cut.units]
        place = 0
        while place < len(lowered):
            length = self._phrase_at(lowered, place)
            last = place + length - 1
            whole = "".join(unit + gap for unit, gap in zip(cut.units[place:last], cut.gaps[place:last], strict=True))
            units.append(whole + cut.units[last])
            gaps.append(cut.gaps[last])
            place += length
        return Cut(tuple(units), tuple(gaps), tuple(not IS_MARK.match(unit) for unit in units))

    def _phrase_at(self, lowered: list[str], place: int) -> int:
        """Return the number of units of the longest phrase that begins there; 1 if there is none."""
        for phrase in self._phrases.get(lowered[place], ()):
            if tuple(lowered[place : place + len(phrase)]) == phrase:
                return len(phrase)
        return 1


def is_han(character: str) -> bool:
    """Return whether a character is a Chinese one."""
    return IS_HAN.match(character) is not None


def _objects(values: Iterable[str]) -> Units:
    return np.array([*values], dtype=np.object_)
