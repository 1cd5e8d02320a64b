"""Draws: a step's random numbers for numpy, and units picked at random from each text of a batch."""

# B texts, U units of all of them, one text after the other

import numpy as np
import numpy.typing as npt
import torch

Random = np.random.Generator
Mask = npt.NDArray[np.bool_]
Places = npt.NDArray[np.int64]


def numbers_of(generator: torch.Generator) -> Random:
    """Return numpy's generator, seeded by the next draw of torch's."""
    seed = torch.randint(2**63 - 1, (1,), generator=generator, device=generator.device)
    return np.random.Generator(np.random.SFC64(int(seed)))


def counted(eligible_U: Mask, rows_U: Places, *, texts: int) -> Places:
    """Return the number of eligible units of each text, (B,)."""
    return np.bincount(rows_U[eligible_U], minlength=texts).astype(np.int64)


def share_of(counts_B: Places, rate: float) -> Places:
    """Return a share of each count, rounded; at least one, where there is any and the rate is not 0."""
    least = 1 if rate > 0 else 0
    shares_B: Places = np.minimum(np.maximum(np.rint(counts_B * rate), least), counts_B).astype(np.int64)
    return shares_B


def picked(eligible_U: Mask, rows_U: Places, wanted_B: Places, random: Random) -> Places:
    """Return the places of so many eligible units of each text: text after text, in random order within each.

    `rows_U` is the text of each unit, ascending; a text gives what it has where more is wanted.
    """
    places = np.flatnonzero(eligible_U)
    rows = rows_U[places]
    counts_B = np.bincount(rows, minlength=len(wanted_B))
    order = np.lexsort((random.random(len(places)), rows))  # `rows` is the same in this order
    ranks = np.arange(len(places)) - (np.cumsum(counts_B) - counts_B)[rows]
    found: Places = places[order[ranks < wanted_B[rows]]]
    return found
