"""Reasons why an attempt ended without a result: it stood still, or its trainer died. Each comes with advice.

Memory is suspected only where the kernel has counted a kill for lack of it.
"""

import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from models_store.host import cgroups
from models_store.jobs.endings import SEE_LOGS

BUSY_STALLS = 8
"""stall limits for which a trainer may calculate without any progress: an endless loop uses CPU time as well"""

ASK_FOR_LESS = "ask for less memory (batch_size, input.size) or give the host more, then retry it"


@dataclass(frozen=True)
class Crash:
    """Why an attempt ended, as the end of "the job crashed because …", and what its owner can do."""

    reason: str
    advice: str = SEE_LOGS


class Progress:
    """What a trainer reports, and for how long it has not: anything at all, or anything but that it is at work."""

    def __init__(self, *, stall_s: float, clock: Callable[[], float]) -> None:
        self._stall_s = stall_s
        self._clock = clock
        self._reported_at = self._moved_at = clock()
        self._phase, self._step = "starting", ""

    def take(self, reports: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """Note reports, each a kind and its data."""
        for kind, data in reports:
            self._reported_at = self._clock()
            if kind != "alive":
                self._moved_at = self._reported_at
            if kind in {"phase", "alive"}:
                self._phase, self._step = str(data.get("phase", self._phase)), str(data.get("step", ""))
            elif kind == "progress":
                self._step = str(data.get("step", self._step))

    @property
    def phase(self) -> str:
        """Return the phase that the trainer is in."""
        return self._phase

    @property
    def stage(self) -> str:
        """Return where the trainer is: its phase, and the step of it where it has reported one."""
        return f"{self._phase} ({self._step})" if self._step else self._phase

    def crash(self) -> Crash | None:
        """Return why the trainer is to be ended now; None while it is to go on."""
        moment = self._clock()
        if moment - self._reported_at > self._stall_s:
            return Crash(
                f"it made no progress for {self._stall_s:g} s while {self.stage}, and did not calculate either: it "
                "waited for something, such as a file system or the network"
            )
        most_s = BUSY_STALLS * self._stall_s
        if moment - self._moved_at > most_s:
            return Crash(
                f"it calculated for {most_s:g} s while {self.stage} and made no progress",
                "ask for less work at a time (batch_size, input.size) or raise STALL_S, then retry it",
            )
        return None


def of_exit(exit_code: int | None, *, stage: str, kills_before: int) -> Crash:
    """Return why a trainer that ended by itself, or by the hand of others, counts as crashed.

    `kills_before` is what `cgroups.memory_kills` gave when it started.
    """
    if exit_code is None:
        return Crash("it closed its reports and did not end")
    if exit_code == -signal.SIGKILL and cgroups.memory_kills() > kills_before:
        return Crash(
            f"its trainer was killed (SIGKILL) while {stage}, and the kernel killed a process for lack of memory",
            ASK_FOR_LESS,
        )
    if exit_code == -signal.SIGKILL:
        return Crash(f"its trainer was killed (SIGKILL) while {stage}, with no sign of a lack of memory")
    if exit_code == -signal.SIGILL:
        return Crash(
            f"its trainer was ended by SIGILL while {stage}: a library uses instructions that this CPU lacks",
            "run the worker on another CPU, or limit the library (ONEDNN_MAX_CPU_ISA), then retry it",
        )
    if exit_code < 0:
        return Crash(f"its trainer was ended by {signal.Signals(-exit_code).name} while {stage}")
    return Crash(f"its trainer ended with exit code {exit_code} while {stage}")
