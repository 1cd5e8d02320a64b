"""Timing of one file against another on a machine with other work.

The files take turns (A B, then B A, …), so that a machine that drifts drifts for all of them. Of a round's calls the
quickest counts: what else runs only ever adds time (Chen and Revels 2016, Robust benchmarking in noisy environments,
arXiv:1608.04295). The ratio of two files is the median of the rounds' ratios, with the distribution-free interval
between two of them that holds it in 95 of 100 cases (order statistics: David and Nagaraja 2003, section 7.1).

On the CPU a call is compared by the time that its thread has run: on one thread nothing else computes for it, and the
time in which the system ran others is not the file's. On an idle machine both clocks tell the same.

Files that ran at different moments are compared through the baseline, beside which each of them ran. The figure of a
variant is the baseline's own time over the variant's ratio (`pace`), so that figures and ratios never disagree.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb
from typing import Literal, NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from models_store.models.providers import Provider
from workers.training.examples import Inputs

LEVEL = 0.95
LEAST_ROUNDS = 9  # the fewest of which an interval of 95 % can leave out the highest and the lowest
FEWEST_ROUNDS = 6  # the fewest that have an interval of 95 % at all
MOST_ROUNDS = 30
CALLS_PER_ROUND = 3  # few, so that two files are measured within milliseconds; more than one, for the caches' sake
MOST_CALLS_PER_ROUND = 50
WARM_UP_CALLS = 3


class Call(NamedTuple):
    """One call of a session."""

    wall_s: float
    """from beginning to end"""
    thread_s: float
    """in which the calling thread ran"""


Rounds = Sequence[Sequence[Call]]
"""the calls of each round"""
Clock = Literal["wall_s", "thread_s"]
CLOCKS: dict[Provider, Clock] = {"cpu": "thread_s", "cuda": "wall_s"}
"""by which of a call's times files are compared"""


@dataclass(frozen=True)
class Ratio:
    """How many times faster one file is than another, and the ends of the 95 % interval of that."""

    value: float
    low: float
    high: float


class Pair(NamedTuple):
    """The rounds of a variant and of the baseline, both from the same call of `take_turns`."""

    baseline: Rounds
    variant: Rounds


@dataclass(frozen=True)
class Pace:
    """How fast a variant is, comparable with every other variant that ran beside the same baseline."""

    speedup: Ratio
    """at batch 1"""
    latency_ms: dict[str, float]
    """p50: the baseline's over the speedup; p95: as far above it as in the variant's own calls"""
    throughput: dict[str, float]
    """batch size → examples per second: the baseline's times the ratio at that size"""


def take_turns(
    sessions: Mapping[str, onnxruntime.InferenceSession],
    feed: Inputs,
    *,
    budget_s: float,
    least_rounds: int = LEAST_ROUNDS,
    fewest_rounds: int = FEWEST_ROUNDS,
    limit_s: float = math.inf,
) -> dict[str, Rounds]:
    """Return the calls of each session on one batch, after a warm-up.

    It takes about `budget_s` for all together, and more where `least_rounds` of single calls do. After `limit_s` of
    wall time no round begins, once there are `fewest_rounds`; where one is enough, the warm-up counts as it then.
    """
    began_s = time.perf_counter()
    turn_s = 0.0  # one call of each session
    warm_ups: dict[str, list[Call]] = {}
    for name, session in sessions.items():
        warm_ups[name] = [_call(session, feed)]
        while len(warm_ups[name]) < WARM_UP_CALLS and sum(call.wall_s for call in warm_ups[name]) < budget_s / 10:
            warm_ups[name].append(_call(session, feed))
        turn_s += min(call.wall_s for call in warm_ups[name])
    if fewest_rounds <= 1 and time.perf_counter() - began_s + turn_s > limit_s:
        return {name: [calls] for name, calls in warm_ups.items()}
    turns = budget_s / turn_s
    rounds = int(min(max(turns / CALLS_PER_ROUND, least_rounds), MOST_ROUNDS))
    repeats = int(min(max(turns / rounds, 1), MOST_CALLS_PER_ROUND))
    timings: dict[str, list[list[Call]]] = {name: [] for name in sessions}
    for round_ in range(rounds):
        if round_ >= fewest_rounds and time.perf_counter() - began_s > limit_s:
            break
        for name in list(sessions)[:: 1 if round_ % 2 == 0 else -1]:
            timings[name].append([_call(sessions[name], feed) for _ in range(repeats)])
    return dict(timings)


def ratio(baseline: Rounds, variant: Rounds, *, by: Clock) -> Ratio:
    """Return how many times faster `variant` is than `baseline`, both from the same call of `take_turns`.

    Where the system's clock of threads is too coarse for the calls, the wall's decides.
    """
    if any(call.thread_s <= 0 for calls in (*baseline, *variant) for call in calls):
        by = "wall_s"
    ratios = sorted(_quickest_s(other, by) / _quickest_s(own, by) for other, own in zip(baseline, variant, strict=True))
    left_out = _left_out(len(ratios))
    return Ratio(float(np.median(ratios)), ratios[left_out], ratios[-1 - left_out])


def times_s(rounds: Rounds, *, by: Clock) -> NDArray[np.float64]:
    """Return how long each call took, in seconds; by the wall where the system's clock of threads is too coarse."""
    if any(call.thread_s <= 0 for calls in rounds for call in calls):
        by = "wall_s"
    return np.array([_time_s(call, by) for calls in rounds for call in calls])


def pace(pairs: Mapping[int, Pair], baseline: Mapping[int, Rounds], *, by: Clock) -> Pace:
    """Return a variant's speeds, from its rounds beside the baseline's and from all of the baseline's, by batch size.

    The baseline itself is a pair of the same rounds.
    """
    ratios = {size: ratio(pair.baseline, pair.variant, by=by) for size, pair in pairs.items()}
    medians_s = {size: float(np.median(times_s(baseline[size], by=by))) / each.value for size, each in ratios.items()}
    own_s = times_s(pairs[1].variant, by=by)
    spread = float(np.percentile(own_s, 95) / np.median(own_s))
    return Pace(
        speedup=ratios[1],
        latency_ms={"p50": 1000 * medians_s[1], "p95": 1000 * medians_s[1] * spread},
        throughput={str(size): size / median_s for size, median_s in medians_s.items()},
    )


def _quickest_s(calls: Sequence[Call], by: Clock) -> float:
    return min(_time_s(call, by) for call in calls)


def _time_s(call: Call, by: Clock) -> float:
    return call.thread_s if by == "thread_s" else call.wall_s


def _left_out(count: int) -> int:
    """Return how many of `count` values may be left out at either end of the median's interval.

    Each value is below the true median with probability 1/2: with k left out at either end, the interval misses it with
    probability 2 · P(Binomial(count, 1/2) ≤ k). Of fewer than 6 values, not even all hold it in 95 of 100 cases.
    """
    left_out, missed = 0, 0.0
    while (missed := missed + 2 * comb(count, left_out) / 2**count) <= 1 - LEVEL:
        left_out += 1
    return max(left_out - 1, 0)


def _call(session: onnxruntime.InferenceSession, feed: Inputs) -> Call:
    start_s, thread_start_s = time.perf_counter(), time.thread_time()
    session.run(None, feed)
    thread_end_s, end_s = time.thread_time(), time.perf_counter()
    return Call(end_s - start_s, thread_end_s - thread_start_s)
