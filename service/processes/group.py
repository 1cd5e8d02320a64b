"""API processes that share one port: started, given their connections, replaced and ended by their parent.

    clients ─► parent: accepts, and hands each connection to the process that has the fewest
                 ├─► owner (0)   large models, the GPU, migrations, the housekeeper
                 └─► fronts      the same app; they forward large models' examples to the owner, and give it the
                                 connections that ask for slow ones again and again

The parent forks them, so they share its memory as long as nothing writes to it, and a replacement starts at once. It
runs no event loop and no thread. It waits in `select` and costs nothing while no connection arrives. When it dies, the
kernel sends SIGTERM to the others.
"""

import ctypes
import os
import selectors
import signal
import socket
import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import replace

import structlog

from service import metrics
from service.processes.board import Column
from service.processes.inbox import Inbox, Kind
from service.processes.place import OWNER, Place

PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15  # prctl(2)
ACCEPTED_AT_ONCE = 64
PAUSE_S = 0.02
"""Wait when no process can take a connection, or this one has no file descriptor for it."""
MOST_DEATHS, WITHIN_S = 5, 60.0
"""A process that dies more often in this time ends the group: whoever started it is to see that."""
LONGEST_BACK_OFF_S = 5.0

log = structlog.get_logger(__name__)

Serve = Callable[[Place, Callable[[], None]], int]
"""Serves at a place until SIGTERM, and returns the exit status; the function that it is given says that it is ready."""


