"""A job's log over HTTP: pages, filters, plain text, JSON lines, and lines as they come."""

import json
import threading
from typing import Any

import httpx
import pytest

from models_store.jobs import claims
from models_store.jobs.claims import Claim
from tests.service.live_service import Service, problem_of

PROBLEM = {"type": "urn:espalier:problem:diverged", "title": "x", "status": 422, "detail": "y", "code": "diverged"}


@pytest.fixture(scope="module")
def dataset(service: Service) -> str:
    return str(service.upload()["id"])


@pytest.fixture
def job(service: Service, dataset: str) -> str:
    answer = service.http.post("/train", json={"name": "flowers", "dataset": dataset})
    return str(answer.raise_for_status().json()["id"])


def claimed(service: Service, job: str) -> Claim:
    """Take this very job up, as a worker does; whatever waits before it is canceled."""
    here = service.context
    while (claim := claims.claim(here.database, settings=here.settings)) and claim.job.id != job:
        claims.confirm_cancel(here.database, claim)
    assert claim is not None
    return claim


def write(service: Service, claim: Claim, *texts: str, level: str = "info", stage: str | None = None) -> None:
    lines = [{"text": text, "level": level, "stage": stage, "attempt": claim.attempt} for text in texts]
    claims.report(service.context.database, claim, [("log", line) for line in lines])


def crash(service: Service, claim: Claim) -> None:
    settings = service.context.settings.model_copy(update={"backoff_s": 0.001})
    claims.crash(service.context.database, claim, settings=settings, reason="it was hit")


def messages(answer: httpx.Response) -> list[str]:
    return [line["message"] for line in answer.raise_for_status().json()["items"]]


def streamed(answer: httpx.Response) -> list[tuple[int, str, dict[str, Any]]]:
    found = []
    for block in answer.text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            found.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return found


def test_a_log_goes_through_all_attempts_and_says_how_each_ended(service: Service, job: str) -> None:
    first = claimed(service, job)
    write(service, first, "epoch 1 of 5: train_loss 0.4", stage="training")
    crash(service, first)
    second = claimed(service, job)
    write(service, second, "int8 is left out", level="warning", stage="verifying")
    claims.fail(service.context.database, second, PROBLEM)

    lines = service.http.get(f"/jobs/{job}/logs").raise_for_status().json()["items"]

    assert [(line["attempt"], line["level"], line["stage"], line["message"]) for line in lines] == [
        (None, "info", None, "queued"),
        (1, "info", None, "attempt 1 begins"),
        (1, "info", "training", "epoch 1 of 5: train_loss 0.4"),
        (1, "warning", None, "attempt 1 ended: it was hit; it will be tried again in 0.001 s"),
        (2, "info", None, "attempt 2 begins"),
        (2, "warning", "verifying", "int8 is left out"),
        (2, "error", None, "failed: y"),
    ]
    assert [line["seq"] for line in lines] == sorted({line["seq"] for line in lines})
    assert all(line["at"].endswith("Z") for line in lines)


def test_pages_hold_every_line_once_and_the_last_has_no_next(service: Service, job: str) -> None:
    claim = claimed(service, job)
    write(service, claim, *(f"line {number}" for number in range(7)))
    found, cursor, pages = [], None, 0

    while pages < 20:
        page = service.http.get(f"/jobs/{job}/logs", params={"limit": 3} | ({"cursor": cursor} if cursor else {}))
        found += messages(page)
        cursor, pages = page.json()["next"], pages + 1
        if cursor is None:
            break

    assert found == ["queued", "attempt 1 begins", *(f"line {number}" for number in range(7))]
    assert pages == 3


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"level": "warning"}, ["careful", "attempt 1 ended: it was hit; it will be tried again in 0.001 s", "broken"]),
        ({"level": "error"}, ["broken"]),
        ({"attempt": 2}, ["attempt 2 begins", "broken", "fine"]),
        ({"attempt": 2, "level": "error"}, ["broken"]),
        ({"attempt": 2, "limit": 1, "cursor": "5"}, ["attempt 2 begins"]),
        ({"attempt": 3}, []),
    ],
)
def test_lines_are_filtered_by_attempt_and_level(
    service: Service, job: str, query: dict[str, Any], expected: list[str]
) -> None:
    first = claimed(service, job)
    write(service, first, "careful", level="warning")
    write(service, first, "going on")
    crash(service, first)
    second = claimed(service, job)
    write(service, second, "broken", level="error")
    write(service, second, "fine")

    assert messages(service.http.get(f"/jobs/{job}/logs", params=query)) == expected


