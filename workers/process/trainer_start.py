"""Start of a trainer's process: forked by the worker's warm starter, or as a fresh interpreter.

The starter (workers/process/starter.py) listens on an abstract unix socket whose name only this worker's processes
know; both ends also verify that the other belongs to the same user. One connection is one trainer: the request goes one
way with three descriptors, `{"pid": …}` or `{"refused": …}` and at last `{"ended": exit code}` come back. The starter
keeps the ended trainer as a zombie until the connection is closed: its pid names nothing else while a supervisor may
signal it.
"""

import contextlib
import json
import logging
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO, Protocol

from models_store.host.processes import is_running

VARIABLE = "ESPALIER_STARTER"
"""the environment variable that names the socket of this worker's starter"""
FRESH = (sys.executable, "-m", "workers.process.trainer")
LONGEST_REQUEST = 1 << 20
ANSWER_S = 20.0
"""how long a supervisor waits at most for a starter, which may be importing yet; a fresh interpreter takes as long"""
SILENCE_S = 5.0
"""after this time without a word about a dead trainer, its starter counts as stopped"""
LOOK_S = 0.05

logger = logging.getLogger(__name__)


class NoStarter(Exception):
    """A warm start is not to be had now; the message says why."""


@dataclass(frozen=True)
class Request:
    """What a trainer is started with: the path of its assignment, and all of its environment."""

    assignment: str
    environment: dict[str, str]


@dataclass(frozen=True)
class Descriptors:
    """Where the trainer writes what it prints, what tells it that its supervisor is gone, and where it reports."""

    log: int
    lifeline: int
    reports: int


class Ties:
    """The two pipes of one start, which no other may use: a starter that stands still holds on to what it was sent."""

    def __init__(self, log: BinaryIO) -> None:
        lifeline_read, self._lifeline = os.pipe()
        self.reports, reports_write = os.pipe()
        self.theirs = Descriptors(log.fileno(), lifeline_read, reports_write)

    def hand_over(self) -> None:
        """Close the trainer's ends on this side."""
        os.close(self.theirs.lifeline)
        os.close(self.theirs.reports)

    def close(self) -> None:
        """Close our ends: a trainer that is still there ends."""
        os.close(self.reports)
        os.close(self._lifeline)


class Started(Protocol):
    """A trainer's process, which leads a process group of its own; `reports` is where to read what it says."""

    pid: int
    reports: int

    def exit_code(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs."""
        ...

    def wait(self) -> None:
        """Return when it has ended."""
        ...

    def close(self) -> None:
        """Give back what is held of the ended process."""
        ...


def begin(request: Request, log: BinaryIO, *, command: list[str] | None, answer_s: float = ANSWER_S) -> Started:
    """Start a trainer; without a `command` it is forked by the worker's starter, if one answers within `answer_s`."""
    name = os.environ.get(VARIABLE, "")
    if command is None and name:
        try:
            return ForkedTrainer(name, request, Ties(log), answer_s=answer_s)
        except (NoStarter, OSError) as error:
            logger.warning("this trainer starts cold: %s", error)
    return FreshTrainer(request, Ties(log), command=command or list(FRESH))


class FreshTrainer:
    """A trainer in an interpreter of its own."""

    def __init__(self, request: Request, ties: Ties, *, command: list[str]) -> None:
        log, lifeline, reports = ties.theirs.log, ties.theirs.lifeline, ties.theirs.reports
        try:
            self._process = subprocess.Popen(
                [*command, request.assignment, str(os.getpid()), str(lifeline), str(reports)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=(lifeline, reports),
                env=request.environment,
            )
        except BaseException:
            ties.close()
            raise
        finally:
            ties.hand_over()
        self._ties = ties
        self.pid, self.reports = self._process.pid, ties.reports

    def exit_code(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    def wait(self) -> None:
        """Return when it has ended."""
        self._process.wait()

    def close(self) -> None:
        """Close the pipes; the process was reaped when its exit code was read."""
        self._ties.close()


class ForkedTrainer:
    """A trainer that the starter has forked.

    Raises:
        NoStarter: if the starter refuses, does not answer in time, or belongs to another user.
        OSError: if it can't be reached.
    """

    def __init__(self, name: str, request: Request, ties: Ties, *, answer_s: float) -> None:
        self._exit_code: int | None = None
        self._missed_at: float | None = None
        self._lock = threading.Lock()  # a second thread guards the deadline
        self._ties, self.reports = ties, ties.reports
        try:
            self._connection = _connect(name, timeout_s=answer_s)
            try:
                self.pid = self._ask(request, answer_s=answer_s)
            except BaseException:
                self._connection.close()
                raise
        except BaseException:
            ties.close()
            raise
        finally:
            ties.hand_over()

    def exit_code(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs. With its starter, a trainer is killed."""
        with self._lock:
            if self._exit_code is None:
                self._exit_code = self._look()
            return self._exit_code

    def wait(self) -> None:
        """Return when it has ended."""
        while self.exit_code() is None:
            select.select([self._connection], [], [], LOOK_S)

    def close(self) -> None:
        """Close the pipes, and let the starter forget the trainer; one that still runs is killed."""
        self._ties.close()
        self._connection.close()

    def _ask(self, request: Request, *, answer_s: float) -> int:
        theirs = self._ties.theirs
        message = json.dumps(asdict(request)).encode()
        socket.send_fds(self._connection, [message], [theirs.log, theirs.lifeline, theirs.reports])
        answer = self._receive(timeout_s=answer_s)
        if answer is None:
            raise NoStarter(f"the starter has not answered within {answer_s:g} s")
        if "refused" in answer:
            raise NoStarter(f"the starter refused: {answer['refused']}")
        return int(answer["pid"])

    def _look(self) -> int | None:
        try:
            answer = self._receive(timeout_s=0)
        except (NoStarter, OSError):
            return -signal.SIGKILL
        if answer is not None:
            return int(answer["ended"])
        if is_running(self.pid):
            return None
        now = time.monotonic()
        self._missed_at = self._missed_at or now
        return -signal.SIGKILL if now - self._missed_at > SILENCE_S else None

    def _receive(self, *, timeout_s: float) -> dict[str, Any] | None:
        """Return the starter's next message; None when none comes in time."""
        if not select.select([self._connection], [], [], timeout_s)[0]:
            return None
        message = self._connection.recv(LONGEST_REQUEST)
        if not message:
            raise NoStarter("the starter is gone")
        answer: dict[str, Any] = json.loads(message)
        return answer


def address(name: str) -> bytes:
    """Return the abstract address of a starter: it is no file, so that nothing is left of a killed worker."""
    return b"\0espalier-starter-" + name.encode()


def owner_of(connection: socket.socket) -> int:
    """Return the user of the process at the other end (SO_PEERCRED)."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, user, _ = struct.unpack("3i", credentials)
    return int(user)


def kill_group(leader: int, number: signal.Signals) -> None:
    """Send a signal to a process group; none is left when there is nobody."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, number)


def _connect(name: str, *, timeout_s: float) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.settimeout(timeout_s)
        connection.connect(address(name))
        _require_own(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _require_own(connection: socket.socket) -> None:
    if owner_of(connection) != os.geteuid():
        raise NoStarter("the starter's socket belongs to another user")
