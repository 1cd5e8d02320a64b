"""Seconds that a job still takes, by what its phases have shown so far. Smooth, and never below zero."""

import math
from collections.abc import Callable, Sequence

SMOOTHED_S = 20.0
"""in about this time an estimate follows what was measured"""
LEAST_LEFT = 0.1
"""of a phase that takes longer than expected and tells nothing"""
LEAST_FRACTION = 0.02
"""of a phase that has to be done before its pace says anything"""


class Remaining:
    """Estimates what is left of a job whose phases take about these seconds; `clock` gives seconds.

    What a phase itself knows of its end counts, else its pace. Phases that are still to come take as long for their
    share as the others, unless `expect` has given their time.
    """

    def __init__(self, plan: Sequence[tuple[str, float]], *, clock: Callable[[], float]) -> None:
        self._plan, self._clock = list(plan), clock
        self._began = clock()
        self._place = 0
        self._entered_at = self._began
        self._first: tuple[float, float] | None = None  # when the phase first said how far it was, and how far
        self._expected: dict[str, float] = {}
        self._known: tuple[float, float] | None = None  # when the last estimate was made, and what it was

    def expect(self, phase: str, seconds: float) -> None:
        """Take so many seconds for a phase that is still to come."""
        self._expected[phase] = seconds

    def enter(self, phase: str) -> None:
        """Begin a phase."""
        self._place = [name for name, _ in self._plan].index(phase)
        self._first = None
        self._entered_at = self._clock()

    def left_s(self, fraction: float, *, own_s: float | None) -> float | None:
        """Return the seconds left of the job; None: nothing is known yet.

        `fraction` is the share of the phase that is done, `own_s` what the phase itself estimates of the rest of it.
        """
        left_s = self._of_phase(fraction) if own_s is None else max(0.0, own_s)
        if left_s is None and self._plan[self._place][0] in self._expected:
            left_s = self._as_expected(fraction)
        is_known = left_s is not None and math.isfinite(left_s)
        if left_s is None or not is_known or not self._knows_what_comes():
            return None
        moment = self._clock()
        estimate_s = left_s + self._later_s(moment - self._began + left_s)
        if self._known is not None:
            then, known_s = self._known
            expected_s = known_s - (moment - then)
            weight = 1 - math.exp(-(moment - then) / SMOOTHED_S)
            estimate_s = expected_s + weight * (estimate_s - expected_s)
        self._known = (moment, max(0.0, estimate_s))
        return self._known[1]

    def likely_s(self, fraction: float, *, own_s: float | None) -> float:
        """Return the seconds that are left of the job as far as anything is known, if only what is usual."""
        left_s = own_s if own_s is not None and math.isfinite(own_s) else self._of_phase(fraction)
        left_s = self._as_expected(fraction) if left_s is None else left_s
        return max(0.0, left_s) + sum(self._expected.get(each, usual) for each, usual in self._plan[self._place + 1 :])

    def _as_expected(self, fraction: float) -> float:
        """Return what is left of the phase by what it takes as a whole; it may tell nothing until its end."""
        name, usual_s = self._plan[self._place]
        whole_s, spent_s = self._expected.get(name, usual_s), self._clock() - self._entered_at
        return max(LEAST_LEFT * whole_s, whole_s - max(spent_s, fraction * whole_s)) if fraction < 1 else 0.0

    def _of_phase(self, fraction: float) -> float | None:
        moment = self._clock()
        if self._first is None:
            self._first = (moment, fraction)
        since, start = self._first
        if fraction - start < LEAST_FRACTION:
            return None
        return (moment - since) * max(0.0, 1 - fraction) / (fraction - start)

    def _knows_what_comes(self) -> bool:
        """Tell whether the phases to come can be estimated: training is not like what comes before it."""
        return all(name in self._expected for name, _ in self._plan[self._place + 1 :] if name == "training")

    def _later_s(self, until_then_s: float) -> float:
        """Return the seconds of the phases to come, when those before them will have taken so many."""
        shares = sum(share for _, share in self._plan[: self._place + 1])
        later = self._plan[self._place + 1 :]
        known_s = sum(self._expected.get(name, 0.0) for name, _ in later)
        shares += sum(share for name, share in later if name in self._expected)
        unknown = sum(share for name, share in later if name not in self._expected)
        return known_s + unknown * (until_then_s + known_s) / shares
