"""Reports that a trainer is at work while a single call takes long: an export, a step on a slow host, a large upload.

Such a call can't report by itself. A thread beside it looks at the CPU time of the process and of its children: one
that grows is the sign of work, one that stands still is not, and then the supervisor's stall limit ends the trainer.
"""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

LOOKS = 20  # per stall limit: half of the tenth that a trainer may be silent
LEAST_SHARE = 0.001  # of a core; a process that only waits uses less, one on the most crowded host more
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def report_work(alive: Callable[[], None], *, stall_s: float) -> None:
    """Call `alive` several times per stall limit from now on, whenever the process has worked since the last time."""
    threading.Thread(target=_watch, args=(alive, stall_s / LOOKS), name="liveness", daemon=True).start()


def worked_s(*, proc: Path = Path("/proc")) -> float:
    """Return the CPU time of this process, without the calling thread's, and of its children, in seconds."""
    return time.process_time() - time.thread_time() + _children_s(proc)


def _watch(alive: Callable[[], None], period_s: float) -> None:
    before = worked_s()
    while True:
        time.sleep(period_s)
        now = worked_s()
        if abs(now - before) > LEAST_SHARE * period_s:  # less is a child that has ended
            alive()
        before = now


def _children_s(proc: Path) -> float:
    """Return the CPU time of the children that run; a kernel that does not list them gives 0."""
    total = 0
    for listed in proc.glob("self/task/*/children"):
        try:
            pids = listed.read_text(encoding="ascii").split()
        except OSError:  # the thread has ended
            continue
        for pid in pids:
            try:
                fields = (proc / pid / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            except OSError:
                continue
            total += int(fields[11]) + int(fields[12])  # utime and stime, see proc(5)
    return total / TICKS_PER_S
