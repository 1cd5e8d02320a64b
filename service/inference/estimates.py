"""Running estimates of how long an example takes to decode and to run, from what was measured last."""

import math

QUICK_S = 0.0002
"""Where other cores would be idle meanwhile, a model is quick below that: a thread costs about as much."""
QUICK_BESIDE_OTHERS_S = 0.001
"""Where other processes use the other cores, a model is quick below that: a thread gains nothing."""
SLOW = 2.0
"""A quick model becomes slow at so many times that, so that it does not change to and fro."""
WINDOW_S = 0.05
"""Throughput is measured over so long, as lanes end in any order."""
FRESH_S, FRESH_ROWS = 1.0, 8
"""A throughput that was not measured for so long, and for the time of so many rows, is of no use any more."""
WEIGHT = 0.25
"""of the newest measurement"""
MOST_TIMES = 8
"""A measurement counts at most this many times the mean: one pause of a busy host must not look like a slow net."""


class RunningMean:
    """Mean of measurements, the newest weighing most; 0 before the first. `high` is a mean deviation above it.

    Mean and deviation are followed as TCP follows the time of a round trip (RFC 6298).
    """

    def __init__(self, value: float = 0.0) -> None:
        self.value = value
        self._deviation = 0.0

    @property
    def high(self) -> float:
        """Return what most measurements are below."""
        return self.value + self._deviation

    def add(self, measured: float) -> None:
        """Follow a measurement."""
        if self.value == 0:
            self.value = measured
            return
        difference = min(measured, MOST_TIMES * self.value) - self.value
        self._deviation += WEIGHT * (abs(difference) - self._deviation)
        self.value += WEIGHT * difference


class Throughput:
    """How often rows are answered while others wait: what lanes reach together, with all that they have to share.

    It is forgotten when no row has waited for a while. Otherwise a slow time could refuse requests long after it has
    passed: what is refused does not wait, so that nothing would be measured.
    """

    def __init__(self) -> None:
        self._interval = RunningMean()
        self._measured_at_s = -math.inf
        self._since_s: float | None = None
        self._rows = 0

    def row_s(self, *, now_s: float) -> float:
        """Return the time from one answered row to the next at most times, in s; 0 if it was not measured lately."""
        return self._interval.high if self._is_fresh(now_s) else 0.0

    def answered(self, rows: int, *, now_s: float, others_wait: bool) -> None:
        """Count rows that were answered now."""
        if self._since_s is None:
            self._since_s = now_s if others_wait else None
            self._rows = 0
            return
        self._rows += rows
        if self._rows and now_s - self._since_s >= WINDOW_S:
            if not self._is_fresh(now_s):
                self._interval = RunningMean()
            self._interval.add((now_s - self._since_s) / self._rows)
            self._since_s, self._rows, self._measured_at_s = now_s, 0, now_s
        if not others_wait:
            self._since_s = None

    def _is_fresh(self, now_s: float) -> bool:
        return now_s - self._measured_at_s < max(FRESH_S, FRESH_ROWS * self._interval.value)


class ServiceTime:
    """What one example takes: `row_s` of wall time, decoding and running, and `effort_s` of the thread's own time.

    A model is quick below `quick_s`, if a thread of its own would gain nothing. Others may take the core away from a
    thread for long, so that is decided by effort. Without any measurement, no model is quick.
    """

    def __init__(self, run_s: float = 0.0, *, quick_s: float = QUICK_S) -> None:
        """Take `run_s` as measured at load; what decoding takes, requests show."""
        self._quick_s = quick_s
        self._decode = RunningMean()
        self._run = RunningMean(run_s)
        self._effort = RunningMean()
        self.is_quick = 0 < run_s < quick_s

    @property
    def row_s(self) -> float:
        """Return the wall time of one example, in seconds."""
        return self._decode.value + self._run.value

    @property
    def high_row_s(self) -> float:
        """Return the wall time that one example takes at most times, in seconds."""
        return self._decode.high + self._run.high

    @property
    def effort_s(self) -> float:
        """Return the time that a thread works for one example, in seconds."""
        return self._effort.value or self._run.value

    def add(self, *, decoded: int, decode_s: float, ran: int, run_s: float, effort_s: float) -> None:
        """Follow a batch, of which so many examples were decoded and ran."""
        if decoded:
            self._decode.add(decode_s / decoded)
        if ran:
            self._run.add(run_s / ran)
            self._effort.add(effort_s / ran)
            self.is_quick = self.effort_s < self._quick_s * (SLOW if self.is_quick else 1)
