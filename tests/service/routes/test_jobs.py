"""Jobs over HTTP: pages, cancel and retry, events that go on where a reader stopped."""

import json
import threading
from typing import Any

import httpx
import pytest

from models_store.jobs import claims
from models_store.jobs.claims import Claim
from tests.service.live_service import Service, problem_of

Event = tuple[int, str, dict[str, Any]]


@pytest.fixture(scope="module")
def dataset(service: Service) -> str:
    return str(service.upload()["id"])


@pytest.fixture
def job(service: Service, dataset: str) -> dict[str, Any]:
    answer = service.http.post("/train", json={"name": "flowers", "dataset": dataset})
    return dict(answer.raise_for_status().json())


def claimed(service: Service, job: dict[str, Any]) -> Claim:
    """Take this very job up, as a worker does; whatever waits before it is canceled."""
    here = service.context
    while (claim := claims.claim(here.database, settings=here.settings)) and claim.job.id != job["id"]:
        claims.confirm_cancel(here.database, claim)
    assert claim is not None
    return claim


def read_events(answer: httpx.Response) -> list[Event]:
    events = []
    for block in answer.read().decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            events.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return events


def test_jobs_come_in_pages_newest_first_and_by_state(service: Service, dataset: str) -> None:
    spec = {"name": "paged", "dataset": dataset}
    made = [service.http.post("/train", json=spec).json()["id"] for _ in range(3)]
    service.http.post(f"/jobs/{made[0]}:cancel").raise_for_status()

    first = service.http.get("/jobs?limit=2").json()
    second = service.http.get("/jobs", params={"limit": 1, "cursor": first["next"]}).json()
    canceled = service.http.get("/jobs?state=canceled&limit=100").json()["items"]

    assert [each["id"] for each in first["items"]] == made[:0:-1]
    assert [each["id"] for each in second["items"]] == made[:1]
    assert made[0] in [each["id"] for each in canceled]
    assert {each["state"] for each in canceled} == {"canceled"}


def test_previews_are_listed_only_when_they_are_asked_for(service: Service, dataset: str) -> None:
    trained = service.http.post("/train", json={"name": "listed", "dataset": dataset}).json()["id"]
    preview = service.http.post(f"/datasets/{dataset}:preview?wait_s=0", json={"augmentation": []}).json()["id"]

    def listed(**query: str) -> list[str]:
        return [each["id"] for each in service.http.get("/jobs", params=query).raise_for_status().json()["items"]]

    assert (listed()[0], preview in listed(), preview in listed(state="queued")) == (trained, False, False)
    assert (listed(kind="train")[0], preview in listed(kind="train")) == (trained, False)
    assert listed(kind="preview", state="queued")[0] == preview
    assert service.http.get(f"/jobs/{preview}").is_success


def test_a_waiting_job_is_canceled_at_once_and_twice_changes_nothing(service: Service, job: dict[str, Any]) -> None:
    first = service.http.post(f"/jobs/{job['id']}:cancel")
    again = service.http.post(f"/jobs/{job['id']}:cancel")

    assert (first.status_code, first.json()["state"], first.json()["cancel_requested"]) == (200, "canceled", True)
    assert again.json() == first.json()


def test_a_running_job_is_asked_to_stop(service: Service, job: dict[str, Any]) -> None:
    claim = claimed(service, job)

    answer = service.http.post(f"/jobs/{job['id']}:cancel").json()

    assert (answer["state"], answer["cancel_requested"], answer["attempts"]) == ("running", True, 1)
    assert claims.beat(service.context.database, claim, settings=service.context.settings).cancel


def test_a_failed_job_tells_its_problem_and_can_be_tried_again(service: Service, job: dict[str, Any]) -> None:
    problem = {"type": "urn:espalier:problem:diverged", "title": "x", "status": 422, "detail": "y", "code": "diverged"}
    claims.fail(service.context.database, claimed(service, job), problem)

    failed = service.http.get(f"/jobs/{job['id']}").json()
    retried = service.http.post(f"/jobs/{job['id']}:retry")

    assert (failed["state"], failed["problem"]["code"]) == ("failed", "diverged")
    assert (retried.status_code, retried.json()["state"], retried.json()["spec"]) == (202, "queued", job["spec"])
    assert retried.headers["location"] == f"/jobs/{retried.json()['id']}" != f"/jobs/{job['id']}"
    problem_of(service.http.post(f"/jobs/{job['id']}:cancel"), 409, "job_finished")


