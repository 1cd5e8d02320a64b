"""Server process of the API. `python -m service.server` is the only way to start it.

`espalier up` hands it a listening socket (`--fd`), a container an address (`--host`, `--port`). API_PROCESSES says how
many processes share it; with more than one, this one is their parent (`service.processes.group`).

ServerError
├── OpenToStrangers      the address is reachable from other machines, and there are no API keys
└── AddressUnavailable   the address can't be used
"""

import argparse
import contextlib
import gc
import importlib
import os
import pkgutil
import resource
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError

from models_store import access
from models_store.host import cores
from models_store.settings import Settings
from models_store.storage import scratch
from service import logs, metrics, routes
from service.app import create_app
from service.hot.connection import protocol
from service.patience import Patience
from service.processes.board import Board
from service.processes.group import Group
from service.processes.inbox import Inbox
from service.processes.messages import take
from service.processes.place import Place
from service.serving import Server

if TYPE_CHECKING:
    from service.context import Context

BACKLOG = 2048
GRACE_S = 5
KEEP_ALIVE_S = (
    30  # longer than the pools of usual clients keep a connection: they close it, and no request meets an end
)
MOST_OPEN_FILES = 65_536
MOST_AUTOMATIC = 4
MEMORY = Path("/dev/shm")  # noqa: S108  files there are memory: counting never waits for a disk, full or not


class ServerError(Exception):
    """The server can't start; the message says why and what to do."""


class OpenToStrangers(ServerError):
    """The address is reachable from other machines, and there are no API keys."""


class AddressUnavailable(ServerError):
    """The address can't be used."""


def server_of(app: FastAPI, settings: Settings, *, on_ready: Callable[[], None] = lambda: None) -> Server:
    """Return a server of the app; give its `run` or `serve` the listening sockets."""
    context: Context = app.state.context
    patience = Patience(settings.header_timeout_s, settings.body_idle_s)
    config = uvicorn.Config(
        app,
        http=protocol(patience, app.state.hot_lane, context.place),
        ws="none",
        lifespan="on",
        log_config=None,  # service.logs has the loggers
        log_level="warning",
        access_log=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
    )
    return Server(config, context.place, on_message=lambda message: take(message, context), on_ready=on_ready)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on an address.

    Raises:
        AddressUnavailable: if the address is unknown or taken.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        raise AddressUnavailable(f"can't listen on {host}, port {port}: {error.strerror or error}") from error


def refuse_strangers(listening: socket.socket, settings: Settings) -> None:
    """Refuse an address that other machines reach, unless API keys are set.

    Raises:
        OpenToStrangers: with advice on how to set one.
    """
    host = listening.getsockname()[0]
    if not settings.owners and access.is_reachable(host):
        raise OpenToStrangers(
            f"listening on {host} would give everybody access, because API_KEYS is empty; set API_KEYS=owner:key "
            "(`openssl rand -hex 16` makes a key), or listen on 127.0.0.1"
        )


def main() -> int:
    """Serve until a signal comes."""
    parser = argparse.ArgumentParser(prog="python -m service.server", description="serve the API of Espalier")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on, 0: any (default: %(default)s)")
    parser.add_argument("--fd", type=int, help="file descriptor of a listening socket, instead of host and port")
    arguments = parser.parse_args()
    try:
        settings = Settings()
        with listen(arguments.host, arguments.port) if arguments.fd is None else _inherited(arguments.fd) as listening:
            refuse_strangers(listening, settings)
            _raise_open_files()
            return _serve(settings, listening)
    except (ServerError, ValidationError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1


def _inherited(descriptor: int) -> socket.socket:
    try:
        listening = socket.socket(
            fileno=descriptor
        )  # asks the system for its family: uvicorn's own --fd assumes AF_UNIX
    except OSError as error:
        raise AddressUnavailable(f"file descriptor {descriptor} is no socket: {error.strerror}") from error
    if listening.family not in {socket.AF_INET, socket.AF_INET6}:
        raise AddressUnavailable(f"file descriptor {descriptor} is no TCP socket")
    return listening


def _serve(settings: Settings, listening: socket.socket) -> int:
    processes = settings.api_processes or min(MOST_AUTOMATIC, cores.usable())
    if processes == 1:
        with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises SIGINT again when it has ended
            server_of(create_app(settings), settings).run(sockets=[listening])
        return 0

    def serve_at(place: Place, say_ready: Callable[[], None]) -> int:
        metrics.count_together(place)
        server_of(create_app(settings, place), settings, on_ready=say_ready).run()
        return 0

    logs.configure(settings)
    _load_modules()
    with _metrics_folder(settings) as folder:
        place = Place(0, Board(processes), [Inbox() for _ in range(processes)], folder)
        return Group(listening, place, serve=serve_at).run()


def _load_modules() -> None:
    """Import what the app needs, so that the processes which are forked share it."""
    for module in pkgutil.iter_modules(routes.__path__, f"{routes.__name__}."):
        importlib.import_module(module.name)
    gc.collect()
    gc.freeze()  # the collector would write to these objects, and a page that is written to is not shared any more


@contextlib.contextmanager
def _metrics_folder(settings: Settings) -> Iterator[Path]:
    """Make the folder of the counters of all processes, and remove those that killed parents have left."""
    memory = MEMORY if os.access(MEMORY, os.W_OK) else settings.scratch
    with contextlib.suppress(OSError):  # another user's, there
        scratch.sweep_dead(memory)
    folder = scratch.new_folder(memory, "espalier-metrics", pid=os.getpid())
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _raise_open_files() -> None:
    """Raise the limit of open files, which is usually 1,024, for the connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    sys.exit(main())
