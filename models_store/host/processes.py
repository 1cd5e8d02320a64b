"""Identity of a process: its host, boot, pid and start, written down with a claim, so that a dead owner is known."""

import os
import socket
from dataclasses import dataclass
from pathlib import Path

WORKER_IS_WARM = "starter: ready"
"""how a worker says in its log that it has loaded torch, and starts jobs at once"""


@dataclass(frozen=True)
class Process:
    """One process, never mistaken for a later one that was given the same pid."""

    host: str
    boot_id: str
    pid: int
    pid_started: str

    @property
    def name(self) -> str:
        """Return a readable name, unique among living processes."""
        return f"{self.host}/{self.pid}"

    def is_known_dead(self) -> bool:
        """Tell whether the process is surely gone; False for a process of another host, of which nothing is known."""
        if self.host != socket.gethostname():
            return False
        boot, _, namespace = self.boot_id.partition(" ")
        here, _, own_namespace = _boot_id().partition(" ")
        if boot != here:
            return True
        return namespace == own_namespace and started(self.pid) != self.pid_started

    def is_known_alive(self) -> bool:
        """Tell whether the process surely exists, running or stopped; False for a process of another host."""
        is_here = self.host == socket.gethostname() and self.boot_id == _boot_id()
        return is_here and started(self.pid) == self.pid_started

    def is_on_machine_of(self, other: "Process") -> bool:
        """Tell whether one kernel runs both processes, in whatever containers."""
        return self.boot_id.partition(" ")[0] == other.boot_id.partition(" ")[0]


def this_process() -> Process:
    """Return the calling process."""
    return Process(socket.gethostname(), _boot_id(), os.getpid(), started(os.getpid()))


def is_running(pid: int) -> bool:
    """Tell whether a process of this host has this pid and has not ended."""
    return bool(started(pid))


def _boot_id() -> str:
    """Return the boot, and the namespace in which pids mean something: containers may share a host's name."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot} {Path('/proc/self/ns/pid').readlink()}"


def started(pid: int) -> str:
    """Return the start time in clock ticks since boot (proc(5), stat, field 22); empty for a dead or zombie process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] in {"Z", "X"} else fields[19]