def test_a_job_that_has_not_ended_can_not_be_retried(service: Service, job: dict[str, Any]) -> None:
    problem_of(service.http.post(f"/jobs/{job['id']}:retry"), 409, "job_not_finished")


@pytest.mark.parametrize("path", ["job_0123456789", "job_0123456789/events", "job_0123456789/logs"])
def test_an_unknown_job_is_not_found(service: Service, path: str) -> None:
    problem_of(service.http.get(f"/jobs/{path}"), 404, "job_not_found")


@pytest.mark.parametrize(
    "path", ["/jobs/..%2f..", "/jobs/a%00b", "/jobs/job_UPPER", "/jobs/%F0%9F%8C%B3", "/jobs/x:cancel"]
)
def test_an_id_that_can_not_be_is_not_found(service: Service, path: str) -> None:
    problem_of(service.http.get(path), 404, "route_not_found")


def test_events_are_streamed_until_the_job_has_ended(service: Service, job: dict[str, Any]) -> None:
    here = service.context
    claim = claimed(service, job)
    seen_first = threading.Event()

    def work() -> None:
        assert seen_first.wait(20)
        claims.report(here.database, claim, [("phase", {"phase": "training"}), ("progress", {"fraction": 0.5})])
        claims.fail(here.database, claim, {"code": "diverged", "detail": "multi\nline"})

    worker = threading.Thread(target=work)
    worker.start()
    with service.http.stream("GET", f"/jobs/{job['id']}/events") as answer:
        seen_first.set()
        events = read_events(answer)
    worker.join()

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert [event[0] for event in events] == [1, 2, 3, 4, 5]
    assert [event[1] for event in events] == ["state", "state", "phase", "progress", "state"]
    assert events[-1][2]["problem"]["detail"] == "multi\nline"


def test_events_go_on_after_the_last_one_that_was_seen(service: Service, job: dict[str, Any]) -> None:
    service.http.post(f"/jobs/{job['id']}:cancel")
    url = f"/jobs/{job['id']}/events"

    whole = read_events(service.http.get(url))
    rest = read_events(service.http.get(url, headers={"Last-Event-ID": "1"}))
    nothing = service.http.get(url, headers={"Last-Event-ID": "2"})

    assert [event[0] for event in whole] == [1, 2]
    assert rest == whole[1:]
    assert (nothing.status_code, nothing.content) == (204, b"")


@pytest.mark.parametrize("number", ["x", "-1", "1.5", "9" * 30])
def test_a_last_event_id_that_is_no_number_is_refused(service: Service, job: dict[str, Any], number: str) -> None:
    answer = service.http.get(f"/jobs/{job['id']}/events", headers={"Last-Event-ID": number})

    problem_of(answer, 422, "invalid_request")


def test_a_reader_who_leaves_does_not_disturb_the_service(service: Service, job: dict[str, Any]) -> None:
    with service.http.stream("GET", f"/jobs/{job['id']}/events") as answer:
        next(answer.iter_lines())

    assert service.http.get("/health/live").status_code == 200


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "state=paused", "cursor=a%00b"])
def test_a_query_out_of_range_is_refused(service: Service, query: str) -> None:
    problem = problem_of(service.http.get(f"/jobs?{query}"), 422, "invalid_request")

    assert problem["errors"][0]["pointer"] == f"query:{query.split('=', maxsplit=1)[0]}"


@pytest.mark.parametrize(("query", "nearest"), [("limits=3", "'limit'"), ("status=failed", "'state'")])
def test_an_unknown_query_parameter_names_the_nearest(service: Service, query: str, nearest: str) -> None:
    assert nearest in problem_of(service.http.get(f"/jobs?{query}"), 422, "unknown_query_parameter")["detail"]


def test_a_query_parameter_given_twice_is_refused(service: Service) -> None:
    problem_of(service.http.get("/jobs?limit=1&limit=2"), 422, "unknown_query_parameter")
