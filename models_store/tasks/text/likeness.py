"""Likeness of texts: what copies share, and sketches that near copies mostly share.

Both leave out case, width, punctuation and white space; emoji and other symbols count, as they turn a text's meaning.
A sketch is a MinHash (Broder 1997) of the text's runs of three characters.
"""

# T code points of a text, S runs of them, D numbers of a sketch

import functools
import hashlib
import unicodedata

import numpy as np
from numpy.typing import NDArray

from models_store.datasets.near_copies import NUMBERS
from models_store.tasks.text.folding import FOLD, CodePoints

DIGEST_BYTES = 8
RUN = 3
SOME_RUNS = 256
"""about how many runs of a long text its sketch is made of: those of small numbers, of which texts share as of all"""
FEWEST_RUNS = 64
ALL_NUMBERS = 1 << 32
MEANINGLESS = ("P", "Z", "Cc", "Cf")
LOOKED_AT = (range(0x20000), range(0xE0000, 0xE1000))
"""code points that may be of these categories; ideographs and private use are not looked at"""
WEIGHTS = np.array([0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D], np.uint32)
MULTIPLIERS = np.random.Generator(np.random.PCG64(14)).integers(1 << 32, size=(NUMBERS, 1), dtype=np.uint32) | 1
OFFSETS = np.random.Generator(np.random.PCG64(41)).integers(1 << 32, size=(NUMBERS, 1), dtype=np.uint32)


def bare(code_points_T: CodePoints) -> CodePoints:
    """Return the folded code points that mean something; all of them if none does, as in `:)`."""
    folded_T = FOLD[code_points_T]
    kept_T = folded_T[~_is_meaningless()[folded_T]]
    return kept_T if len(kept_T) else folded_T


def digest(bare_T: CodePoints) -> str:
    """Return what copies of a text share, of its bare code points."""
    return hashlib.blake2b(bare_T.tobytes(), digest_size=DIGEST_BYTES).hexdigest()


def sketch(bare_T: CodePoints) -> bytes:
    """Return what near copies of a text mostly share, of its bare code points."""
    padded_T = bare_T.astype(np.uint32) if len(bare_T) >= RUN else np.resize(bare_T.astype(np.uint32), RUN)
    runs_S = _mixed(sum(padded_T[at : len(padded_T) - RUN + 1 + at] * WEIGHTS[at] for at in range(RUN)))
    if len(runs_S) > SOME_RUNS:
        some_S = runs_S[runs_S < ALL_NUMBERS * SOME_RUNS // len(runs_S)]
        runs_S = some_S if len(some_S) >= FEWEST_RUNS else np.unique(runs_S)[:SOME_RUNS]  # it repeats itself
    smallest_D: NDArray[np.uint32] = (runs_S * MULTIPLIERS + OFFSETS).min(axis=1)
    return smallest_D.tobytes()


def _mixed(hashes_S: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return the numbers with their bits spread (the finalizer of MurmurHash3)."""
    for multiplier, shift in ((0x85EBCA6B, 16), (0xC2B2AE35, 13)):
        hashes_S = (hashes_S ^ (hashes_S >> np.uint32(shift))) * np.uint32(multiplier)
    return hashes_S ^ (hashes_S >> np.uint32(16))


@functools.cache
def _is_meaningless() -> NDArray[np.bool_]:
    """Return for each code point whether it is punctuation, white space or a control."""
    table = np.zeros(len(FOLD), np.bool_)
    for code_points in LOOKED_AT:
        for code_point in code_points:
            table[code_point] = unicodedata.category(chr(code_point)).startswith(MEANINGLESS)
    return table
