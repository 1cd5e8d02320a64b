"""What fails after an answer, or blocks beside it, is never the business of another request."""

import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from models_store.datasets import store as datasets
from models_store.jobs import housekeeping, queue, schedule
from tests.service.live_service import Service

THREADS = 40
"""as many calls as the server has threads for plain functions"""


def local_address(answer: httpx.Response) -> object:
    return answer.extensions["network_stream"].get_extra_info("client_addr")


@pytest.mark.parametrize(
    "fault",
    [
        OperationalError("UPDATE job", {}, Exception("database is locked")),
        PoolTimeoutError("QueuePool limit of size 5 overflow 10 reached"),
        OSError(28, "No space left on device"),
        ZeroDivisionError(),
    ],
    ids=lambda fault: type(fault).__name__,
)
@pytest.mark.parametrize("where", ["note", "announcement"])
def test_a_wake_up_that_fails_leaves_the_answered_connection_usable(
    service: Service, monkeypatch: pytest.MonkeyPatch, fault: Exception, where: str
) -> None:
    def broken(*_given: object, **_named: object) -> bool:
        raise fault

    dataset = service.upload()["id"]
    monkeypatch.setattr(queue, "announce", lambda *_: True)
    if where == "note":
        monkeypatch.setattr(schedule, "note_wake_up", broken)
    else:
        monkeypatch.setattr(housekeeping, "wake", broken)

    with httpx.Client(base_url=service.url, timeout=30) as client:
        submitted = client.post("/train", json={"name": "leaves", "dataset": dataset})
        connection = local_address(submitted)
        found = client.get(submitted.headers["location"])
        connection_after = local_address(found)

    assert (submitted.status_code, found.status_code) == (202, 200)
    assert connection_after == connection


@pytest.mark.parametrize("path", ["/health/live", "/jobs/job_0123456789/nothing"])
def test_what_needs_no_thread_is_answered_while_all_threads_are_taken(
    service: Service, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    taken, free = threading.Semaphore(0), threading.Event()

    def hang(*_given: object, **_named: object) -> tuple[list[object], None]:
        taken.release()
        free.wait(60)
        return [], None

    monkeypatch.setattr(datasets, "listing", hang)
    with ThreadPoolExecutor(THREADS) as clients:
        waiting = [clients.submit(httpx.get, f"{service.url}/datasets", timeout=60) for _ in range(THREADS)]
        try:
            assert all(taken.acquire(timeout=30) for _ in range(THREADS))
            answer = httpx.get(f"{service.url}{path}", timeout=20)
        finally:
            free.set()

    assert answer.status_code == (200 if path == "/health/live" else 404)
    assert {call.result().status_code for call in waiting} == {200}
