"""Local stack: Valkey, one API and one worker on one folder, started together and ended in reverse order."""

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from models_store.host.processes import WORKER_IS_WARM
from models_store.settings import Settings
from service.cli import processes
from service.cli.places import read_holder, write_holder
from service.cli.processes import HomeInUse, Hurry, PortInUse, Process, ProcessFailed, Recipe

DEFAULT_PORT = 8000
READY_S = 60.0
LONGEST_SOCKET_PATH = 107  # sockaddr_un.sun_path, less its closing NUL
RESTARTS, RESTARTS_WITHIN_S = 3, 60.0
LEFTOVERS_S = processes.WORKER_GRACE_S + 15

Tell = Callable[[str], None]


class StopRequested(KeyboardInterrupt):
    """The user, the terminal or the system asks the stack to end."""


class Stack:
    """Three processes and the lock on their folder. Use `running`, which also ends them."""

    def __init__(self, settings: Settings, *, port: int | None, tell: Tell) -> None:
        self.home = settings.espalier_home
        self.stopping = False
        self.hurry = Hurry()
        self._settings = settings
        self._port = port
        self._tell = tell
        self._running: list[Process] = []
        self._lock = -1
        self._listening: socket.socket | None = None
        self._short_folder: str | None = None
        self._worker_log: WorkerLog | None = None  # until it has said that it is warm
        self.device = "unknown"
        """device on which it trains and serves, once it is ready: `cpu` or `cuda`"""

    @property
    def url(self) -> str:
        """Return where the API answers."""
        assert self._listening is not None
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    @property
    def grpc_address(self) -> str | None:
        """Return where the API answers over gRPC; None without GRPC_PORT."""
        port = self._settings.grpc_port
        return f"{self._settings.grpc_host}:{port}" if port else None

    @property
    def running(self) -> tuple[Process, ...]:
        """Return the processes, in the order of their start."""
        return tuple(self._running)

    def start(self) -> None:
        """Start everything and return when the API is ready.

        Raises:
            HomeInUse, PortInUse, ProcessFailed: as they say; `stop` is still to be called.
        """
        (self.home / "logs").mkdir(parents=True, exist_ok=True)
        self.home.chmod(0o700)
        self._lock = _lock(self.home, tell=self._tell)
        self._listening = _listen(self._port)
        if self._port is None and not self.url.endswith(f":{DEFAULT_PORT}"):
            self._tell(f"  port {DEFAULT_PORT} is used by another program: this API uses a free port")
        broker = self._broker_socket()
        if broker is not None:
            self._tell("  queue: starting Valkey")
            self._start(processes.valkey(broker, folder=self.home / "valkey"))
            self._wait_until(lambda: _valkey_answers(broker), what="Valkey to answer")
        self._tell(f"  database: {_on_database(self._settings)}")
        self._tell(f"  API: starting on {self.url}")
        self._start(processes.api(self._listening.fileno()))
        self._wait_until(self._api_is_ready, what="the API to be ready")
        self._tell("  worker: starting; it is loading torch, and a first job waits for that")
        worker = processes.worker()
        if self._settings.warm_starter:
            self._worker_log = WorkerLog(self.home / "logs" / f"{worker.name}.log")
        self._start(worker)
        write_holder(self._lock, {"pid": os.getpid(), "url": self.url})

    def tend(self) -> None:
        """Restart dead processes and report it; report when the worker has loaded torch.

        Raises:
            ProcessFailed: if one has died too often within a minute.
        """
        if self._worker_log is not None and self._worker_log.is_warm():
            self._tell("worker: torch is loaded, jobs start at once")
            self._worker_log = None
        for position, process in enumerate(self._running):
            status = process.keeper.poll()
            if status is None or self.stopping:
                continue
            now = time.monotonic()
            deaths = [death for death in process.deaths if now - death < RESTARTS_WITHIN_S] + [now]
            if len(deaths) > RESTARTS:
                raise ProcessFailed(
                    f"the {_died(process, status)}\nIt died {len(deaths)} times within a minute: giving up."
                )
            self._tell(f"the {_died(process, status)}\nStarting it again.")
            self._running[position] = self._launch(process.recipe)
            self._running[position].deaths = deaths

    def stop(self) -> None:
        """End every process, the last one first, and release the folder."""
        self.stopping = True
        while self._running:
            self._running[-1].end(hurry=self.hurry)
            self._running.pop()
        if self._listening is not None:
            self._listening.close()
        if self._short_folder is not None:
            shutil.rmtree(self._short_folder, ignore_errors=True)
        if self._lock >= 0:
            os.ftruncate(self._lock, 0)
            os.close(self._lock)
            self._lock = -1

    def _broker_socket(self) -> Path | None:
        """Return where Valkey shall listen; None when the settings name a broker that runs elsewhere."""
        own = self.home / "valkey.sock"
        if self._settings.broker_url != f"redis+socket://{own}":
            return None
        if len(os.fsencode(own)) > LONGEST_SOCKET_PATH:
            self._short_folder = tempfile.mkdtemp(prefix="espalier-")
            own = Path(self._short_folder) / "valkey.sock"
            self._settings = self._settings.model_copy(update={"broker_url": f"redis+socket://{own}"})
        return own

    def _start(self, recipe: Recipe) -> None:
        self._running.append(self._launch(recipe))

    def _launch(self, recipe: Recipe) -> Process:
        environment = processes.environment(self._settings)
        return processes.start(recipe, logs=self.home / "logs", environment=environment, lock=self._lock)

    def _wait_until(self, ready: Callable[[], bool], *, what: str) -> None:
        deadline = time.monotonic() + READY_S
        while not ready():
            for process in self._running:
                status = process.keeper.poll()
                if status is not None:
                    raise ProcessFailed(f"the {_died(process, status)}")
            if time.monotonic() > deadline:
                raise ProcessFailed(
                    f"waited {READY_S:.0f} s for {what}; its last lines:\n{self._running[-1].log_tail()}"
                )
            time.sleep(0.05)

    def _api_is_ready(self) -> bool:
        import httpx  # noqa: PLC0415  0.1 s that `espalier --help` is spared

        try:
            answer = httpx.get(f"{self.url}/health/ready", timeout=5)
        except httpx.HTTPError:
            return False
        if answer.is_success:
            self.device = answer.json()["device"]
        return answer.is_success


