"""The trainer's side of the report pipe: phases, progress of the whole job, and the wish to stop."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from models_store.job_logs import Level
from workers.progress import Drained
from workers.remaining import Remaining

LEAST_S = 0.4  # between two progress reports of one phase
STARTING = "starting"
"""what a trainer is at before its first phase"""


class PipeReporter:
    """Writes reports as JSON lines. `plan` lists each phase of this job with its share of the work.

    `memory` gives what a phase has needed, when it has ended; without it no costs are reported.
    """

    def __init__(
        self,
        descriptor: int,
        *,
        plan: Sequence[tuple[str, float]],
        memory: Callable[[], dict[str, int | str]] | None = None,
    ) -> None:
        self._descriptor = descriptor
        self._plan = list(plan)
        self._total = sum(share for _, share in plan)
        self._done, self._share = 0.0, 0.0
        self._told_at = 0.0
        self._phase, self._step = STARTING, ""
        self._stop = False
        self._memory = memory
        self._entered_at: float | None = None
        self._epoch: int | None = None
        self._remaining = Remaining(plan, clock=time.monotonic)
        self._epochs = 0
        self._writing = threading.Lock()

    def listen(self) -> None:
        """Take SIGTERM as the wish to stop."""
        signal.signal(signal.SIGTERM, self._ask_to_stop)

    def phase(self, name: str) -> None:
        """Enter a phase of the plan.

        Raises:
            Drained: if a stop was asked for; what was done before is in the checkpoints, or done again.
        """
        if self._stop:
            raise Drained
        self.end_phase()
        names = [each for each, _ in self._plan]
        position = names.index(name)
        self._done = sum(share for _, share in self._plan[:position]) / self._total
        self._share = self._plan[position][1] / self._total
        self._told_at = 0.0
        self._remaining.enter(name)
        self._phase, self._step = name, ""
        self._entered_at, self._epoch = time.monotonic(), None
        self.say("phase", {"phase": name})
        self.log(f"{name} begins")
        self.say("progress", {"fraction": round(self._done, 4), "phase_fraction": 0.0})

    def end_phase(self) -> None:
        """Tell what the phase under way has cost, from its beginning until now; it is done."""
        if self._entered_at is None:
            return
        seconds = round(time.monotonic() - self._entered_at, 3)
        self.log(f"{self._phase} took {seconds:.1f} s")
        if self._memory is not None:
            self.say("cost", {"stage": self._phase, "seconds": seconds, "epochs": self._epoch} | self._memory())
        self._entered_at = None

    def progress(self, fraction: float, **facts: float | str) -> None:
        """Tell how much of the phase is done; told at most every `LEAST_S`, at its end, and when a step begins.

        `eta_s` among the facts are the seconds left of the phase; those left of the job are told in their place.
        """
        moment = time.monotonic()
        self._epoch = int(facts["epoch"]) if "epoch" in facts else self._epoch
        step = str(facts.get("step", self._step))
        if moment - self._told_at < LEAST_S and fraction < 1 and step == self._step:
            return
        self._step = step
        self._told_at = moment
        self._epochs = int(facts.get("epochs", self._epochs))
        overall = self._done + self._share * min(max(fraction, 0.0), 1.0)
        own_s = facts.pop("eta_s", None)
        left_s = self._remaining.left_s(fraction, own_s=None if own_s is None else float(own_s))
        eta = {} if left_s is None else {"eta_s": round(left_s, 1)}
        self.say("progress", {"fraction": round(overall, 4), "phase_fraction": round(fraction, 4), **facts, **eta})

    def expect(self, phase: str, seconds: float) -> None:
        """Take so many seconds for a phase that is still to come."""
        self._remaining.expect(phase, seconds)

    def metrics(self, **values: float) -> None:
        """Tell measured values that stay."""
        self.say("metrics", values)
        self.log(_told(values, epochs=self._epochs))

    def log(self, text: str) -> None:
        """Tell one line for people: what was decided, or done."""
        self._say_line(text, "info")

    def warn(self, text: str) -> None:
        """Tell one line for people: something did not go as it was meant to."""
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

    def _say_line(self, text: str, level: Level) -> None:
        self.say("log", {"text": text, "level": level, "stage": None if self._phase == STARTING else self._phase})

    def _ask_to_stop(self, *_: object) -> None:
        self._stop = True


def _told(values: Mapping[str, float], *, epochs: int) -> str:
    """Return measured values in words, the epoch first."""
    epoch = next((name for name in values if name.endswith("epoch")), None)
    figures = ", ".join(f"{name} {value:.4g}" for name, value in values.items() if name != epoch)
    if epoch is None:
        return f"measured: {figures}"
    of = f" of {epochs}" if epochs >= values[epoch] else ""
    return f"{epoch.replace('_', ' ')} {values[epoch]:.0f}{of}: {figures}"
