"""Keeps a warm starter beside a worker: it begins with the worker, is started again when it dies, and ends with it."""

import logging
import os
import select
import socket
import subprocess
import sys
import threading
import time
from secrets import token_hex

from models_store.settings import Settings
from workers.process import trainer_start
from workers.process.trainer_process import environment

SOONEST_S, LATEST_S = 1.0, 60.0
"""between the death of a starter and the next; doubled for one that died within the longer of the two"""

log = logging.getLogger(__name__)


class StarterKeeper:
    """Owns the socket, which outlives each starter, and the thread that is the starters' parent.

    The kernel kills a starter when the thread that started it ends, so that none outlives the worker.
    """

    def __init__(self, settings: Settings) -> None:
        self._max_forks = settings.starter_forks
        self._environment = environment(settings)
        self._name = token_hex(16)
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, name="starter keeper", daemon=True)

    def start(self) -> None:
        """Listen, name the socket in the environment of this process's children, and keep a starter."""
        self._listening.bind(trainer_start.address(self._name))
        self._listening.listen()
        os.environ[trainer_start.VARIABLE] = self._name
        self._thread.start()

    def stop(self) -> None:
        """End the starter, and with it the trainers that it has forked."""
        self._stopping.set()
        os.environ.pop(trainer_start.VARIABLE, None)
        process = self._process
        if process is not None:
            process.kill()
        self._thread.join()
        self._listening.close()

    def _keep(self) -> None:
        pause_s = SOONEST_S
        while not self._stopping.is_set():
            began = time.monotonic()
            self._process = self._start()
            if self._stopping.is_set():
                self._process.kill()
            status = self._process.wait()
            if self._stopping.is_set():
                return
            lived_s = time.monotonic() - began
            pause_s = SOONEST_S if lived_s > LATEST_S else min(2 * pause_s, LATEST_S)
            log.warning("the starter ended with status %d; the next one comes in %.0f s", status, pause_s)
            self._turn_away(for_s=pause_s)

    def _start(self) -> "subprocess.Popen[bytes]":
        listening = self._listening.fileno()
        arguments = (str(listening), str(os.getpid()), str(self._max_forks))
        return subprocess.Popen(
            [sys.executable, "-m", "workers.process.starter", *arguments],
            stdin=subprocess.DEVNULL,
            pass_fds=(listening,),
            start_new_session=True,
            env=self._environment,
        )

    def _turn_away(self, *, for_s: float) -> None:
        """Close what connects while there is no starter: its trainers start cold at once."""
        deadline = time.monotonic() + for_s
        while (left_s := deadline - time.monotonic()) > 0 and not self._stopping.is_set():
            if select.select([self._listening], [], [], min(left_s, 0.2))[0]:
                self._listening.accept()[0].close()
