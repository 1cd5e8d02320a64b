"""While another program holds the database's write lock: writers are refused in time, everybody else is answered."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from models_store.storage.database import Database
from tests import samples
from tests.database_locks import write_lock
from tests.service.live_service import Service, an_archive, problem_of, running

WRITERS = 60
"""more than the server has threads, and more than there are connections"""


@pytest.fixture
def locked(database: Database, tmp_path: Path) -> Iterator[tuple[Service, str]]:
    """A service on either database whose write lock another program holds, and the id of a job."""
    url = database.engine.url.render_as_string(hide_password=False)
    with running(samples.quick_settings(tmp_path / "home", database_url=url, database_wait_s=3)) as live:
        spec = {"name": "leaves", "dataset": live.upload()["id"]}
        job_id = live.http.post("/train", json=spec).raise_for_status().json()["id"]
        with write_lock(url):
            yield live, job_id


def test_writers_that_wait_keep_no_reader_waiting(locked: tuple[Service, str]) -> None:
    service, job_id = locked
    dataset = service.http.get(f"/jobs/{job_id}").json()["spec"]["dataset"]
    first, *others = ["/jobs", f"/jobs/{job_id}", f"/jobs/{job_id}/logs", "/datasets", "/health/live", "/health/ready"]
    sent = threading.Barrier(WRITERS + 1)

    def write(number: int) -> httpx.Response:
        with httpx.Client(base_url=service.url, timeout=60) as client:
            client.get("/health/live")  # the connection is open
            sent.wait(60)
            if number % 3 == 0:
                return client.post(f"/jobs/{job_id}:cancel")
            if number % 3 == 1:
                return client.post("/train", json={"name": "more", "dataset": dataset})
            return client.delete(f"/datasets/{dataset}")

    with ThreadPoolExecutor(WRITERS) as threads:
        writing = [threads.submit(write, number) for number in range(WRITERS)]
        sent.wait(60)
        found = {service.http.get(first).status_code}
        still_waiting = sum(not call.done() for call in writing)
        found |= {service.http.get(path).status_code for path in others}
        refused = [call.result(timeout=60) for call in writing]

    assert found == {200}
    assert still_waiting > 0
    for answer in refused:
        problem_of(answer, 503, "database_unavailable")
        assert int(answer.headers["retry-after"]) > 0


def test_an_upload_that_can_not_be_written_is_refused_and_leaves_nothing(locked: tuple[Service, str]) -> None:
    service, _ = locked
    archive = an_archive(seed=77)

    answer = service.http.post("/datasets", content=archive, headers={"Content-Type": "application/zip"})

    problem_of(answer, 503, "database_unavailable")
    assert len(service.http.get("/datasets").json()["items"]) == 1


def test_a_stream_goes_on_while_nobody_can_write(locked: tuple[Service, str]) -> None:
    service, job_id = locked

    with service.http.stream("GET", f"/jobs/{job_id}/events") as answer:
        first = next(answer.iter_lines())

    assert (answer.status_code, first) == (200, "id: 1")