class WorkerLog:
    """Follower of the worker's new output."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._begin = path.stat().st_size if path.exists() else 0

    def is_warm(self) -> bool:
        """Return whether it has reported that torch is loaded."""
        with self._path.open("rb") as file:
            file.seek(self._begin)
            return WORKER_IS_WARM.encode() in file.read()


@contextlib.contextmanager
def running(settings: Settings, *, port: int | None, tell: Tell) -> Iterator[Stack]:
    """Run the stack for the duration of the block; SIGINT, SIGTERM and SIGHUP end the block with `StopRequested`.

    A second signal, while the stack is ending, kills the remaining processes.
    """
    stack = Stack(settings, port=port, tell=tell)

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        if stack.stopping:
            stack.hurry.wanted = True
        else:
            stack.stopping = True
            raise StopRequested

    signals = {signal.SIGINT, signal.SIGTERM}  # SIGINT too where a shell's `&` set it to be ignored: it was sent to us
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as nohup asks for
        signals.add(signal.SIGHUP)
    before = {number: signal.signal(number, on_signal) for number in signals}
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()
        for number, handler in before.items():
            signal.signal(number, handler)


def _lock(home: Path, *, tell: Tell) -> int:
    """Take the folder's lock; wait for the processes of a killed stack, and refuse if a stack is running."""
    lock = os.open(home / "stack.lock", os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + LEFTOVERS_S
    reported = False
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = read_holder(lock)
            if time.monotonic() > deadline or Path(f"/proc/{holder.get('pid', 'self')}").exists():
                os.close(lock)
                where = f" (process {holder['pid']}, {holder['url']})" if "url" in holder else ""
                raise HomeInUse(
                    f"a stack already runs on {home}{where}: use it, stop it, or give another --home"
                ) from None
            if not reported:
                tell("an earlier stack on this folder was killed; waiting for its last processes to end")
                reported = True
            time.sleep(0.1)
        else:
            write_holder(lock, {"pid": os.getpid()})
            return lock


def _listen(port: int | None) -> socket.socket:
    """Return a listening socket: on the port asked for, else on the usual one, else on any that is free."""
    for wanted in (DEFAULT_PORT, 0) if port is None else (port,):
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(("127.0.0.1", wanted))
        except OSError:
            listening.close()
            continue
        listening.listen(2048)
        return listening
    raise PortInUse(f"port {port} of 127.0.0.1 is taken: give another --port, or leave it out to use a free one")


def _on_database(settings: Settings) -> str:
    """Return what happens to the database when the API starts; no password."""
    if not settings.database_url.startswith("sqlite"):
        return "upgrading its tables"
    return "opening it" if Path(settings.database_url.partition("///")[2]).exists() else "creating it"


def _valkey_answers(path: Path) -> bool:
    import redis  # noqa: PLC0415  0.2 s that `espalier --help` is spared

    try:
        with redis.Redis(unix_socket_path=str(path), socket_timeout=1) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


def _died(process: Process, status: int) -> str:
    how = f"was killed by signal {status - 128}" if status > 128 else f"ended with status {status}"  # noqa: PLR2004  the shells' convention
    return f"{process.recipe.name} {how}; the last lines of {process.log_path}:\n{process.log_tail()}"
