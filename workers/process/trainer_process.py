"""The trainer as its supervisor sees it: a process in a group of its own, a pipe of reports, and two ties.

Both ties end the trainer when the supervisor dies: the kernel's parent-death signal, and the end of the life-line pipe.
"""

import contextlib
import json
import os
import selectors
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models_store.host import telemetry
from models_store.settings import Settings
from workers.process import presence, trainer_start
from workers.process.assignment import Assignment
from workers.process.trainer_start import Request

SECRETS = {
    "database_url",
    "broker_url",
    "api_keys",
    "metrics_key",
}  # the trainer reads files, and talks to its supervisor alone
OTHERS_SECRETS = {"pgpassword", "pgpassfile", "pgservicefile", "postgres_password", "valkey_password"}
"""variables that libpq and docker-compose.yml know the passwords of the database and the broker by"""
NO_BYTECODE = {"PYTHONDONTWRITEBYTECODE": "1"}
"""a full disk would leave half a file, which no later trainer could import; `make setup` has compiled what they need"""
WORKERS_OWN = (
    "CELERY_", "celery_", "FORKED_BY_MULTIPROCESSING", "MULTIPROCESSING_FORKING_DISABLE", "MP_MAIN_FILE", "_MP_FORK_",
    trainer_start.VARIABLE, presence.VARIABLE, "OTEL_",
)  # fmt: skip
"""how the variables begin that Celery, billiard and we set while a worker starts, in which its processes do not agree;
and those of a collector of traces, which may be secret: the supervisor sends the spans"""
FIXED = {"OPENBLAS_NUM_THREADS": "1"}
"""numpy's own pool: torch does the work, and a starter with a second thread could not be forked"""
LOG_TAIL_BYTES = 4000
WAITING = {"OMP_WAIT_POLICY": "PASSIVE"}
"""Threads of torch's OpenMP (libgomp) wait asleep: on a host with other work, those that spin take the cores that they
wait for (docs/evidence/2026-11-30-waiting.md). An environment that sets the variable itself wins."""

Report = tuple[str, dict[str, Any]]


class TrainerProcess:
    """A running trainer. `command` runs a program of its own; without one it is forked by the worker's starter."""

    def __init__(self, assignment: Assignment, *, settings: Settings, command: list[str] | None = None) -> None:
        staging = Path(assignment.staging)
        assignment.write(staging / "assignment.json")
        self.log_path = staging / "trainer.log"
        request = Request(str(staging / "assignment.json"), environment(settings))
        with self.log_path.open("wb") as log:
            answer_s = min(trainer_start.ANSWER_S, settings.lease_s / 4)  # nobody beats meanwhile
            self._process = trainer_start.begin(request, log, command=command, answer_s=answer_s)
        self._reports = self._process.reports
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._reports, selectors.EVENT_READ)
        self._rest = b""
        self.is_silent = False  # the trainer closed its reports: it is about to end

    @property
    def pid(self) -> int:
        """Return its pid, which is that of its process group."""
        return self._process.pid

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
        return self._process.exit_code()

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
        self._process.close()

    def _signal(self, number: signal.Signals) -> None:
        trainer_start.kill_group(self._process.pid, number)


def environment(settings: Settings) -> dict[str, str]:
    """Return what trainers, and the starter that forks them, see: no secret, and every setting made explicit."""
    values = settings.model_dump(mode="json", exclude=SECRETS)
    inherited = {name: value for name, value in os.environ.items() if not _is_left_out(name)}
    reported = {name.upper(): str(value) for name, value in values.items() if value is not None}
    return WAITING | inherited | reported | FIXED | NO_BYTECODE | telemetry.OFF


def _is_left_out(name: str) -> bool:
    return name.lower() in SECRETS | OTHERS_SECRETS or name.startswith(WORKERS_OWN)
