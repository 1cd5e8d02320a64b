"""Neighbours of words in a table of vectors: they stand in for synonyms."""

# V words, D dimensions

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from workers.tasks.text.augmentations.material import Synonyms

LEAST_COSINE = 0.4
"""of two words that are near: random vectors of usual widths are hardly ever so alike"""
AT_ONCE = 1024
"""words whose distances to all others are in memory at a time"""


def neighbours_in(words: Sequence[str], vectors_VD: npt.NDArray[np.floating]) -> Callable[[int], Synonyms]:
    """Return what gives each word its nearest others by the cosine of vectors, so many at most, the nearest first.

    Words are compared in lower case. A word whose vector is zero has no neighbours, and is nobody's.
    """
    norms_V1 = np.linalg.norm(vectors_VD.astype(np.float32), axis=1, keepdims=True)
    known = np.flatnonzero(norms_V1[:, 0] > 0)
    units_VD = vectors_VD[known].astype(np.float32) / norms_V1[known]
    names = [words[place].lower() for place in known.tolist()]

    def nearest(count: int) -> Synonyms:
        found: dict[str, tuple[str, ...]] = {}
        for start in range(0, len(names), AT_ONCE):
            cosines = units_VD[start : start + AT_ONCE] @ units_VD.T
            most = min(count + 1, len(names))
            places = np.argpartition(-cosines, most - 1, axis=1)[:, :most]
            order = np.argsort(-np.take_along_axis(cosines, places, axis=1), axis=1, kind="stable")
            for row, others in enumerate(np.take_along_axis(places, order, axis=1).tolist(), start):
                near = dict.fromkeys(
                    names[other]
                    for other in others
                    if names[other] != names[row] and cosines[row - start, other] >= LEAST_COSINE
                )
                if near:
                    found.setdefault(names[row], tuple(near)[:count])
        return found

    return nearest
