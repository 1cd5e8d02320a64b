"""Many event streams at a time: read once for all, capped by owner, each at its own pace."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import delete, event

from models_store.jobs import claims
from models_store.jobs.claims import Claim
from models_store.storage import tables
from models_store.storage.database import Database
from service.cli.client import Client
from tests import samples
from tests.database_locks import no_connections
from tests.service.event_readers import Reader, reading
from tests.service.live_service import Service, an_archive, problem_of, running

PROBLEM = {"type": "urn:espalier:problem:diverged", "title": "x", "status": 422, "detail": "y", "code": "diverged"}
ADA, BOB = "key-of-ada-0123456789", "key-of-bob-0123456789"


def a_running_job(service: Service, *, key: str = "") -> Claim:
    """Queue a job and take it up, as a worker does."""
    here, headers = service.context, {"X-API-Key": key} if key else {}
    archive = {"content": an_archive(), "headers": headers | {"Content-Type": "application/zip"}}
    dataset = service.http.post("/datasets", **archive).raise_for_status().json()["id"]
    spec = {"name": "leaves", "dataset": dataset}
    job_id = service.http.post("/train", json=spec, headers=headers).raise_for_status().json()["id"]
    while (claim := claims.claim(here.database, settings=here.settings)) and claim.job.id != job_id:
        claims.confirm_cancel(here.database, claim)
    assert claim is not None
    return claim


def log_lines(service: Service, claim: Claim, count: int, *, text: str = "a line") -> None:
    claims.report(service.context.database, claim, [("log", {"text": text})] * count)


def end(service: Service, claim: Claim) -> None:
    claims.fail(service.context.database, claim, PROBLEM)


def eventually(is_so: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


class Statements:
    """What the service asks its database."""

    def __init__(self, database: Database) -> None:
        self._engine = database.engine
        self.seen: list[str] = []

    def __enter__(self) -> list[str]:
        event.listen(self._engine, "before_cursor_execute", self._note)
        return self.seen

    def __exit__(self, *_: object) -> None:
        event.remove(self._engine, "before_cursor_execute", self._note)

    def _note(self, _connection: object, _cursor: object, statement: str, *_: object) -> None:
        self.seen.append(statement)


def test_what_happens_is_read_once_however_many_follow(service: Service) -> None:
    claim = a_running_job(service)
    with reading(service.url, claim.job.id, count=40) as readers:
        for reader in readers:
            reader.until(2)
        with Statements(service.context.database) as statements:
            log_lines(service, claim, 1)
            for reader in readers:
                reader.until(3)

    assert len([statement for statement in statements if "FROM job_event" in statement]) == 1


def test_only_the_jobs_with_news_are_read_again(service: Service) -> None:
    quiet, busy = a_running_job(service), a_running_job(service)
    with reading(service.url, quiet.job.id, count=10) as idle, reading(service.url, busy.job.id) as clock:
        for reader in [*idle, *clock]:
            reader.until(2)
        with Statements(service.context.database) as statements:
            for number in range(3, 7):  # each line is written when the one before was seen: four rounds at least
                log_lines(service, busy, 1)
                clock[0].until(number)

    assert len([statement for statement in statements if "FROM job_event" in statement]) == 4


def test_each_stream_gets_every_event_once_and_in_order_wherever_it_begins(service: Service) -> None:
    claim = a_running_job(service)
    log_lines(service, claim, 450)  # more than two pages
    starts = [0, 1, 200, 400, 451, 452]
    with ThreadPoolExecutor(len(starts)) as threads:
        readers = [Reader(service.url, claim.job.id, seen=seen) for seen in starts]
        read = [threads.submit(reader.numbers) for reader in readers]
        for count in (1, 300, 7, 90):
            log_lines(service, claim, count)
            time.sleep(0.2)  # so that they come in several rounds; whatever the timing, nothing may be missing
        end(service, claim)
        found = [numbers.result(timeout=60) for numbers in read]
    for reader in readers:
        reader.close()

    assert found == [list(range(seen + 1, 852)) for seen in starts]


def test_a_reader_who_does_not_read_keeps_nobody_waiting(service: Service) -> None:
    claim = a_running_job(service)
    with reading(service.url, claim.job.id) as idle, reading(service.url, claim.job.id) as quick:
        for _ in range(20):
            log_lines(service, claim, 200, text="x" * 4000)  # 16 MB: more than any buffer on the way
        end(service, claim)

        numbers = quick[0].numbers()
        late = idle[0].numbers()

    assert numbers == late == list(range(1, 4004))


def test_a_number_from_the_future_waits_for_the_end(service: Service) -> None:
    claim = a_running_job(service)
    with reading(service.url, claim.job.id, seen=10**14) as readers:
        log_lines(service, claim, 3)
        end(service, claim)

        assert readers[0].numbers() == []


def test_the_stream_of_a_job_whose_row_is_deleted_ends(service: Service) -> None:
    claim = a_running_job(service)
    with reading(service.url, claim.job.id) as readers:
        readers[0].until(2)
        with service.context.database.write() as connection:
            for table, column in ((tables.job_event, "job_id"), (tables.attempt, "job_id"), (tables.job, "id")):
                connection.execute(delete(table).where(table.c[column] == claim.job.id))

        assert readers[0].numbers() == []


@pytest.fixture(scope="module")
def capped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    keys = f"ada:{ADA}, bob:{BOB}"
    home = tmp_path_factory.mktemp("capped") / "home"
    with running(samples.quick_settings(home, api_keys=keys, event_streams_per_owner=2)) as live:
        yield live


@pytest.fixture(scope="module")
def adas(capped: Service) -> Claim:
    return a_running_job(capped, key=ADA)


def test_one_stream_too_many_is_refused_and_closing_one_makes_room(capped: Service, adas: Claim) -> None:
    path = f"/jobs/{adas.job.id}/events"
    with reading(capped.url, adas.job.id, key=ADA, count=2) as readers:
        refused = capped.http.get(path, headers={"X-API-Key": ADA})
        others = capped.http.get(path, headers={"X-API-Key": BOB})
        readers[0].close()
        is_free = eventually(lambda: _opens(capped, adas.job.id))

    problem = problem_of(refused, 429, "too_many_streams")
    assert refused.headers["retry-after"] == "5"
    assert "EVENT_STREAMS_PER_OWNER" in problem["detail"]
    problem_of(others, 404, "job_not_found")
    assert is_free


def _opens(service: Service, job_id: str) -> bool:
    reader = Reader(service.url, job_id, key=ADA)
    reader.close()
    return reader.status == 200


@pytest.mark.parametrize(
    ("job_id", "seen", "status"),
    [("job_0123456789", "0", 404), ("", "x", 422), ("ended", "99", 204)],
    ids=["no such job", "no number", "nothing more"],
)
def test_an_answer_that_is_no_stream_takes_no_place(
    capped: Service, adas: Claim, job_id: str, seen: str, status: int
) -> None:
    if job_id == "ended":
        claim = a_running_job(capped, key=BOB)
        end(capped, claim)
        job_id = claim.job.id
    path = f"/jobs/{job_id or adas.job.id}/events"
    headers = {"X-API-Key": BOB, "Last-Event-ID": seen}

    statuses = {capped.http.get(path, headers=headers).status_code for _ in range(5)}

    assert statuses == {status}


def test_streams_outlive_an_outage_of_the_database_and_miss_nothing(postgresql: Service) -> None:
    claim = a_running_job(postgresql)
    url = postgresql.context.database.engine.url.render_as_string(hide_password=False)
    with reading(postgresql.url, claim.job.id, count=5) as readers:
        for reader in readers:
            reader.until(2)
        with no_connections(url):
            refused = postgresql.http.get(f"/jobs/{claim.job.id}/events")
            listed = postgresql.http.get("/jobs")
            posted = postgresql.http.post(f"/jobs/{claim.job.id}:cancel")
            alive = postgresql.http.get("/health/live")
            ready = postgresql.http.get("/health/ready")
        assert eventually(lambda: postgresql.http.get("/health/ready").status_code == 200)
        log_lines(postgresql, claim, 2)
        end(postgresql, claim)
        numbers = [reader.numbers() for reader in readers]

    for answer in (refused, listed, posted):
        problem_of(answer, 503, "database_unavailable")
        assert int(answer.headers["retry-after"]) > 0
    assert (alive.status_code, ready.status_code, ready.json()["database"]) == (200, 503, "unavailable")
    assert numbers == [[3, 4, 5]] * 5


@pytest.fixture
def postgresql(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    database = request.getfixturevalue("postgresql_database")
    url = database.engine.url.render_as_string(hide_password=False)
    with running(samples.quick_settings(tmp_path / "home", database_url=url, database_wait_s=2)) as live:
        yield live


def test_a_server_ends_on_sigterm_though_many_follow_and_one_does_not_read(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "service.server", "--port", str(port)],
        env=os.environ | {"ESPALIER_HOME": str(tmp_path), "DEVICE": "cpu"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        job_id = _a_job(url)
        with reading(url, job_id, count=150) as readers:
            for reader in readers[1:]:
                reader.until(1)
            server.send_signal(signal.SIGTERM)
            status = server.wait(timeout=30)
            rest: list[Any] = [reader.numbers() for reader in readers[1:]]
    finally:
        server.kill()
        server.wait()

    assert status in {0, -signal.SIGTERM}
    assert rest == [[]] * 149
    assert all(reader.is_whole for reader in readers[1:])  # their clients come again without complaint


def _a_job(url: str) -> str:
    with httpx.Client(base_url=url, transport=httpx.HTTPTransport(retries=20), timeout=60) as client:
        client.get("/health/live").raise_for_status()
        uploaded = client.post("/datasets", content=an_archive(), headers={"Content-Type": "application/zip"})
        job = client.post("/train", json={"name": "flowers", "dataset": uploaded.json()["id"]})
        return str(job.raise_for_status().json()["id"])


def test_the_command_line_waits_for_a_place_and_follows_to_the_end(capped: Service) -> None:
    claim = a_running_job(capped, key=BOB)
    followed: list[int] = []

    def follow() -> None:
        client = Client(capped.url, api_key=BOB)
        followed.extend(event.seq for event in client.events(claim.job.id, meanwhile=tried.release))

    tried = threading.Semaphore(0)
    with reading(capped.url, claim.job.id, key=BOB, count=2):
        thread = threading.Thread(target=follow)
        thread.start()
        assert all(tried.acquire(timeout=30) for _ in range(2))  # it was refused once
        assert followed == []
    end(capped, claim)
    thread.join(60)

    assert followed == [1, 2, 3]
