"""Changes of characters: Chinese ones that sound alike, and typing errors in Latin letters."""

# M characters of all texts, H characters that have homophones

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from models_store.tasks.text.augmentation import Homophones, Typos
from workers.tasks.text.augmentations.changes import Characters, build
from workers.tasks.text.augmentations.draws import Mask, Places, Random, counted, picked, share_of
from workers.tasks.text.augmentations.letters import Codes, Letters
from workers.tasks.text.augmentations.material import Material
from workers.tasks.text.augmentations.segments import is_han

ROWS_OF_KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
SET_OFF = 0.25
"""keys by which each row of a keyboard begins further right than the one above"""
REACH = 1.3
"""distance of a neighbouring key, at most"""
NEIGHBOUR, EXCHANGE, OMISSION, DOUBLING = range(4)
CASE = ord("a") - ord("A")


@dataclass(frozen=True)
class Sounds:
    """Characters that have homophones, sorted; those of one sound, itself among them, are `members[start:][:size]`."""

    codes_H: Codes  # noqa: N815  the shape is part of the name
    starts_H: Places  # noqa: N815
    sizes_H: Places  # noqa: N815
    own_H: Places  # noqa: N815  its place among them
    members: Codes

    def known(self, codes_M: Codes) -> Mask:
        """Return which characters have homophones."""
        if not len(self.codes_H):
            return np.zeros(len(codes_M), dtype=np.bool_)
        known_M: Mask = self.codes_H[self._places(codes_M)] == codes_M
        return known_M

    def drawn(self, codes: Codes, random: Random) -> Codes:
        """Return another character of the same sound for each that has one, all equally likely."""
        places = self._places(codes)
        others = (random.random(len(places)) * (self.sizes_H[places] - 1)).astype(np.int64)
        others += others >= self.own_H[places]
        drawn: Codes = self.members[self.starts_H[places] + others]
        return drawn

    def _places(self, codes: Codes) -> Places:
        return np.minimum(np.searchsorted(self.codes_H, codes), len(self.codes_H) - 1)


def sounds_of(characters: str, reading: Callable[[str], str]) -> Sounds:
    """Return the Chinese ones of the characters that sound like another of them."""
    by_sound: defaultdict[str, list[int]] = defaultdict(list)
    for character in sorted(set(characters)):
        if is_han(character) and (sound := reading(character)) != character:
            by_sound[sound].append(ord(character))
    rows: list[tuple[int, int, int, int]] = []
    members: list[int] = []
    for group in by_sound.values():
        if len(group) > 1:
            rows += [(code, len(members), len(group), own) for own, code in enumerate(group)]
            members += group
    table = np.array(sorted(rows), dtype=np.int64).reshape(-1, 4)
    return Sounds(table[:, 0].astype(np.int32), table[:, 1], table[:, 2], table[:, 3], np.array(members, np.int32))


@build.register
def _(part: Homophones, material: Material) -> Characters:
    from pypinyin import Style, pinyin  # noqa: PLC0415  it reads its dictionaries when it is imported

    style = Style.NORMAL if part.tones == "any" else Style.TONE3

    def reading(character: str) -> str:
        return str(pinyin(character, style=style)[0][0])

    sounds = sounds_of(material.characters, reading)

    def replace(letters: Letters, chosen_B: Mask, random: Random) -> Letters:
        known_M = sounds.known(letters.codes_M) & chosen_B[letters.rows_M]
        wanted_B = share_of(counted(known_M, letters.rows_M, texts=letters.texts), part.rate)
        places = picked(known_M, letters.rows_M, wanted_B, random)
        codes_M = letters.codes_M.copy()
        if len(places):
            codes_M[places] = sounds.drawn(codes_M[places], random)
        return Letters(codes_M, letters.rows_M, letters.texts)

    return Characters(part.probability, replace)


@build.register
def _(part: Typos, material: Material) -> Characters:  # noqa: ARG001  it needs none
    neighbours, counts = _keyboard()

    def mistype(letters: Letters, chosen_B: Mask, random: Random) -> Letters:
        codes_M, rows_M = letters.codes_M.copy(), letters.rows_M
        lower_M = codes_M | CASE
        latin_M = (lower_M >= ord("a")) & (lower_M <= ord("z")) & (codes_M < ord("z") + 1)
        eligible_M = latin_M & chosen_B[rows_M]
        wanted_B = share_of(counted(eligible_M, rows_M, texts=letters.texts), part.rate)
        places = np.sort(picked(eligible_M, rows_M, wanted_B, random))
        errors = random.integers(4, size=len(places))

        behind = np.minimum(places + 1, len(codes_M) - 1)
        is_picked_M = np.zeros(len(codes_M), dtype=np.bool_)
        is_picked_M[places] = True
        can_exchange = (behind > places) & latin_M[behind] & ~is_picked_M[behind] & (rows_M[behind] == rows_M[places])
        alone = np.bincount(rows_M, minlength=letters.texts)[rows_M[places]] == 1
        errors[((errors == EXCHANGE) & ~can_exchange) | ((errors == OMISSION) & alone)] = NEIGHBOUR

        mistyped = places[errors == NEIGHBOUR]
        keys = lower_M[mistyped] - ord("a")
        drawn = neighbours[keys, (random.random(len(keys)) * counts[keys]).astype(np.int64)]
        codes_M[mistyped] = drawn - CASE * (codes_M[mistyped] < ord("a"))
        left, right = places[errors == EXCHANGE], behind[errors == EXCHANGE]
        codes_M[left], codes_M[right] = codes_M[right], codes_M[left]
        times_M = np.ones(len(codes_M), dtype=np.int64)
        times_M[places[errors == OMISSION]] = 0
        times_M[places[errors == DOUBLING]] = 2
        return Letters(np.repeat(codes_M, times_M), np.repeat(rows_M, times_M), letters.texts)

    return Characters(part.probability, mistype)


def _keyboard() -> tuple[Codes, Places]:
    """Return the code points of the keys beside each of a to z, (26, most), and how many there are of each."""
    places = {
        key: (row, column + SET_OFF * row) for row, keys in enumerate(ROWS_OF_KEYS) for column, key in enumerate(keys)
    }
    beside = {
        key: [
            ord(other)
            for other, (other_row, other_column) in places.items()
            if other != key and (other_row - row) ** 2 + (other_column - column) ** 2 <= REACH**2
        ]
        for key, (row, column) in places.items()
    }
    table = np.zeros((26, max(map(len, beside.values()))), dtype=np.int32)
    for key, codes in beside.items():
        table[ord(key) - ord("a"), : len(codes)] = codes
    return table, np.array([len(beside[chr(ord("a") + number)]) for number in range(26)])
