"""Processes of this host, as /proc tells of them."""

import os
import signal
from contextlib import suppress
from pathlib import Path


def children_of(pid: int) -> list[int]:
    """Return the children of all threads of a process."""
    children: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # a thread that has ended meanwhile
            children += map(int, (task / "children").read_text().split())
    return children


def name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def starter_of(worker: int) -> int | None:
    """Return the starter that a worker keeps, when it serves."""
    return next((child for child in children_of(worker) if name_of(child) == "starter"), None)


def trainer_of(supervisor: int) -> int:
    """Return the trainer that a supervisor follows: a child of its own, or of its worker's starter."""
    starter = starter_of(parent_of(supervisor))
    forked = [] if starter is None else children_of(starter)
    (trainer,) = [*children_of(supervisor), *forked]
    return trainer


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except OSError:
        return False


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
