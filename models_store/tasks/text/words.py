"""Words of folded code points, as files of n-grams find them.

A word is a run of letters, or one character of a script without spaces, an emoji or a symbol.
"""

# T code points of a text

import numpy as np
import numpy.typing as npt

from models_store.tasks.text.folding import CODE_POINTS, TABLES

BETWEEN, IN_WORD, WORD = 0, 1, 2
"""kinds of code points: the last is a word by itself"""
UNSPACED = 0x0E00
"""first code point of the scripts without spaces between words; symbols and emoji are words by themselves too"""
PUNCTUATION = ((0x2000, 0x206F), (0x3000, 0x303F), (0xFE10, 0xFE6F), (0xFF00, 0xFF65))

Numbers = npt.NDArray[np.int32]


def kinds() -> Numbers:
    """Return the kind of each code point, int32 (0x110000,)."""
    found = np.full(CODE_POINTS, BETWEEN, np.int32)
    found[UNSPACED:] = WORD
    for first, last in PUNCTUATION:
        found[first : last + 1] = BETWEEN
    for first, last in TABLES["words"]:
        found[first : last + 1] = IN_WORD
    return found


def spans(folded_T: Numbers) -> list[tuple[int, int]]:
    """Return where each word of a text begins and ends."""
    kinds_T = kinds()[folded_T]
    next_T = np.append(kinds_T[1:], BETWEEN)
    ends = np.flatnonzero((kinds_T == WORD) | ((kinds_T == IN_WORD) & (next_T != IN_WORD))) + 1
    before_T = np.insert(kinds_T[:-1], 0, BETWEEN)[: len(kinds_T)]
    starts = np.flatnonzero((kinds_T == WORD) | ((kinds_T == IN_WORD) & (before_T != IN_WORD)))
    return list(zip(starts.tolist(), ends.tolist(), strict=True))
