import time
from typing import Any

import numpy as np
import pytest

from workers.export.timing import Call, Pair, Rounds, pace, ratio, take_turns


class Slow:
    """A session of a file that takes its time."""

    def __init__(self) -> None:
        self.calls = 0

    def run(self, *_: object) -> list[Any]:
        self.calls += 1
        time.sleep(0.01)
        return []


def rounds(*times: float) -> Rounds:
    """Return rounds of two calls, of which the second was disturbed."""
    return [[Call(wall_s=time, thread_s=time), Call(wall_s=9 * time, thread_s=3 * time)] for time in times]


def test_a_ratio_is_the_median_over_the_rounds_of_the_quickest_calls() -> None:
    measured = ratio(rounds(2.0, 2.0, 4.0), rounds(1.0, 1.0, 1.0), by="wall_s")

    assert measured.value == 2.0


def test_a_drifting_machine_drifts_for_both() -> None:
    drift = [1.0 + 0.1 * step for step in range(12)]

    measured = ratio(rounds(*(1.5 * step for step in drift)), rounds(*drift), by="wall_s")

    assert (measured.low, measured.value, measured.high) == pytest.approx((1.5, 1.5, 1.5))


@pytest.mark.parametrize(
    ("count", "left_out"),
    [(5, 0), (6, 0), (9, 1), (12, 2), (20, 5), (30, 9)],  # ranks of the sign test's 95 % interval of a median
)
def test_the_interval_leaves_out_as_many_rounds_as_95_of_100_allow(count: int, left_out: int) -> None:
    measured = ratio(rounds(*range(1, count + 1)), rounds(*[1.0] * count), by="wall_s")

    assert (measured.low, measured.high) == (left_out + 1, count - left_out)


def test_a_file_is_as_fast_as_itself() -> None:
    measured = ratio(rounds(1.0, 2.0, 3.0), rounds(1.0, 2.0, 3.0), by="wall_s")

    assert (measured.low, measured.value, measured.high) == (1.0, 1.0, 1.0)


def test_what_others_ran_is_not_counted_where_threads_are_compared() -> None:
    interrupted = [[Call(wall_s=50.0, thread_s=2.0)], [Call(wall_s=2.0, thread_s=2.0)]]
    undisturbed = [[Call(wall_s=1.0, thread_s=1.0)]] * 2

    measured = ratio(interrupted, undisturbed, by="thread_s")

    assert (measured.low, measured.high) == (2.0, 2.0)


def test_a_clock_that_is_too_coarse_for_the_calls_is_not_used() -> None:
    measured = ratio([[Call(wall_s=2.0, thread_s=0.0)]], [[Call(wall_s=1.0, thread_s=0.01)]], by="thread_s")

    assert measured.value == 2.0


def test_variants_that_ran_at_different_moments_are_comparable() -> None:
    early, late = rounds(*[1.0] * 9), rounds(*[3.0] * 9)  # the machine became three times as slow
    baseline = {1: [*early, *late], 8: [*early, *late]}
    twice = rounds(*[1.5] * 9)

    same = pace({1: Pair(early, early), 8: Pair(early, early)}, baseline, by="thread_s")
    faster = pace({1: Pair(late, twice), 8: Pair(late, twice)}, baseline, by="thread_s")

    assert faster.speedup.value == 2.0
    for size in ("1", "8"):
        assert faster.throughput[size] == pytest.approx(2 * same.throughput[size])
    assert faster.latency_ms["p50"] == pytest.approx(same.latency_ms["p50"] / 2)
    assert same.latency_ms["p95"] == pytest.approx(3 * same.latency_ms["p50"] / 2)  # (1 + 3) / 2 is the median


def test_what_others_ran_is_in_no_time_that_is_told() -> None:
    interrupted = [[Call(wall_s=50.0, thread_s=2.0)]] * 9

    told = pace({1: Pair(interrupted, interrupted)}, {1: interrupted}, by="thread_s")

    assert told.throughput == {"1": 0.5}
    assert told.latency_ms == {"p50": 2000.0, "p95": 2000.0}


@pytest.mark.parametrize(("fewest", "rounds"), [(6, 6), (1, 1)])
def test_past_its_limit_timing_takes_no_more_rounds_than_it_has_to(fewest: int, rounds: int) -> None:
    sessions: Any = {"fp32": Slow(), "int8": Slow()}
    image_NHWC = np.zeros((1, 4, 4, 3), dtype=np.uint8)

    timings = take_turns(sessions, image_NHWC, budget_s=60, fewest_rounds=fewest, limit_s=0)

    assert {name: len(calls) for name, calls in timings.items()} == {"fp32": rounds, "int8": rounds}


def test_where_one_round_is_enough_the_warm_up_of_a_slow_file_is_it() -> None:
    sessions: Any = {"fp32": Slow(), "int8": Slow()}
    image_NHWC = np.zeros((1, 4, 4, 3), dtype=np.uint8)

    timings = take_turns(sessions, image_NHWC, budget_s=0, fewest_rounds=1, limit_s=0)

    assert {name: [len(calls) for calls in rounds] for name, rounds in timings.items()} == {"fp32": [1], "int8": [1]}
    assert [session.calls for session in sessions.values()] == [1, 1]
