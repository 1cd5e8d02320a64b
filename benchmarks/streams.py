"""Event streams: `/health/live` while a thousand clients follow jobs, and the events that reach them.

Half of the streams follow one job, the others fifty. The server is the API alone, as `espalier up` starts it; the
followers are a process of their own, and the news are written by this one, as a worker writes them.
"""

import argparse
import asyncio
import multiprocessing
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import httpx

from benchmarks.verdict import Goal, conclude
from models_store.jobs import claims
from models_store.jobs.claims import Claim
from models_store.settings import Settings
from models_store.storage.database import Database

ARCHIVE = Path(__file__).parents[1] / "samples" / "demo.zip"
JOBS = 51
OPENED_AT_ONCE = 10
PROBE_EVERY_S = 0.005
NEWS_EVERY_S = 0.1
GRACE_S = 3.0
GOALS = [
    Goal("streams open", "at least", 1000),
    Goal("live p99 ms, quiet", "at most", 50),
    Goal("live p99 ms, news", "at most", 50),
    Goal("events missing", "at most", 0),
    Goal("stop s", "at most", 10),
]


def main() -> None:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the streams, and no goal is binding")
    quick = parser.parse_args().quick
    count, phase_s = (100, 4.0) if quick else (1000, 20.0)
    with tempfile.TemporaryDirectory(prefix="streams-") as folder:
        figures = _measure(Path(folder), count=count, phase_s=phase_s)
    conclude("streams", figures, goals=GOALS, binding=not quick)


def _measure(home: Path, *, count: int, phase_s: float) -> dict[str, float]:
    settings = Settings(espalier_home=home, database_url="", blobs_url="", work_dir=None, api_keys="", device="cpu")
    figures: dict[str, float] = {}
    with _server(home) as (server, port):
        database = Database(settings.database_url)
        running = _running_jobs(f"http://127.0.0.1:{port}", database, settings)
        _probe(port, 1)
        figures["live p99 ms, no stream"] = _live_ms(port, phase_s / 4)[1]
        ours, theirs = multiprocessing.Pipe()
        arguments = (port, [claim.job.id for claim in running], count, theirs)
        followers = multiprocessing.get_context("spawn").Process(target=_follow, args=arguments)
        followers.start()
        opening: list[float] = []
        while not ours.poll():
            opening += _probe(port, 0.5)
        figures["streams open"] = ours.recv()
        figures["live p50 ms, opening"], figures["live p99 ms, opening"] = _quantiles(opening)
        figures["live p50 ms, quiet"], figures["live p99 ms, quiet"] = _live_ms(port, phase_s)
        with _news(database, running) as written:
            figures["live p50 ms, news"], figures["live p99 ms, news"] = _live_ms(port, phase_s)
        time.sleep(GRACE_S)
        half = count // 2
        others = [count // 2 // (JOBS - 1) + (each < half % (JOBS - 1)) for each in range(JOBS - 1)]
        expected = sum(lines * readers for lines, readers in zip(written, [count - half, *others], strict=True))
        began = time.monotonic()
        server.send_signal(signal.SIGTERM)
        server.wait()
        figures["stop s"] = time.monotonic() - began
        received, delays_s = ours.recv()
        followers.join()
        database.close()
    figures["events sent"] = received
    figures["events missing"] = expected - received
    figures["event delay p99 s"] = statistics.quantiles(delays_s, n=100)[98]
    return figures


@contextmanager
def _server(home: Path) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """Run the API on a free port."""
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listening:
        command = [sys.executable, "-m", "service.server", "--fd", str(listening.fileno())]
        environment = os.environ | {"ESPALIER_HOME": str(home), "DEVICE": "cpu", "API_KEYS": ""}
        with (home / "server.log").open("wb") as log:
            server = subprocess.Popen(command, env=environment, pass_fds=(listening.fileno(),), stderr=log)
        try:
            yield server, listening.getsockname()[1]
        finally:
            server.kill()
            server.wait()


def _running_jobs(url: str, database: Database, settings: Settings) -> list[Claim]:
    """Queue the jobs, and claim them as workers do."""
    with httpx.Client(base_url=url, timeout=120) as client:
        zipped = {"Content-Type": "application/zip"}
        dataset = client.post("/datasets", content=ARCHIVE.read_bytes(), headers=zipped).raise_for_status().json()
        for _ in range(JOBS):
            client.post("/train", json={"name": "followed", "dataset": dataset["id"]}).raise_for_status()
    unhurried = settings.model_copy(update={"lease_s": 3600.0})
    running = [claims.claim(database, settings=unhurried) for _ in range(JOBS)]
    return [claim for claim in running if claim is not None]


@contextmanager
def _news(database: Database, running: list[Claim]) -> Iterator[list[int]]:
    """Write lines to the first job all the time, and to the others in turn; yield how many each has had."""
    written, over = [0] * len(running), threading.Event()

    def write() -> None:
        turn = 0
        while not over.wait(NEWS_EVERY_S):
            turn += 1
            for number in (0, 1 + turn % (len(running) - 1)):
                claims.report(database, running[number], [("log", {"text": f"at {time.time()}"})])
                written[number] += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield written
    finally:
        over.set()
        writer.join()


def _live_ms(port: int, seconds: float) -> tuple[float, float]:
    return _quantiles(_probe(port, seconds))


def _quantiles(milliseconds: list[float]) -> tuple[float, float]:
    cuts = statistics.quantiles(milliseconds, n=100)
    return cuts[49], cuts[98]


def _probe(port: int, seconds: float) -> list[float]:
    """Ask `/health/live` over and over on one kept connection; return how long each answer took, in milliseconds."""
    took: list[float] = []
    deadline = time.monotonic() + seconds
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
        while time.monotonic() < deadline or len(took) < 2:
            began = time.perf_counter()
            client.get("/health/live").raise_for_status()
            took.append(1000 * (time.perf_counter() - began))
            time.sleep(PROBE_EVERY_S)
    return took


def _follow(port: int, job_ids: list[str], count: int, report: Connection) -> None:
    """Hold the streams until the server ends them; report how many opened, then what came."""
    received, delays_s = asyncio.run(_followed(port, job_ids, count, report))
    report.send((received, delays_s))


async def _followed(port: int, job_ids: list[str], count: int, report: Connection) -> tuple[int, list[float]]:
    half, places = count // 2, asyncio.Semaphore(OPENED_AT_ONCE)
    followed = [job_ids[0]] * (count - half) + [job_ids[1 + each % (len(job_ids) - 1)] for each in range(half)]
    opened = asyncio.Barrier(count + 1)
    delays_s: list[float] = []

    async def one(job_id: str) -> int:
        async with places:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET /jobs/{job_id}/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in head, head
        await opened.wait()
        lines = 0
        while line := await reader.readline():
            _, is_news, sent_at = line.partition(b'"text":"at ')
            if is_news:
                lines += 1
                delays_s.append(time.time() - float(sent_at.partition(b'"')[0]))
        return lines

    async with asyncio.TaskGroup() as streams:
        tasks = [streams.create_task(one(job_id)) for job_id in followed]
        await opened.wait()
        report.send(count)
    return sum(task.result() for task in tasks), delays_s


if __name__ == "__main__":
    main()
