"""Keeper of one process: runs a command, and ends it and all its children on a signal, or when its parent dies.

Run by its path, `python -I keeper.py GRACE_S PARENT_PID LOCK_FD -- COMMAND…`; it imports only the standard library, so
it starts in milliseconds. After a SIGKILL:

    `espalier up` dies   → the kernel sends its keepers SIGTERM; each ends its command as if `up` had asked
    a keeper dies        → the kernel kills its command at once
    the command dies     → its orphans become the keeper's children (a subreaper's), which ends them too

The keeper holds the lock of the home (`LOCK_FD`, -1: none) for as long as its command lives, so a new stack can't start
beside the leftovers of an old one.
It exits as its command did: its status, or 128 + the signal that ended it. SIGTERM ends it gently, SIGINT at once.
"""

import ctypes
import os
import signal
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
LOOK_S = 0.1
ORPHAN_GRACE_S = 5.0
SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}


def main() -> int:
    """Keep the command of `sys.argv` until it ends."""
    grace_s, parent, lock = float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    command = sys.argv[5:]
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        return 1  # it died before the kernel was asked to tell us
    if lock >= 0:
        os.set_inheritable(lock, False)
    child = _start(command)
    status, hurried = _wait(child, grace_s=grace_s)
    _end_orphans(grace_s=0 if hurried else ORPHAN_GRACE_S)
    return status


def _start(command: list[str]) -> int:
    keeper = os.getpid()
    child = os.fork()
    if child:
        return child
    try:
        os.setsid()  # a process group of its own: what the terminal sends reaches `espalier up` alone
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.pthread_sigmask(signal.SIG_SETMASK, set())
        if os.getppid() == keeper:
            os.execvp(command[0], command)  # noqa: S606  there is no shell in between on purpose
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
    finally:
        os._exit(127)


def _wait(child: int, *, grace_s: float) -> tuple[int, bool]:
    """Return how the child ended, and whether that was hurried.

    SIGTERM and SIGHUP are passed on as SIGTERM; after the grace, or at SIGINT, the child is killed. Asking again needs
    another signal: two of one kind in quick succession reach a process as one.
    """
    hurried = False
    deadline = float("inf")
    while True:
        signalled = signal.sigtimedwait(SIGNALS, LOOK_S if deadline < float("inf") else 3600)
        while (ended := _reap())[0]:
            if ended[0] == child:
                return _code(ended[1]), hurried
        if signalled is not None and signalled.si_signo == signal.SIGINT:
            hurried, deadline = True, 0.0
        elif signalled is not None and signalled.si_signo != signal.SIGCHLD and deadline == float("inf"):
            deadline = time.monotonic() + grace_s
            os.kill(child, signal.SIGTERM)
        if time.monotonic() >= deadline:
            os.kill(child, signal.SIGKILL)
            deadline = float("inf")


def _end_orphans(*, grace_s: float) -> None:
    """End the processes that the command left behind: signal them, wait a little, kill the rest."""
    deadline = time.monotonic() + grace_s
    asked: set[int] = set()
    while _reap()[1] >= 0:  # there are children yet
        late = time.monotonic() >= deadline
        for orphan in _children():
            if late or orphan not in asked:
                asked.add(orphan)
                os.kill(orphan, signal.SIGKILL if late else signal.SIGTERM)
        time.sleep(LOOK_S / 5)


def _reap() -> tuple[int, int]:
    """Return (pid, status) of one ended child, (0, 0) when all live on, (0, -1) when there is none."""
    try:
        return os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return 0, -1


def _children() -> list[int]:
    return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


def _code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    sys.exit(main())
