"""Split conformal prediction: sets and intervals that hold the truth of a new example as often as asked for.

A nonconformity score says how badly outputs fit a truth. Of `n` calibration examples, a new example of the same kind
scores at most the ⌈(n + 1) · coverage⌉-th smallest with a probability of `coverage` or more (Vovk et al. 2005; Lei et
al. 2018, arXiv:1604.04173; Angelopoulos and Bates 2021, arXiv:2107.07511). Too few examples reach no such bound.
"""

# N examples

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

COVERAGES = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.975, 0.99, 0.995)
"""levels that are calibrated; one between two of them is served by the upper one"""


def threshold(scores_N: npt.NDArray[Any], coverage: float) -> float | None:
    """Return the largest nonconformity of a set's members; None where there are too few scores for the coverage."""
    rank = math.ceil((len(scores_N) + 1) * coverage - 1e-9)  # 0.95 · 20 is 19, and floats make a little more of it
    return None if rank > len(scores_N) else float(np.partition(scores_N, rank - 1)[rank - 1])


def examples_needed(coverage: float) -> int:
    """Return how many calibration examples a coverage takes at least."""
    return math.ceil(coverage / (1 - coverage) - 1e-9)


def level_for(levels: Sequence[Mapping[str, Any]], coverage: float) -> Mapping[str, Any] | None:
    """Return the calibrated level of the smallest coverage that is not below `coverage`, if there is one."""
    above = [level for level in levels if level["coverage"] >= coverage - 1e-9]
    return min(above, key=lambda level: level["coverage"], default=None)
