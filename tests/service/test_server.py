"""The server process: where it listens, what it refuses to start with, how compose starts it."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from service.app import create_app
from service.server import listen, server_of
from tests import databases, samples

ROOT = Path(__file__).parents[2]
KEY = "key-of-ada-0123456789"


def server(home: Path, *arguments: str, **settings: str) -> "subprocess.Popen[str]":
    environment = {name: value for name, value in os.environ.items() if name != "API_KEYS"}
    return subprocess.Popen(
        [sys.executable, "-m", "service.server", *arguments],
        env=environment | {"ESPALIER_HOME": str(home), "DEVICE": "cpu"} | settings,
        stderr=subprocess.PIPE,
        text=True,
    )


def refusal(home: Path, *arguments: str, **settings: str) -> str:
    """Return what a server says that does not start."""
    process = server(home, *arguments, **settings)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "Traceback" not in said
    return said


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])  # noqa: S104  nothing is bound
def test_an_address_that_others_reach_is_refused_without_keys(tmp_path: Path, host: str) -> None:
    assert "set API_KEYS" in refusal(tmp_path, "--host", host, "--port", "0")


@pytest.mark.parametrize("keys", ["alice:k,bob:k", f"alice:{KEY},bob:{KEY}", "opensesame-opensesame"])
def test_keys_that_can_not_be_used_are_refused_and_not_printed(tmp_path: Path, keys: str) -> None:
    said = refusal(tmp_path, "--port", "0", API_KEYS=keys)

    assert "API_KEYS, entry" in said
    assert KEY not in said
    assert "opensesame" not in said


def test_a_port_that_is_taken_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "can't listen on 127.0.0.1" in refusal(tmp_path, "--port", str(taken.getsockname()[1]))


def test_it_serves_on_a_socket_that_it_inherits(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        process = subprocess.Popen(
            [sys.executable, "-m", "service.server", "--fd", str(listening.fileno())],
            env=os.environ | {"ESPALIER_HOME": str(tmp_path), "DEVICE": "cpu"},
            pass_fds=[listening.fileno()],
        )
        try:
            url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            assert httpx.get(f"{url}/health/live", timeout=120).json() == {"status": "ok"}
        finally:
            process.terminate()
            process.wait(60)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "docker-compose.yml").read_text()))


def test_compose_refuses_to_start_without_keys(compose: dict[str, Any]) -> None:
    assert compose["services"]["api"]["environment"]["API_KEYS"].startswith("${API_KEYS:?")


def test_the_container_starts_the_server_that_the_local_stack_starts() -> None:
    commands = [
        line for line in (ROOT / "docker" / "api.Dockerfile").read_text().splitlines() if line.startswith("CMD")
    ]

    assert commands == ['CMD ["python", "-m", "service.server", "--host", "0.0.0.0", "--port", "8000"]']


def test_a_server_that_ends_leaves_new_connections_to_the_next_that_listens(tmp_path: Path) -> None:
    settings = samples.quick_settings(tmp_path / "home")
    databases.place(settings.database_url)
    ending, listening = server_of(create_app(settings), settings), listen("127.0.0.1", 0)
    listening.settimeout(20)
    thread = threading.Thread(target=ending.run, args=([listening.dup()],), daemon=True)
    thread.start()
    with listening:
        wait_until(lambda: ending.started)
        with socket.create_connection(listening.getsockname(), 20) as kept:
            kept.sendall(b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert kept.recv(65536).startswith(b"HTTP/1.1 200")

            ending.should_exit = True
            wait_until(lambda: ending.ends)
            with socket.create_connection(listening.getsockname(), 20):
                accepted, _ = listening.accept()
                accepted.close()

            assert kept.recv(65536) == b""  # it asked nothing more
        thread.join(20)

    assert not thread.is_alive()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)
