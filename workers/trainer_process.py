"""The trainer as its supervisor sees it: a process in a group of its own, a pipe of reports, and two ties.

Both ties end the trainer when the supervisor dies: the kernel's parent-death signal, and the end of the life-line pipe.
"""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models_store.settings import Settings
from workers.assignment import Assignment

SECRETS = {"database_url", "broker_url", "api_keys"}  # the trainer reads files, and talks to its supervisor alone
NO_BYTECODE = {"PYTHONDONTWRITEBYTECODE": "1"}
"""a full disk would leave half a file, which no later trainer could import; `make setup` has compiled what they need"""
LOG_TAIL_BYTES = 4000
WAITING = {"OMP_WAIT_POLICY": "PASSIVE"}
"""Threads of torch's OpenMP (libgomp) wait asleep: on a host with other work, those that spin take the cores that they
wait for (docs/evidence/2026-11-30-waiting.md). An environment that sets the variable itself wins."""

Report = tuple[str, dict[str, Any]]


class TrainerProcess:
    """A running trainer. `command` is overridden by tests that need one which misbehaves."""

    def __init__(self, assignment: Assignment, *, settings: Settings, command: list[str] | None = None) -> None:
        staging = Path(assignment.staging)
        assignment.write(staging / "assignment.json")
        self.log_path = staging / "trainer.log"
        lifeline_read, self._lifeline = os.pipe()
        self._reports, reports_write = os.pipe()
        arguments = [str(staging / "assignment.json"), str(os.getpid()), str(lifeline_read), str(reports_write)]
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [*(command or [sys.executable, "-m", "workers.trainer"]), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=(lifeline_read, reports_write),
                env=_environment(settings),
            )
        os.close(lifeline_read)
        os.close(reports_write)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._reports, selectors.EVENT_READ)
        self._rest = b""
        self.is_silent = False  # the trainer closed its reports: it is about to end

    def read(self, *, timeout_s: float) -> list[Report]:
        """Return what the trainer reported, after at most `timeout_s`."""
        if self.is_silent:
            time.sleep(min(timeout_s, 0.05))
            return []
        if not self._selector.select(timeout_s):
            return []
        chunk = os.read(self._reports, 1 << 20)
        self.is_silent = not chunk
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [(report["kind"], report["data"]) for report in map(json.loads, lines)]

    def exit_code(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    def ask_to_stop(self) -> None:
        """Ask the trainer, and whatever it started, to save a checkpoint and leave (SIGTERM)."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the trainer and whatever it started, at once (SIGKILL), and wait for it."""
        self._signal(signal.SIGKILL)
        self._process.wait()

    def stop(self, *, grace_s: float, take: Callable[[list[Report]], None]) -> None:
        """Ask it to stop, hand what it still reports to `take`, and kill it when the grace has passed."""
        self.ask_to_stop()
        deadline = time.monotonic() + grace_s
        while self.exit_code() is None and time.monotonic() < deadline:
            take(self.read(timeout_s=0.2))
        self.kill()
        while not self.is_silent:
            take(self.read(timeout_s=0.2))

    def log_tail(self) -> str:
        """Return the end of what it printed."""
        with contextlib.suppress(OSError), self.log_path.open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - LOG_TAIL_BYTES))
            return log.read().decode("utf-8", errors="replace").strip()
        return ""

    def close(self) -> None:
        """Kill what is left and close the pipes."""
        self.kill()
        self._selector.close()
        os.close(self._reports)
        os.close(self._lifeline)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


def _environment(settings: Settings) -> dict[str, str]:
    values = settings.model_dump(mode="json", exclude=SECRETS)
    inherited = {name: value for name, value in os.environ.items() if name.lower() not in SECRETS}
    told = {name.upper(): str(value) for name, value in values.items() if value is not None}
    return WAITING | inherited | told | NO_BYTECODE
