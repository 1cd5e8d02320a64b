"""Several API processes behind one port, started as a container starts them, and an app beside them that publishes."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from models_store.settings import Settings
from service.app import create_app
from tests import databases, samples
from tests.processes import children_of, is_alive, name_of
from tests.service.live_service import Service

PATIENCE_S = 120


class Group:
    """A running group, a client of it, and connections that stay open."""

    def __init__(self, process: "subprocess.Popen[bytes]", url: str, settings: Settings) -> None:
        self.process = process
        self.url = url
        self.service = Service(url, create_app(settings).state.context)

    @property
    def pids(self) -> dict[str, int]:
        """Return the living processes by their names."""
        return {name_of(pid): pid for pid in children_of(self.process.pid) if is_alive(pid)}

    def wait_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, "it did not happen"
            assert self.process.poll() is None, "the group has ended"
            time.sleep(0.02)

    def wait_for(self, processes: int) -> None:
        """Wait until so many processes take connections."""
        self.wait_until(lambda: len(self.figures("espalier_connections")) == processes)

    def kill(self, name: str) -> None:
        """Kill a process and wait until it has gone."""
        pid = self.pids[name]
        os.kill(pid, signal.SIGKILL)
        self.wait_until(lambda: not is_alive(pid))

    def metrics(self) -> str:
        """Return the text of /metrics, over a connection that no killed process has had."""
        return httpx.get(f"{self.url}/metrics", timeout=PATIENCE_S).raise_for_status().text

    def figures(self, name: str) -> list[float]:
        """Return a metric's figures, in the order of their labels."""
        text = self.metrics()
        return [float(figure) for figure in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE)]

    @contextmanager
    def clients(self, count: int) -> Iterator[list[httpx.Client]]:
        """Open so many connections, and keep them."""
        limits = httpx.Limits(max_connections=1, keepalive_expiry=None)
        clients = [httpx.Client(base_url=self.url, timeout=PATIENCE_S, limits=limits) for _ in range(count)]
        try:
            for client in clients:
                client.get("/health/live").raise_for_status()
            yield clients
        finally:
            for client in clients:
                client.close()


def predict(client: httpx.Client, image: bytes, model: str) -> dict[str, Any]:
    """Return a prediction of one image."""
    answer = client.post("/predict", params={"model": model}, content=image, headers={"Content-Type": "image/png"})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


@contextmanager
def running(home: Path, *, processes: int, **settings: Any) -> Iterator[Group]:
    """Run a group on a free port of the loopback interface."""
    known = samples.quick_settings(home, **settings)
    databases.place(known.database_url)
    environment = {
        name.upper(): str(value) for name, value in known.model_dump(mode="json").items() if value is not None
    }
    with socket.create_server(("127.0.0.1", 0)) as listening:
        process = subprocess.Popen(
            [sys.executable, "-m", "service.server", "--fd", str(listening.fileno())],
            env=os.environ | environment | {"API_PROCESSES": str(processes)},
            pass_fds=[listening.fileno()],
        )
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    try:
        httpx.get(f"{url}/health/ready", timeout=PATIENCE_S)
        group = Group(process, url, known)
        if processes > 1:
            group.wait_for(processes)
        yield group
    finally:
        process.terminate()
        process.wait(60)
