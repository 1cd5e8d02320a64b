"""A home that an earlier release left: it is migrated, read, served and worked on; on SQLite and on PostgreSQL."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from models_store.settings import Settings
from tests import samples
from tests.compatibility.recording import Recording
from tests.service.live_service import Service, running
from workers.process.claim_loop import work
from workers.process.persistence import StopFlag

PATIENCE_S = 400
BEFORE_ROOMS = Path(__file__).parent / "release_858dd3a.zip"
NOT_FOUND = 404
STREAM = "/jobs/{job_id}/events"


@pytest.fixture(scope="module")
def recording() -> Recording:
    return Recording.read(BEFORE_ROOMS)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def settings(
    request: pytest.FixtureRequest, recording: Recording, tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    """Settings of a home that holds what the earlier release left, not migrated yet."""
    folder = tmp_path_factory.mktemp("earlier")
    changes = {}
    if request.param == "postgresql":
        url, name = request.getfixturevalue("postgresql_url"), f"test_{uuid4().hex}"
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        changes = {"database_url": url.replace("/postgres?", f"/{name}?")}
    settings = samples.quick_settings(folder / "home", **changes)
    (folder / "blobs").mkdir()
    recording.restore(settings, scratch=folder / "blobs")
    return settings


@pytest.fixture(scope="module")
def service(settings: Settings) -> Iterator[Service]:
    """The API of this release on that home, without a worker."""
    with running(settings) as live:
        yield live


@contextmanager
def working(settings: Settings) -> Iterator[None]:
    """Do what is queued, in a thread."""
    stop = StopFlag()

    def labour() -> None:
        while not stop.is_set:
            work(settings, stop=stop)
            time.sleep(0.05)

    thread = threading.Thread(target=labour)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def ended(service: Service, job_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE_S
    job = service.http.get(f"/jobs/{job_id}").raise_for_status().json()
    while job["state"] not in {"succeeded", "failed", "canceled"} and time.monotonic() < deadline:
        time.sleep(0.2)
        job = service.http.get(f"/jobs/{job_id}").raise_for_status().json()
    return dict(job)


def changes(before: Any, after: Any, where: str = "") -> Iterator[str]:
    """Yield the places in which an answer lacks what was answered before; it may say more."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name, value in before.items():
            yield from changes(value, after.get(name, "nothing"), f"{where}/{name}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for position, value in enumerate(before):
            yield from changes(value, after[position], f"{where}/{position}")
    elif before != after:
        yield f"{where}: {after!r} instead of {before!r}"


def test_every_answer_is_what_it_was(service: Service, recording: Recording) -> None:
    found = []
    for path, (status, body) in recording.answers.items():
        answer = service.http.get(path)
        assert answer.status_code == status, (path, answer.text)
        if status < NOT_FOUND:
            found += [f"{path} {change}" for change in changes(body, answer.json())]
        else:
            assert answer.json()["code"] == body["code"]

    assert found == []


def test_every_file_predicts_what_it_did(service: Service, recording: Recording) -> None:
    for reference, (status, body) in recording.predictions.items():
        answer = service.http.post("/predict", json={"model": reference, "inputs": [recording.image]})

        assert answer.status_code == status, (reference, answer.text)
        for before, after in zip(body.get("predictions", []), answer.json().get("predictions", []), strict=True):
            assert after.keys() == before.keys()
            assert after.get("label") == before.get("label")
            assert after.get("probabilities") == pytest.approx(before.get("probabilities"), abs=1e-5)
            assert after.get("value") == pytest.approx(before.get("value"), abs=1e-5)


def test_every_route_that_reads_answers(service: Service, recording: Recording) -> None:
    document = service.http.get("/openapi.json").json()
    rows = recording.rows
    dataset = rows["dataset"][0]["id"]
    image = service.http.get(f"/datasets/{dataset}/images").json()["items"][0]["id"]
    made = next(job for job in rows["job"] if job["kind"] == "train" and job["files"])
    pages = {"report": made["id"], "preview": next(job["id"] for job in rows["job"] if job["kind"] == "preview")}
    searched = next(job["id"] for job in rows["job"] if job["kind"] == "search")
    picture = service.http.get(f"/jobs/{made['id']}/report.html").text
    values: dict[str, str] = {
        "dataset_id": dataset,
        "image_id": image,
        "name": "leaves",
        "number": "1",
        "variant": "int8",
        "weights_id": rows["weights"][0]["id"],
    }
    assert picture.startswith("<!")

    for path, routes in document["paths"].items():
        if "get" not in routes or path == STREAM or path.endswith("/pictures/{name}"):
            continue
        job = searched if path.endswith("/trials") else pages["preview"] if "preview" in path else pages["report"]
        filled = re.sub(r"\{(\w+)\}", lambda match, job=job: (values | {"job_id": job})[match[1]], path)  # type: ignore[misc]

        assert service.http.get(filled).status_code == 200, filled

    with service.http.stream("GET", STREAM.format(job_id=made["id"])) as stream:
        assert "state" in next(stream.iter_text())


@pytest.mark.slow
def test_an_old_version_is_compressed_and_measured_again_and_what_waited_is_done(
    service: Service, settings: Settings, recording: Recording
) -> None:
    http = service.http
    waiting = {job["kind"]: job["id"] for job in recording.rows["job"] if job["state"] in {"queued", "waiting"}}
    on_postgresql = settings.database_url.startswith("postgresql")
    if on_postgresql:  # what a family does is the same there
        http.post(f"/jobs/{waiting['search']}:cancel").raise_for_status()
    answer = http.post(
        "/models/leaves/versions/1:compress",
        json={"prune": {"kind": "structured", "ratio": 0.5}, "quantize": [{"kind": "static_int8"}]},
    )
    measuring = http.post("/models/leaves/versions/2:measure")

    with working(settings):
        compressed = ended(service, answer.raise_for_status().json()["id"])
        measured = ended(service, measuring.raise_for_status().json()["id"])
        others = {kind: ended(service, job_id) for kind, job_id in waiting.items() if kind != "trial"}

    assert (compressed["state"], compressed["problem"]) == ("succeeded", None)
    assert (measured["state"], measured["problem"]) == ("succeeded", None)
    assert {each["before"] is None for each in measured["result"]["measured"]} == {False}
    expected = dict.fromkeys(others, "succeeded") | ({"search": "canceled"} if on_postgresql else {})
    assert {kind: job["state"] for kind, job in others.items()} == expected
    version = http.get(f"/models/leaves/versions/{compressed['result']['version']}").raise_for_status().json()
    assert {"fp32", "pruned", "pruned-int8"} <= {variant["name"] for variant in version["variants"]}
    predicted = http.post("/predict", json={"model": "queued", "inputs": [recording.image]})
    assert predicted.raise_for_status().json()["predictions"][0]["label"] in {"blue", "red"}


@pytest.mark.slow
def test_what_was_left_can_be_deleted(service: Service, recording: Recording) -> None:
    http = service.http
    http.delete("/models/leaves/aliases/best").raise_for_status()
    for model in http.get("/models").json()["items"]:
        http.delete(f"/models/{model['name']}").raise_for_status()
    jobs = http.get("/jobs", params={"limit": 100}).json()["items"]
    for job in [*jobs, *http.get("/jobs", params={"kind": "preview"}).json()["items"]]:
        http.delete(f"/jobs/{job['id']}").raise_for_status()
    http.delete(f"/weights/{recording.rows['weights'][0]['id']}").raise_for_status()
    for dataset in recording.rows["dataset"]:
        http.delete(f"/datasets/{dataset['id']}").raise_for_status()

    left: list[Callable[[], Any]] = [http.get(path).json for path in ("/models", "/jobs", "/weights", "/datasets")]
    assert [answer()["items"] for answer in left] == [[], [], [], []]
