"""How many times faster one file is than another, on a machine that does other things beside.

The files take turns (A B, then B A, …), so that a machine that drifts drifts for all of them. Of a round's calls the
quickest counts: what else runs only ever adds time (Chen and Revels 2016, Robust benchmarking in noisy environments,
arXiv:1608.04295). The ratio of two files is the median of the rounds' ratios, with the distribution-free interval
between two of them that holds it in 95 of 100 cases (order statistics: David and Nagaraja 2003, section 7.1).
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb

import numpy as np
import onnxruntime
from numpy.typing import NDArray

# N images of a batch, H height, W width, C channel

LEVEL = 0.95
LEAST_ROUNDS = 9  # the fewest of which an interval of 95 % can leave out the highest and the lowest
MOST_ROUNDS = 30
CALLS_PER_ROUND = 3  # few, so that two files are measured within milliseconds; more than one, for the caches' sake
MOST_CALLS_PER_ROUND = 50
WARM_UP_CALLS = 3

Rounds = list[list[float]]
"""seconds of each call, by round"""


@dataclass(frozen=True)
class Ratio:
    """How many times faster one file is than another, and the ends of the 95 % interval of that."""

    value: float
    low: float
    high: float


def take_turns(
    sessions: Mapping[str, onnxruntime.InferenceSession],
    batch_NHWC: NDArray[np.uint8],
    *,
    budget_s: float,
    least_rounds: int = LEAST_ROUNDS,
) -> dict[str, Rounds]:
    """Return the seconds of each call of each session on the batch, after a warm-up.

    It takes about `budget_s` for all together, and more where `least_rounds` of single calls do.
    """
    feed = {"images": batch_NHWC}
    turn_s = 0.0  # one call of each session
    for session in sessions.values():
        warm_up_s = [_seconds(session, feed)]
        while len(warm_up_s) < WARM_UP_CALLS and sum(warm_up_s) < budget_s / 10:
            warm_up_s.append(_seconds(session, feed))
        turn_s += min(warm_up_s)
    turns = budget_s / turn_s
    rounds = int(min(max(turns / CALLS_PER_ROUND, least_rounds), MOST_ROUNDS))
    repeats = int(min(max(turns / rounds, 1), MOST_CALLS_PER_ROUND))
    timings: dict[str, Rounds] = {name: [] for name in sessions}
    for round_ in range(rounds):
        for name in list(sessions)[:: 1 if round_ % 2 == 0 else -1]:
            timings[name].append([_seconds(sessions[name], feed) for _ in range(repeats)])
    return timings


def ratio(baseline: Rounds, form: Rounds) -> Ratio:
    """Return how many times faster `form` is than `baseline`, both from the same call of `take_turns`."""
    ratios = sorted(min(other) / min(own) for other, own in zip(baseline, form, strict=True))
    left_out = _left_out(len(ratios))
    return Ratio(float(np.median(ratios)), ratios[left_out], ratios[-1 - left_out])


def median_s(rounds: Sequence[Sequence[float]]) -> float:
    """Return the median of all calls, in seconds."""
    return float(np.median(np.concatenate(rounds)))


def _left_out(count: int) -> int:
    """Return how many of `count` values may be left out at either end of the median's interval.

    Each value is below the true median with probability 1/2: with k left out at either end, the interval misses it with
    probability 2 · P(Binomial(count, 1/2) ≤ k). Of fewer than 6 values, not even all hold it in 95 of 100 cases.
    """
    left_out, missed = 0, 0.0
    while (missed := missed + 2 * comb(count, left_out) / 2**count) <= 1 - LEVEL:
        left_out += 1
    return max(left_out - 1, 0)


def _seconds(session: onnxruntime.InferenceSession, feed: Mapping[str, NDArray[np.uint8]]) -> float:
    start = time.perf_counter()
    session.run(["probabilities"], feed)
    return time.perf_counter() - start
