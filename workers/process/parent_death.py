"""Ties a process to its parent: when the parent dies, by whatever means, so does this process."""

import ctypes
import os
import signal
import threading

PR_SET_PDEATHSIG = 1  # prctl(2)


def die_with_parent(parent_pid: int) -> None:
    """Ask the kernel to kill this process when the thread that started it ends; leave at once if it has ended."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(1)


def die_at_end_of(lifeline: int) -> None:
    """Leave when the other end of the pipe is closed: a second tie, for where the first does not hold."""

    def watch() -> None:
        while os.read(lifeline, 1):
            pass
        os.killpg(os.getpgrp(), signal.SIGKILL)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()


def prctl(option: int, value: int | bytes) -> None:
    """Ask the kernel to change one thing about this process (prctl(2)); what it can't do is left."""
    ctypes.CDLL(None, use_errno=True).prctl(option, value)
