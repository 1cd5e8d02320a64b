"""The warm starter of a worker: it has imported what trainers need, and forks one whenever a supervisor asks.

`python -m workers.process.starter LISTENING PARENT_PID MAX_FORKS`, the first being the descriptor of a listening
socket. It has one thread, no CUDA context and no credential of the database, so that a fork of it is as good as a fresh
interpreter; where that does not hold, it refuses, and the supervisor starts its trainer cold. What happens when
somebody is killed:

    the supervisor dies  → its connection ends, and the starter kills the trainer's group
    the starter dies     → the kernel kills its trainers
    the worker dies      → the kernel kills the starter
    a trainer dies       → its supervisor is reported; the starter goes on
"""

import contextlib
import gc
import importlib
import json
import os
import random
import selectors
import signal
import socket
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch

from models_store.host.processes import WORKER_IS_WARM
from models_store.settings import Settings
from models_store.wording import counted
from workers.process import parent_death, trainer, trainer_start
from workers.process.trainer_start import Descriptors, Request

AT_ONCE = ("torch._dynamo",)
"""what every first step imports besides the trainer itself: torch's optimizers do"""
WHEN_IDLE = (
    "timm",
    "timm.optim",
    "torchvision.models",
    "torchvision.ops",
    "scipy.optimize",
    "onnxscript",
    "torch.onnx",
    "sklearn.metrics",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
    "workers.compression.quantization.static",
    "workers.compression.quantization.mixed",
    "workers.compression.quantization_aware",
    "scipy.stats",
    "workers.stages.prune_rounds",
)
"""what most jobs import on their way, in the order in which they do"""
PR_SET_NAME = 15  # prctl(2)


@dataclass
class Child:
    """A trainer that was forked for the supervisor at the other end of a connection."""

    pid: int
    has_ended: bool = False


