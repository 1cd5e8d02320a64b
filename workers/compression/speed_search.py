"""Finds how far to cut for a wanted speedup, in few measurements: each takes an export and seconds of timing.

The first guess is that time goes as the work (multiply-accumulate operations), which costs nothing to count. Each
measurement then says how the two go together on this machine, between the nearest two there are, until one is near
enough, or none is left in between.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

NEAR_ENOUGH = 0.04  # the search ends this near the target, for measuring again may differ by as much
TOLERANCE = 0.1  # what is asked for is reached when it lands within this
MOST_PROBES = 8


@dataclass(frozen=True)
class Probe:
    """What was measured after `count` steps of the cut: how many times faster than uncut."""

    count: int
    speedup: float

    def misses(self, target: float) -> float:
        """Return how far it is from the target, as a share of that."""
        return abs(self.speedup / target - 1)


def search(
    most: int,
    *,
    target: float,
    work: Callable[[int], float],
    measure: Callable[[int], float],
    known: Mapping[int, float] | None = None,
) -> list[Probe]:
    """Return the probes in their order, of 1 to `most` steps of a cut; the nearest to the target is the answer.

    `work` says how many times less work there is after a number of steps, and `measure` how many times faster the cut
    is; both grow with the steps, but for noise. `known` are measurements of an earlier attempt, by number of steps.
    """
    assert most > 0, "there is something to cut"
    probes: list[Probe] = []
    low, high = Probe(0, 1.0), None
    wanted = target
    while len(probes) < MOST_PROBES and low.count < (high.count if high else most + 1) - 1:
        count = _first(low.count + 1, high.count - 1 if high else most, lambda count: work(count) >= wanted)  # noqa: B023  asked at once
        speedup = known[count] if known and count in known else measure(count)
        probe = Probe(count, speedup)
        probes.append(probe)
        if probe.misses(target) <= NEAR_ENOUGH:
            break
        if speedup < target:
            low = probe
        else:
            high = probe
        wanted = _work_for(target, low, high, work)
    return probes


def best(probes: list[Probe], *, target: float) -> Probe:
    """Return the probe that is nearest to the target."""
    return min(probes, key=lambda probe: probe.misses(target))


def _work_for(target: float, low: Probe, high: Probe | None, work: Callable[[int], float]) -> float:
    """Return the work at which the target is to be expected, by the line through both (of the logarithms)."""
    low_work = work(low.count)
    if high is None:  # beyond what was measured: as steep as from the start up to there
        steepness = math.log(max(low.speedup, 1.01)) / math.log(max(low_work, 1.02))
        return low_work * math.pow(target / max(low.speedup, 1.01), 1 / max(steepness, 0.1))
    share = math.log(target / low.speedup) / math.log(high.speedup / low.speedup)
    return low_work * math.pow(work(high.count) / low_work, share)


def _first(low: int, high: int, is_enough: Callable[[int], bool]) -> int:
    """Return the first of low … high that is enough, or `high` where none is."""
    while low < high:
        middle = (low + high) // 2
        if is_enough(middle):
            high = middle
        else:
            low = middle + 1
    return high
