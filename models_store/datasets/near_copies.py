"""Near copies among examples, by sketches: 64 numbers of which two examples share about as many as they have in common.

A task makes the sketches (MinHash: Broder 1997), so what is common to two of its examples is its own affair. Pairs are
looked for in bands of four numbers: a pair that shares 80 % of its numbers shares one of the sixteen bands in all but 2
of 10,000 cases.
"""

# N examples, D numbers of a sketch

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Sketches = npt.NDArray[np.uint32]
"""(N, D)"""
Indices = npt.NDArray[np.int64]

NUMBERS = 64
SKETCH_BYTES = 4 * NUMBERS
BAND = 4
ALIKE = 0.8
"""share of their numbers that near copies have in common"""
MOST_EXAMPLES = 500_000
"""of more, none are looked for: it would take minutes"""
AT_ONCE = 1 << 16
MIXER = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93], np.uint64)


def families(keys_N: npt.NDArray[np.uint64], sketches_ND: Sketches | None) -> Indices:
    """Return for each example the first one of its family: copies, which share a key, and near copies of those."""
    firsts, family_N = np.unique(keys_N, return_index=True, return_inverse=True)[1:]
    first_N = firsts[family_N]  # of its copies
    if sketches_ND is None or len(firsts) > MOST_EXAMPLES:
        return first_N.astype(np.int64)
    places = np.sort(firsts)
    parents = np.arange(len(keys_N))
    for left, right in _near(sketches_ND, places):
        _join(parents, left, right)
    return _roots(parents, first_N.astype(np.int64))


def _near(sketches_ND: Sketches, places: Indices) -> Iterator[tuple[int, int]]:
    """Yield pairs of near copies among the examples at `places`, neighbours in a band alone."""
    for start in range(0, sketches_ND.shape[1], BAND):
        with np.errstate(over="ignore"):
            mixed = sketches_ND[places, start : start + BAND].astype(np.uint64) * MIXER
            bands = np.bitwise_xor.reduce(mixed ^ (mixed >> np.uint64(29)), axis=1)
        order = np.argsort(bands, kind="stable")
        same = np.flatnonzero(bands[order[1:]] == bands[order[:-1]])
        lefts, rights = places[order[same]], places[order[same + 1]]
        for at in range(0, len(same), AT_ONCE):
            left, right = lefts[at : at + AT_ONCE], rights[at : at + AT_ONCE]
            shared = (sketches_ND[left] == sketches_ND[right]).mean(axis=1)
            for found in np.flatnonzero(shared >= ALIKE).tolist():
                yield int(left[found]), int(right[found])


def _join(parents: Indices, left: int, right: int) -> None:
    first, second = sorted((_root(parents, left), _root(parents, right)))
    parents[second] = first


def _root(parents: Indices, place: int) -> int:
    while (above := int(parents[place])) != place:
        parents[place] = parents[above]
        place = above
    return place


def _roots(parents: Indices, places: Indices) -> Indices:
    """Return the root of each place."""
    roots = parents[places]
    while not np.array_equal(above := parents[roots], roots):
        roots = above
    return roots
