"""DELETE of jobs, versions and models over HTTP: what is refused and why, and what goes on meanwhile."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from models_store.jobs import submissions
from models_store.storage import tables
from tests import samples
from tests.service.live_service import OWNER, Service, a_plain_image, problem_of, running
from tests.service.onnx_files import write_colour_net


@pytest.fixture
def publish(service: Service, tmp_path: Path) -> Callable[[str], int]:
    return lambda name: service.publish(name, write_colour_net(tmp_path / "net.onnx", name=name))


def predict(service: Service, model: str) -> httpx.Response:
    image = a_plain_image((250, 0, 0))
    return service.http.post("/predict", params={"model": model}, content=image, headers={"Content-Type": "image/png"})


def job_of(service: Service, model: str, number: int = 1) -> str:
    return str(service.http.get(f"/models/{model}/versions/{number}").json()["job"])


def a_job(service: Service, *, state: str, **changes: Any) -> str:
    here = service.context
    spec = samples.a_train_spec(dataset=service.upload()["id"], **changes)
    job, _ = submissions.submit(here.database, owner=OWNER, spec=spec, settings=here.settings)
    with here.database.write() as connection:
        connection.execute(update(tables.job).where(tables.job.c.id == job.id).values(state=state))
    return job.id


@pytest.mark.parametrize("state", ["succeeded", "failed", "canceled"])
def test_a_job_that_has_ended_is_deleted_with_all_that_is_told_of_it(service: Service, state: str) -> None:
    job = a_job(service, state=state)

    assert service.http.delete(f"/jobs/{job}").status_code == 204

    for path in ("", "/events", "/logs", "/report", "/report.html", "/preview.png", "/trials"):
        problem_of(service.http.get(f"/jobs/{job}{path}"), 404, "job_not_found")
    for verb in ("cancel", "retry"):
        problem_of(service.http.post(f"/jobs/{job}:{verb}"), 404, "job_not_found")
    problem_of(service.http.delete(f"/jobs/{job}"), 404, "job_not_found")
    assert job not in service.http.get("/jobs", params={"limit": 100}).text


def test_a_job_that_runs_is_not_deleted_and_the_answer_says_what_to_do(service: Service) -> None:
    job = a_job(service, state="running")

    problem = problem_of(service.http.delete(f"/jobs/{job}"), 409, "job_not_finished")

    assert f"POST /jobs/{job}:cancel" in problem["detail"]


def test_the_version_of_a_deleted_job_is_served_and_taken_up(service: Service, publish: Callable[[str], int]) -> None:
    publish("kept")
    job = job_of(service, "kept")

    assert service.http.delete(f"/jobs/{job}").status_code == 204

    assert predict(service, "kept").status_code == 200
    measured = service.http.post("/models/kept/versions/1:measure")
    assert (measured.status_code, measured.json()["kind"]) == (202, "measure")


def test_a_repeated_request_whose_job_was_deleted_is_gone(service: Service, publish: Callable[[str], int]) -> None:
    publish("repeated")
    spec = {"name": "repeated", "dataset": service.upload()["id"]}
    calls: list[tuple[str, dict[str, Any]]] = [
        ("/train", {"json": spec}),
        ("/models/repeated/versions/1:measure", {}),
    ]
    for position, (path, body) in enumerate(calls):
        headers = {"Idempotency-Key": f"deleted-{position}"}
        job = service.http.post(path, headers=headers, **body).json()["id"]
        service.http.post(f"/jobs/{job}:cancel")
        service.http.delete(f"/jobs/{job}")

        problem = problem_of(service.http.post(path, headers=headers, **body), 410, "job_deleted")

        assert job in problem["detail"]
        assert "use a new key" in problem["detail"]


def test_a_version_is_deleted_and_no_longer_answers(service: Service, publish: Callable[[str], int]) -> None:
    publish("going")
    publish("going")
    assert predict(service, "going:1").status_code == 200

    assert service.http.delete("/models/going/versions/1").status_code == 204

    problem_of(predict(service, "going:1"), 404, "model_not_found")
    problem_of(service.http.get("/models/going/versions/1"), 404, "model_not_found")
    problem_of(service.http.get("/models/going/versions/1/variants/fp32/download"), 404, "model_not_found")
    problem_of(service.http.delete("/models/going/versions/1"), 404, "model_not_found")
    assert predict(service, "going").json()["version"] == 2
    assert [each["version"] for each in service.http.get("/models/going").json()["versions"]] == [2]
    assert service.http.get(f"/jobs/{job_of(service, 'going', 2)}").status_code == 200


def test_a_version_that_an_alias_points_to_is_kept_until_the_alias_moves(
    service: Service, publish: Callable[[str], int]
) -> None:
    publish("named")
    publish("named")
    service.http.put("/models/named/aliases/live", json={"version": 1}).raise_for_status()

    problem = problem_of(service.http.delete("/models/named/versions/1"), 409, "version_in_use")
    service.http.put("/models/named/aliases/live", json={"version": 2}).raise_for_status()

    assert "'live'" in problem["detail"]
    assert service.http.delete("/models/named/versions/1").status_code == 204
    problem_of(service.http.put("/models/named/aliases/live", json={"version": 1}), 404, "model_not_found")


def test_a_model_is_deleted_with_its_aliases(service: Service, publish: Callable[[str], int]) -> None:
    publish("whole")
    service.http.put("/models/whole/aliases/default", json={"version": 1}).raise_for_status()

    assert service.http.delete("/models/whole").status_code == 204

    for path in ("/models/whole", "/models/whole/versions/1"):
        problem_of(service.http.get(path), 404, "model_not_found")
    problem_of(predict(service, "whole"), 404, "model_not_found")
    problem_of(service.http.delete("/models/whole"), 404, "model_not_found")
    assert publish("whole") == 2


def test_a_version_that_a_job_measures_is_kept(service: Service, publish: Callable[[str], int]) -> None:
    publish("measured")
    job = service.http.post("/models/measured/versions/1:measure").json()["id"]

    of_version = problem_of(service.http.delete("/models/measured/versions/1"), 409, "version_in_use")
    of_model = problem_of(service.http.delete("/models/measured"), 409, "model_in_use")
    service.http.post(f"/jobs/{job}:cancel")

    assert job in of_version["detail"]
    assert job in of_model["detail"]
    assert service.http.delete("/models/measured").status_code == 204


def test_a_spec_that_builds_on_a_deleted_version_is_refused_with_its_place(
    service: Service, publish: Callable[[str], int]
) -> None:
    publish("source")
    service.http.delete("/models/source/versions/1")
    spec = {"name": "x", "dataset": service.upload()["id"], "backbone": {"kind": "small_cnn", "weights": "source:1"}}

    problem = problem_of(service.http.post("/train", json=spec), 422, "source_not_found")

    assert problem["errors"][0]["pointer"] == "/backbone/weights"


def test_predictions_that_are_under_way_are_answered(service: Service, publish: Callable[[str], int]) -> None:
    publish("busy")
    predict(service, "busy").raise_for_status()
    statuses: list[int] = []
    deleted = threading.Event()

    def ask() -> None:
        while not deleted.is_set() or not statuses:
            statuses.append(predict(service, "busy").status_code)

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    while len(statuses) < 20 and any(asker.is_alive() for asker in askers):
        time.sleep(0.01)
    assert service.http.delete("/models/busy").status_code == 204
    deleted.set()
    for asker in askers:
        asker.join(30)

    assert set(statuses) <= {200, 404}
    problem_of(predict(service, "busy"), 404, "model_not_found")


def test_another_process_of_the_service_lets_go_of_a_deleted_model(service: Service, tmp_path: Path) -> None:
    service.publish("shared", write_colour_net(tmp_path / "net.onnx", name="shared-net"))
    settings = service.context.settings
    with running(settings) as other:
        predict(other, "shared").raise_for_status()
        assert len(other.context.sessions.loaded) == 1

        assert service.http.delete("/models/shared").status_code == 204

        deadline = time.monotonic() + 30
        while other.context.sessions.loaded and time.monotonic() < deadline:
            time.sleep(0.05)
        assert other.context.sessions.loaded == []
        problem_of(predict(other, "shared"), 404, "model_not_found")


def test_a_dataset_with_a_job_that_waits_is_kept(service: Service) -> None:
    job = a_job(service, state="queued")
    dataset = service.http.get(f"/jobs/{job}").json()["dataset"]

    problem = problem_of(service.http.delete(f"/datasets/{dataset}"), 409, "dataset_in_use")

    assert job in problem["detail"]
