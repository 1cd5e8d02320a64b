"""Processes of the servers: started with a log of their own, and ended with all that they started."""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx

GRACE_S = 8.0
PR_SET_CHILD_SUBREAPER = 36


class ServerFailed(Exception):
    """The server did not start; the message is the end of its log."""


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends: none is lost from sight (prctl(2))."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_well_on_sigterm() -> None:
    """Unwind on SIGTERM as on Ctrl-C, so that every server is stopped."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def free_port() -> int:
    """Return a port that is free now, and the two after it."""
    while True:
        with contextlib.ExitStack() as stack:
            first = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            port = int(first.getsockname()[1])
            try:
                for other in (port + 1, port + 2):
                    stack.enter_context(socket.create_server(("127.0.0.1", other)))
            except OSError:
                continue
            return port


class Server:
    """A server in a process group of its own."""

    def __init__(self, command: Sequence[str], *, log: Path, port: int, environment: Mapping[str, str]) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.log = log
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=dict(environment),
                cwd=log.parent,
                start_new_session=True,
            )

    def tail(self) -> str:
        """Return the end of its log."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-1500:]

    def wait_for_text(self, text: str, *, patience_s: float = 120.0) -> None:
        """Wait until its log has a text.

        Raises:
            ServerFailed: if it ends before, or takes too long.
        """
        deadline = time.monotonic() + patience_s
        while text not in self.log.read_text(encoding="utf-8", errors="replace"):
            self._wait_a_moment(deadline)

    def wait_for_answer(self, path: str | None = None, *, patience_s: float = 120.0) -> None:
        """Wait until it answers at all, or well on a path.

        Raises:
            ServerFailed: if it ends before, or takes too long.
        """
        deadline = time.monotonic() + patience_s
        while True:
            with contextlib.suppress(httpx.HTTPError):
                answer = httpx.get(self.url + (path or "/"), timeout=5)
                if path is None or answer.is_success:
                    return
            self._wait_a_moment(deadline)

    def _wait_a_moment(self, deadline: float) -> None:
        if self.process.poll() is not None or time.monotonic() > deadline:
            raise ServerFailed(self.tail())
        time.sleep(0.1)

    def stop(self) -> None:
        """End it and all that it started."""
        family = set(descendants(self.process.pid))
        self.process.terminate()
        deadline = time.monotonic() + GRACE_S
        while self.process.poll() is None and time.monotonic() < deadline:
            family.update(descendants(self.process.pid))
            time.sleep(0.05)
        self.process.kill()
        self.process.wait()
        deadline = time.monotonic() + GRACE_S
        while (left := [pid for pid in family if lives(pid)]) and time.monotonic() < deadline:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        for pid in family:  # those that became our own children, see `adopt_orphans`
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def descendants(pid: int) -> list[int]:
    """Return all processes that descend from one."""
    found = [pid]
    for each in found:
        try:
            for task in Path(f"/proc/{each}/task").iterdir():
                found += map(int, (task / "children").read_text(encoding="ascii").split())
        except OSError:
            continue
    return found[1:]


def cpu_s(pid: int) -> float:
    """Return the CPU time of a process and of all that descend from it, the ended ones included."""
    total = 0.0
    for each in [pid, *descendants(pid)]:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{each}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            total += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return total


def rss_bytes(pid: int) -> int:
    """Return the memory of a process and of all that descend from it, shared pages counted by their share."""
    total = 0
    for each in [pid, *descendants(pid)]:
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{each}/smaps_rollup").read_text(encoding="ascii").splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) << 10
    return total


def lives(pid: int) -> bool:
    """Return whether a process runs; one that has ended and waits for its parent doesn't."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
