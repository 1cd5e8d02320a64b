"""The trainer's side of the report pipe: phases, progress of the whole job, and the wish to stop."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from models_store.jobs.logs import Level
from workers.process.progress import Drained
from workers.process.remaining import Remaining

LEAST_S = 0.4  # between two progress reports of one phase
TICK_S = 2.0
"""after which a phase that has reported nothing is moved on by the time that has passed"""
STARTING = "starting"
"""what a trainer is at before its first phase"""


class PipeReporter:
    """Writes reports as JSON lines. `plan` lists each phase of this job with the seconds that it usually takes.

    Progress is a share of time: it goes up by the time that has passed, as part of that and of what is likely left. So
    it never falls, whatever becomes of the estimates, and goes on from `done` where an earlier attempt has come.

    `memory` gives what a phase has needed, when it has ended; without it no costs are reported.
    """

    def __init__(
        self,
        descriptor: int,
        *,
        plan: Sequence[tuple[str, float]],
        memory: Callable[[], dict[str, int | str]] | None = None,
        done: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._descriptor, self._clock = descriptor, clock
        self._done, self._moved_at = done, self._clock()
        self._reported_at = 0.0
        self._phase, self._step = STARTING, ""
        self._stop = False
        self._memory = memory
        self._entered_at: float | None = None
        self._epoch: int | None = None
        self._remaining = Remaining(plan, clock=clock)
        self._epochs = 0
        self._fraction, self._facts = 0.0, dict[str, float | str]()  # of the phase, as it was reported last
        self._writing, self._moving = threading.Lock(), threading.RLock()

    def listen(self) -> None:
        """Take SIGTERM as the wish to stop."""
        signal.signal(signal.SIGTERM, self._ask_to_stop)

    def tick_on(self) -> None:
        """Tell about every `TICK_S` how far the job is by now, also while one call takes long. For a thread."""
        while True:
            time.sleep(TICK_S)
            self.tick()

    def tick(self) -> None:
        """Tell how far the job is by the time that has passed, if nothing was reported for a while."""
        with self._moving:
            if self._phase == STARTING or self._clock() - self._moved_at < TICK_S:
                return
            self._say_progress(self._fraction, self._facts, own_s=None, kind="tick")

    def phase(self, name: str) -> None:
        """Enter a phase of the plan.

        Raises:
            Drained: if a stop was asked for; what was done before is in the checkpoints, or done again.
        """
        if self._stop:
            raise Drained
        self.end_phase()
        with self._moving:
            self._reported_at = 0.0
            self._remaining.enter(name)
            self._phase, self._step = name, ""
            self._entered_at, self._epoch = self._clock(), None
            self.say("phase", {"phase": name})
            self.log(f"{name} begins")
            self._say_progress(0.0, {}, own_s=None)

    def end_phase(self) -> None:
        """Tell what the phase under way has cost, from its beginning until now; it is done."""
        if self._entered_at is None:
            return
        seconds = round(self._clock() - self._entered_at, 3)
        self.log(f"{self._phase} took {seconds:.1f} s")
        if self._memory is not None:
            self.say("cost", {"stage": self._phase, "seconds": seconds, "epochs": self._epoch} | self._memory())
        self._entered_at = None

    def progress(self, fraction: float, **facts: float | str) -> None:
        """Tell how much of the phase is done; reported at most every `LEAST_S`, at its end, and when a step begins.

        `eta_s` among the facts are the seconds left of the phase; those left of the job are reported in their place.
        """
        moment = self._clock()
        self._epoch = int(facts["epoch"]) if "epoch" in facts else self._epoch
        step = str(facts.get("step", self._step))
        if moment - self._reported_at < LEAST_S and fraction < 1 and step == self._step:
            return
        self._step = step
        self._reported_at = moment
        self._epochs = int(facts.get("epochs", self._epochs))
        own_s = float(facts.pop("eta_s")) if "eta_s" in facts else None
        with self._moving:
            self._say_progress(fraction, facts, own_s=own_s)

    def expect(self, phase: str, seconds: float) -> None:
        """Take so many seconds for a phase that is still to come."""
        self._remaining.expect(phase, seconds)

    def metrics(self, **values: float) -> None:
        """Tell measured values that stay."""
        self.say("metrics", values)
        self.log(_described(values, epochs=self._epochs))

    def log(self, text: str) -> None:
        """Log a line: what was decided, or done."""
        self._say_line(text, "info")

    def warn_owner(self, text: str) -> None:
        """Warn the owner of the job of a result that is likely to be bad; kept with the job, and logged."""
        self.say("warning", {"text": text})
        self.warn(text)

    def warn(self, text: str) -> None:
        """Log a line of level `warning`: something did not go as it was meant to."""
        self._say_line(text, "warning")

    def alive(self) -> None:
        """Tell that the trainer is at work, and at what."""
        self.say("alive", {"phase": self._phase, "step": self._step})

    def stop_requested(self) -> bool:
        """Return whether SIGTERM came."""
        return self._stop

    def say(self, kind: str, data: dict[str, Any]) -> None:
        """Write one report, whole."""
        line = json.dumps({"kind": kind, "data": data}).encode() + b"\n"
        with self._writing:  # two threads report
            while line:
                line = line[os.write(self._descriptor, line) :]

    def _say_progress(
        self, fraction: float, facts: dict[str, float | str], *, own_s: float | None, kind: str = "progress"
    ) -> None:
        self._fraction, self._facts = fraction, facts
        left_s = self._remaining.left_s(fraction, own_s=own_s)
        reported = {"fraction": self._moved(fraction, own_s=own_s), "phase_fraction": round(fraction, 4), **facts}
        self.say(kind, reported if left_s is None else reported | {"eta_s": round(left_s, 1)})

    def _moved(self, fraction: float, *, own_s: float | None) -> float:
        """Return the share of the job's time that has passed, when so much of the phase is done."""
        moment = self._clock()
        passed_s, self._moved_at = moment - self._moved_at, moment
        left_s = self._remaining.likely_s(min(max(fraction, 0.0), 1.0), own_s=own_s)
        self._done += (1 - self._done) * passed_s / max(passed_s + left_s, 1e-9)
        return round(self._done, 4)

    def _say_line(self, text: str, level: Level) -> None:
        self.say("log", {"text": text, "level": level, "stage": None if self._phase == STARTING else self._phase})

    def _ask_to_stop(self, *_: object) -> None:
        self._stop = True


def _described(values: Mapping[str, float], *, epochs: int) -> str:
    """Return measured values in words, the epoch first."""
    epoch = next((name for name in values if name.endswith("epoch")), None)
    figures = ", ".join(f"{name} {value:.4g}" for name, value in values.items() if name != epoch)
    if epoch is None:
        return f"measured: {figures}"
    of = f" of {epochs}" if epochs >= values[epoch] else ""
    return f"{epoch.replace('_', ' ')} {values[epoch]:.0f}{of}: {figures}"