class Starter:
    """Accepts connections, forks trainers, and tells how they ended."""

    def __init__(self, listening: socket.socket, *, parent_pid: int, max_forks: int) -> None:
        self._listening = listening
        self._parent_pid = parent_pid
        self._max_forks = max_forks
        self._forks = 0
        self._environment = given_environment()
        self._wanted_environment = self._environment
        self._to_import = list(WHEN_IDLE)
        self._connections: dict[socket.socket, Child | None] = {}
        self._left: set[int] = set()  # killed, and to be reaped
        self._selector = selectors.DefaultSelector()
        self._woken, self._wakes = socket.socketpair()

    def serve(self) -> NoReturn:
        """Serve until the process is replaced or killed."""
        self._wakes.setblocking(False)
        self._woken.setblocking(False)
        self._listening.setblocking(False)
        signal.set_wakeup_fd(self._wakes.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._selector.register(self._listening, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        while True:
            is_idle = not self._connections
            if is_idle and self._is_to_be_replaced:
                self._replace()
            ready = self._selector.select(0 if is_idle and self._to_import else None)
            for key, _ in sorted(ready, key=lambda each: each[0].fileobj is self._listening):  # who leaves comes first
                self._attend(key.fileobj)
            self._look_after_children()
            if not ready and self._to_import:
                self._import_next()

    @property
    def _is_to_be_replaced(self) -> bool:
        return self._forks >= self._max_forks or self._wanted_environment is not self._environment

    def _attend(self, source: object) -> None:
        assert isinstance(source, socket.socket)
        if source is self._woken:
            with contextlib.suppress(BlockingIOError):
                self._woken.recv(4096)
        elif source is self._listening:
            if self._connections or not self._is_to_be_replaced:  # else the next starter accepts it, in a moment
                self._accept()
        elif self._connections[source] is None:
            self._answer(source)
        else:
            self._forget(source)  # a supervisor says nothing more: it has closed the connection, or is dead

    def _accept(self) -> None:
        try:
            connection, _ = self._listening.accept()
        except OSError:
            return
        if trainer_start.owner_of(connection) != os.geteuid():
            connection.close()
            return
        self._connections[connection] = None
        self._selector.register(connection, selectors.EVENT_READ)

    def _answer(self, connection: socket.socket) -> None:
        descriptors: list[int] = []
        try:
            message, descriptors, _, _ = socket.recv_fds(connection, trainer_start.LONGEST_REQUEST, 3)
            request, (log, lifeline, reports) = Request(**json.loads(message)), descriptors
            why = self._why_not(request)
            if not why:
                self._fork(connection, request, Descriptors(log, lifeline, reports))
                return
        except (OSError, ValueError, TypeError) as error:  # of the connection, of nonsense on it, of fork(2)
            why = repr(error)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        self._tell(connection, {"refused": why})
        self._forget(connection)

    def _why_not(self, request: Request) -> str:
        """Return what speaks against a fork now; empty: nothing."""
        if threads := len([*Path("/proc/self/task").iterdir()]) - 1:
            return f"it has {counted(threads, 'thread')} besides its main one, which a fork would lose"
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # torch's own
            return "it has a CUDA context, which a fork can't use"
        if self._wanted_environment is not self._environment:
            return "it is about to be replaced"
        if different := unlike(self._environment, request.environment):
            self._wanted_environment = request.environment
            return f"its environment differs in {', '.join(different)}; it takes the new one over"
        return ""

    def _fork(self, connection: socket.socket, request: Request, descriptors: Descriptors) -> None:
        starter = os.getpid()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            self._let_go()
            for name in self._environment.keys() - request.environment.keys():
                os.environ.pop(name, None)
            become_trainer(request, descriptors, starter=starter)
        with contextlib.suppress(OSError):  # the child does the same, whoever comes first
            os.setpgid(pid, pid)
        self._forks += 1
        self._connections[connection] = Child(pid)
        self._tell(connection, {"pid": pid})

    def _let_go(self) -> None:
        """Close, in a fork, what belongs to the starter."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._selector.close()
        for each in (self._listening, self._woken, self._wakes, *self._connections):
            each.close()

    def _look_after_children(self) -> None:
        for connection, child in self._connections.items():
            if child is None or child.has_ended:
                continue
            ended = os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is not None:
                child.has_ended = True
                trainer_start.kill_group(child.pid, signal.SIGKILL)  # whatever it left behind
                by_signal = ended.si_code in {os.CLD_KILLED, os.CLD_DUMPED}
                self._tell(connection, {"ended": -ended.si_status if by_signal else ended.si_status})
        self._left -= {pid for pid in self._left if os.waitpid(pid, os.WNOHANG)[0]}

    def _forget(self, connection: socket.socket) -> None:
        child = self._connections.pop(connection)
        self._selector.unregister(connection)
        connection.close()
        if child is not None:
            trainer_start.kill_group(child.pid, signal.SIGKILL)
            self._left.add(child.pid)

    def _tell(self, connection: socket.socket, message: dict[str, object]) -> None:
        with contextlib.suppress(OSError):  # it is gone, and its end is noticed next
            connection.send(json.dumps(message).encode())

    def _import_next(self) -> None:
        name = self._to_import.pop(0)
        try:
            importlib.import_module(name)
        except Exception as error:  # noqa: BLE001  a library that is broken here is the trainer's to tell of
            sys.stderr.write(f"starter: {name} can't be imported: {error!r}\n")
        if not self._to_import:
            settle()
            sys.stderr.write(f"starter: warm, {memory()}\n")

    def _replace(self) -> NoReturn:
        """Begin again as a new program in this process, in the environment that was asked for."""
        for pid in self._left:
            os.waitpid(pid, 0)  # the new program would not know of it, and leave a zombie
        self._listening.set_inheritable(True)
        arguments = (str(self._listening.fileno()), str(self._parent_pid), str(self._max_forks))
        command = [sys.executable, "-m", "workers.process.starter", *arguments]
        os.execve(command[0], command, self._wanted_environment)  # noqa: S606  there is no shell in between on purpose


def given_environment() -> dict[str, str]:
    """Return the environment that this process was started with; imports have added to it since."""
    pairs = Path("/proc/self/environ").read_bytes().split(b"\0")
    return dict(os.fsdecode(pair).split("=", 1) for pair in pairs if b"=" in pair)


def unlike(ours: dict[str, str], theirs: dict[str, str]) -> list[str]:
    """Return the variables in which two environments differ, but for the settings: each trainer reads its own.

    Libraries read theirs once, when they are loaded.
    """
    settings = {name.upper() for name in Settings.model_fields}
    different = {name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)}
    return sorted(different - settings)


def become_trainer(request: Request, descriptors: Descriptors, *, starter: int) -> NoReturn:
    """Do in a fork what a fresh interpreter would have done, and leave."""
    exit_code = 1
    try:
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)
        parent_death.die_with_parent(starter)
        parent_death.prctl(PR_SET_NAME, b"trainer")
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (descriptors.log, 1), (descriptors.log, 2)):
            os.dup2(source, target)
        os.close(nothing)
        os.close(descriptors.log)
        os.environ.update(request.environment)
        random.seed()
        np.random.seed()  # noqa: NPY002  torch's generator begins with a constant, here as in a fresh process
        arguments = [request.assignment, str(starter), str(descriptors.lifeline), str(descriptors.reports)]
        exit_code = trainer.main(arguments)
    except BaseException:  # noqa: BLE001  as the interpreter does with what nobody catches
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_code)


def settle() -> None:
    """Keep the collector away from what is imported, so that forks go on sharing its memory."""
    gc.collect()
    gc.freeze()


def memory() -> str:
    """Return what this process holds in memory, in words."""
    sizes = {}
    for line in Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]:
        name, size = line.split()[:2]
        sizes[name.rstrip(":")] = int(size) // 1024
    return f"{sizes['Rss']} MiB resident, {sizes['Anonymous']} MiB of it its own and shared with its trainers"


def main(arguments: list[str]) -> NoReturn:
    """Import what is needed first, and serve."""
    listening, parent_pid, max_forks = map(int, arguments)
    parent_death.die_with_parent(parent_pid)
    parent_death.prctl(PR_SET_NAME, b"starter")
    began = time.monotonic()
    for name in AT_ONCE:
        importlib.import_module(name)
    settle()
    sys.stderr.write(f"{WORKER_IS_WARM} after {time.monotonic() - began:.1f} s, {memory()}\n")
    Starter(socket.socket(fileno=listening), parent_pid=parent_pid, max_forks=max_forks).serve()


if __name__ == "__main__":
    main(sys.argv[1:])