@pytest.mark.parametrize("accept", ["text/plain", "text/plain;q=0.9, application/json;q=0.1", "TEXT/*"])
def test_plain_text_has_all_lines_each_with_its_time(service: Service, job: str, accept: str) -> None:
    claim = claimed(service, job)
    write(service, claim, "bf16 is slower here", stage="training")
    write(service, claim, "no int8", level="warning")
    write(service, claim, *["again"] * 1200)

    answer = service.http.get(f"/jobs/{job}/logs", headers={"Accept": accept})

    assert answer.headers["content-type"].startswith("text/plain")
    lines = [line.split("Z ", 1)[1] for line in answer.text.splitlines()]
    assert lines[2:4] == ["[training] bf16 is slower here", "warning: no int8"]
    assert lines[4:] == ["again"] * 1200


def test_json_lines_are_one_document_a_line(service: Service, job: str) -> None:
    write(service, claimed(service, job), "größer\tals")

    answer = service.http.get(f"/jobs/{job}/logs", headers={"Accept": "application/x-ndjson"}, params={"limit": 3})

    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["message"] for line in lines] == ["queued", "attempt 1 begins", "größer\tals"]
    assert lines[2].keys() == {"seq", "at", "attempt", "level", "stage", "message"}


def test_lines_are_streamed_until_the_job_has_ended(service: Service, job: str) -> None:
    claim = claimed(service, job)
    reading = threading.Event()

    def work() -> None:
        assert reading.wait(20)
        claims.report(service.context.database, claim, [("progress", {"fraction": 0.5})] * 3)
        write(service, claim, "epoch 1", "epoch 2", stage="training")
        claims.fail(service.context.database, claim, PROBLEM)

    worker = threading.Thread(target=work)
    worker.start()
    with service.http.stream("GET", f"/jobs/{job}/logs", params={"follow": "true"}) as answer:
        reading.set()
        answer.read()
    worker.join()

    events = streamed(answer)
    lines = [data["message"] for _, kind, data in events if kind == "log"]
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert lines == ["queued", "attempt 1 begins", "epoch 1", "epoch 2", "failed: y"]
    assert {kind for _, kind, _ in events} == {"log", "state"}
    assert events[-1][1:] == ("state", {"event": "state", "state": "failed", "problem": PROBLEM})


def test_a_stream_of_lines_goes_on_after_the_last_one_that_was_seen(service: Service, job: str) -> None:
    claim = claimed(service, job)
    write(service, claim, "one", "two", "three")
    claims.fail(service.context.database, claim, PROBLEM)
    path, query = f"/jobs/{job}/logs", {"follow": "true"}

    whole = streamed(service.http.get(path, params=query))
    two = next(seq for seq, _, data in whole if data.get("message") == "two")
    rest = streamed(service.http.get(path, params=query, headers={"Last-Event-ID": str(two)}))
    nothing = service.http.get(path, params=query, headers={"Last-Event-ID": str(whole[-1][0])})

    assert [data.get("message") for _, kind, data in rest if kind == "log"] == ["three", "failed: y"]
    assert rest[0][2]["attempt"] == 1
    assert (nothing.status_code, nothing.content) == (204, b"")


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=1001", "cursor=x", "attempt=0", "level=loud", "follow=maybe", "follow=true&limit=5"],
)
def test_a_query_out_of_range_is_refused(service: Service, job: str, query: str) -> None:
    problem_of(service.http.get(f"/jobs/{job}/logs?{query}"), 422, "invalid_request")


def test_a_log_is_its_owners_alone(service: Service) -> None:
    problem_of(service.http.get("/jobs/job_0123456789/logs?follow=true"), 404, "job_not_found")
