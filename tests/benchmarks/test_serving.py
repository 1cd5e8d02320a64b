"""Serving's figures, clients and processes; frameworks and time stay out."""

import asyncio
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from benchmarks.serving import client, peers, processes
from benchmarks.serving.asking import NO_ANSWER, closed_loop, open_loop
from benchmarks.serving.client import Ask, Load
from benchmarks.serving.environments import REQUIREMENTS
from benchmarks.serving.nets import NETS
from benchmarks.serving.results import LEVELS, OURS, Results, figures_and_goals

ASK = Ask("/", b"body", {"Content-Type": "application/octet-stream"})


def some_results(*, ours: float, theirs: float) -> Results:
    """Return two rounds of a large net, ours and a peer's, with requests/s as given."""
    results = Results("host")
    for form in ("jpeg", "tensor"):
        results.limits["mobilenet-v2", form] = [100.0, 100.0]
        for level in LEVELS:
            for server, rps in ((OURS, ours), ("mosec", theirs)):
                results.loads["mobilenet-v2", form, level, server] = [Load(rps, 1.0, 2.0, 0)] * 2
    return results


@contextmanager
def a_server(answer: bytes) -> Iterator[str]:
    """Answer every POST with the same bytes, and yield the URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize(("ours", "is_met"), [(98.0, True), (90.0, False)])
def test_a_peer_that_is_faster_is_a_goal_missed(ours: float, is_met: bool) -> None:  # noqa: FBT001
    figures, goals = figures_and_goals(some_results(ours=ours, theirs=97.0))

    ahead = [goal for goal in goals if "best peer's" in goal.figure and "requests/s" in goal.figure]
    assert len(ahead) == 2 * len(LEVELS)
    assert all(goal.is_met(figures) == is_met for goal in ahead)


def test_a_peer_that_could_not_be_measured_is_a_goal_missed() -> None:
    results = some_results(ours=2.0, theirs=1.0)
    results.unusable["ray"] = "it can't be installed"

    figures, goals = figures_and_goals(results)

    assert not next(goal for goal in goals if "could not be measured" in goal.figure).is_met(figures)


def test_the_likeliest_class_is_found_in_json_and_in_float32() -> None:
    row = np.array([0.1, 0.9, 0.0], np.float32).tobytes()

    for answer in (b'{"label": "class_0001"}', b'{"outputs": []}' + row):
        with a_server(answer) as url:
            client.check(url, ASK, label="class_0001", index=1, classes=3)


def test_a_wrong_answer_is_no_measurement() -> None:
    with a_server(b'{"label": "class_0002"}') as url, pytest.raises(client.WrongAnswer, match="class_0002"):
        client.check(url, ASK, label="class_0001", index=1, classes=3)


def test_an_open_loop_sends_what_is_due_whatever_is_answered() -> None:
    with a_server(b"answer") as url:
        answers = asyncio.run(open_loop(url, ASK, rate=200, seconds=0.1))

    assert [(each.status, each.body) for each in answers] == [(200, b"answer")] * 20


def test_a_closed_loop_asks_until_it_is_over() -> None:
    left = iter([False] * 5)
    with a_server(b"answer") as url:
        answers = asyncio.run(closed_loop(url, lambda: ASK, connections=1, is_over=lambda: next(left, True)))

    assert [each.status for each in answers] == [200] * 5


def test_a_server_that_is_gone_is_an_answer_without_a_status() -> None:
    answers = asyncio.run(open_loop(f"http://127.0.0.1:{processes.free_port()}", ASK, rate=10, seconds=0.1))

    assert [each.status for each in answers] == [NO_ANSWER]


def test_a_stopped_server_leaves_no_process_behind(tmp_path: Path) -> None:
    started = "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)"
    script = f"import subprocess, sys; p = {started}; print('ready', p.pid, flush=True); p.wait()"
    server = processes.Server([sys.executable, "-c", script], log=tmp_path / "log", port=1, environment=os.environ)
    server.wait_for_text("ready")
    pid = int(server.tail().split()[1])
    assert processes.lives(pid)

    server.stop()

    assert not processes.lives(pid)


def test_every_peer_has_an_environment_and_a_script_that_compiles() -> None:
    assert set(peers.peers(NETS["tiny"], workers=1)) == set(REQUIREMENTS)
    scripts = [*peers.SERVERS.glob("*.py")]
    for script in scripts:
        compile(script.read_text(encoding="utf-8"), script.name, "exec")
    assert len(scripts) == len(REQUIREMENTS) + 1