class Group:
    """The parent of the processes. Use `run` once, in the main thread of a process without other threads."""

    def __init__(self, listening: socket.socket, place: Place, *, serve: Serve) -> None:
        self._listening = listening
        self._place = place
        self._serve = serve
        self._board = place.board
        self._numbers: dict[int, int] = {}  # of the living, by pid
        self._due: dict[int, float] = {}  # when a process that died is replaced
        self._deaths: list[deque[float]] = [deque(maxlen=MOST_DEATHS) for _ in range(self._board.processes)]
        self._held: socket.socket | None = None  # accepted, and nobody has room for it
        self._was_ready = False
        self._stopping = False
        self._asked = 0
        self._status = 0
        self._wake, self._waker = socket.socketpair()
        self._selector = selectors.DefaultSelector()

    def run(self) -> int:
        """Serve until a signal comes or a process can't be kept alive; return the exit status."""
        self._listening.setblocking(False)
        for each in (self._wake, self._waker):
            each.setblocking(False)
        self._selector.register(self._wake, selectors.EVENT_READ)
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
        before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        try:
            self._due[OWNER] = 0.0
            while self._numbers or (self._due and not self._stopping):
                self._start_due()
                self._wait()
                self._obey()
                self._bury()
                self._hand_out()
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)
        return self._status

    def _on_signal(self, _number: int, _frame: object) -> None:
        self._asked += 1  # it may come at any place in the code: no more than this

    def _obey(self) -> None:
        """Stop when a signal has asked for it; asked again, kill what has not ended."""
        if not self._asked:
            return
        self._asked = 0
        if self._stopping:
            self._signal_all(signal.SIGKILL)
        else:
            self._stop(0)

    def _signal_all(self, number: signal.Signals) -> None:
        for pid in self._numbers:
            os.kill(pid, number)

    def _stop(self, status: int) -> None:
        """Take no connection any more, and let every process finish what it does."""
        if self._stopping:
            return
        while self._hand_out():  # whoever has connected before is answered
            pass
        self._stopping, self._status = True, status
        self._let_accept(yes=False)
        self._listening.close()
        if self._held is not None:
            self._held.close()
        self._signal_all(signal.SIGTERM)

    def _wait(self) -> None:
        """Wait for a signal, a connection, a process that is ready, or the time of a replacement."""
        takes = self._is_ready() and self._held is None
        self._let_accept(yes=takes and not self._stopping)
        waits = [max(0.0, due - time.monotonic()) for due in self._due.values()]
        if self._held is not None and not self._stopping:
            waits.append(PAUSE_S)
        for key, _ in self._selector.select(min(waits, default=None)):
            if key.fileobj is self._wake:
                self._wake.recv(4096)
        if self._is_ready() and not self._was_ready:
            self._was_ready = True
            for number in range(1, self._board.processes):
                self._due[number] = 0.0

    def _is_ready(self) -> bool:
        return bool(self._board.pids())

    def _let_accept(self, *, yes: bool) -> None:
        does = self._listening.fileno() in self._selector.get_map() if self._listening.fileno() >= 0 else False
        if yes and not does:
            self._selector.register(self._listening, selectors.EVENT_READ)
        elif does and not yes:
            self._selector.unregister(self._listening)

    def _hand_out(self) -> bool:
        """Accept what waits, and hand each connection to the process that has the fewest; return whether more waits."""
        for _ in range(ACCEPTED_AT_ONCE):
            if self._stopping or not self._is_ready():
                return False
            if self._held is None:
                try:
                    self._held, _ = self._listening.accept()
                except BlockingIOError:
                    return False
                except OSError:  # the client has gone, or there is no file descriptor for it
                    time.sleep(PAUSE_S)
                    return False
            if not self._give(self._held):
                return False
            self._held.close()
            self._held = None
        return True

    def _give(self, connection: socket.socket) -> bool:
        """Hand a connection to a process; return whether one had room for it."""
        counts = sorted((self._board.connections(number), number) for number, _ in self._board.pids())
        for _, number in counts:
            if self._place.inboxes[number].send(Kind.CONNECTION, connection):
                self._board.increase(number, Column.HANDED)
                return True
        return False

    def _start_due(self) -> None:
        now = time.monotonic()
        for number, due in list(self._due.items()):
            if due <= now and not self._stopping:
                del self._due[number]
                self._start(number)

    def _start(self, number: int) -> None:
        parent = os.getpid()
        pid = os.fork()
        if pid:
            self._numbers[pid] = number
            return
        status = 1
        try:
            self._become(number, parent)
            status = self._serve(replace(self._place, number=number), self._say_ready)
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 1
        except BaseException:  # noqa: BLE001  nothing of the parent's may run here
            traceback.print_exc()
        finally:
            os._exit(status)

    def _become(self, number: int, parent: int) -> None:
        """Leave behind what is the parent's."""
        signal.set_wakeup_fd(-1)
        for each in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(each, signal.SIG_DFL)
        _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        _prctl(PR_SET_NAME, b"api-owner" if number == OWNER else f"api-front-{number}".encode())
        if os.getppid() != parent:
            os._exit(1)
        self._selector.close()
        self._listening.close()
        self._wake.close()
        if self._held is not None:
            self._held.close()

    def _say_ready(self) -> None:
        """Wake the parent, from a child."""
        self._waker.send(b"\0")

    def _bury(self) -> None:
        """Note which processes have ended, and when they are replaced."""
        while self._numbers:
            pid, code = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            number = self._numbers.pop(pid, None)
            if number is not None:
                self._clean_up(number)
                self._replace(number, os.waitstatus_to_exitcode(code))

    def _clean_up(self, number: int) -> None:
        """Forget a dead process; connections that it had not taken go to the others, links wait for the next."""
        for column in (Column.PID, Column.HANDED, Column.MOVED, Column.CLOSED):
            self._board.write(number, column, 0)
        if self._place.metrics_folder is not None:
            metrics.forget_gauges(self._place.metrics_folder, number)
        inbox: Inbox = self._place.inboxes[number]
        links = []
        while (message := inbox.receive()) is not None:
            if message.sent is None:
                continue
            if message.kind is Kind.LINK:
                links.append(message.sent)
                continue
            if not self._stopping and self._is_ready():
                self._give(message.sent)
            message.sent.close()
        for link in links:
            inbox.send(Kind.LINK, link)
            link.close()

    def _replace(self, number: int, code: int) -> None:
        if self._stopping:
            return
        now, deaths = time.monotonic(), self._deaths[number]
        died = f"signal {-code}" if code < 0 else f"status {code}"
        if number == OWNER and not self._was_ready:
            self._stop(code if code > 0 else 1)  # what it printed says why
            return
        recent = [each for each in deaths if now - each < WITHIN_S]
        if len(recent) == MOST_DEATHS:
            log.error("an API process dies again and again; the API ends", process=number, ended_by=died)
            self._stop(1)
            return
        deaths.append(now)
        wait_s = min(LONGEST_BACK_OFF_S, 0.25 * (2 ** len(recent) - 1))
        self._due[number] = now + wait_s
        log.warning("an API process has ended and is replaced", process=number, ended_by=died, wait_s=wait_s)


def _prctl(option: int, value: int | bytes) -> None:
    ctypes.CDLL(None).prctl(option, value)
