"""A home that an earlier release left: it is migrated, read, served and worked on; on SQLite and on PostgreSQL."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from models_store.settings import Settings
from tests import samples
from tests.compatibility.recording import Recording
from tests.service.live_service import Service, running
from workers.process.claim_loop import work
from workers.process.persistence import StopFlag

PATIENCE_S = 600
BEFORE_ROOMS = Path(__file__).parent / "release_858dd3a.zip"
NOT_FOUND = 404
STREAM = "/jobs/{job_id}/events"


@pytest.fixture(scope="module")
def recording() -> Recording:
    return Recording.read(BEFORE_ROOMS)


@contextmanager
def a_home(request: pytest.FixtureRequest, recording: Recording, folder: Path) -> Iterator[Settings]:
    """Yield settings of a home that holds what the earlier release left, not migrated yet."""
    (folder / "blobs").mkdir()
    with ExitStack() as stack:
        changes = {}
        if request.param == "postgresql":
            store = stack.enter_context(request.getfixturevalue("postgresql").database())
            changes = {"database_url": store.engine.url.render_as_string(hide_password=False)}
        settings = samples.quick_settings(folder / "home", **changes)
        recording.restore(settings, scratch=folder / "blobs")
        yield settings


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def service(
    request: pytest.FixtureRequest, recording: Recording, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """The API of this release on that home, for tests that change nothing."""
    with a_home(request, recording, tmp_path_factory.mktemp("read")) as settings, running(settings) as live:
        yield live


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def worked(
    request: pytest.FixtureRequest, recording: Recording, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """The API on another such home, with a worker; on PostgreSQL without the queued jobs that train no net."""
    with a_home(request, recording, tmp_path_factory.mktemp("worked")) as settings, running(settings) as live:
        if request.param == "postgresql":
            for job_id in (waiting(recording, kind) for kind in ("search", "compress", "measure")):
                live.http.post(f"/jobs/{job_id}:cancel").raise_for_status()
        stop = StopFlag()

        def labour() -> None:
            while not stop.is_set:
                work(settings, stop=stop)
                time.sleep(0.05)

        thread = threading.Thread(target=labour)
        thread.start()
        yield live
        stop.set()
        thread.join()


def waiting(recording: Recording, kind: str) -> str:
    """Return the job of this kind that no worker had ended."""
    unfinished = {job["kind"]: job["id"] for job in recording.rows["job"] if job["state"] in {"queued", "waiting"}}
    return str(unfinished[kind])


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


LATER = ("/pictures/{name}", "/predictions", "/preview.json", "/preview.html")
"""what that release had no jobs for: predictions of datasets, and previews that are no pictures"""


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
        "alias": rows["alias"][0]["name"],
        "model": "leaves",
        "version": "1",
        "weights_id": rows["weights"][0]["id"],
    }
    assert picture.startswith("<!")

    for path, routes in document["paths"].items():
        if "get" not in routes or path == STREAM or path.endswith(LATER):
            continue
        job = searched if path.endswith("/trials") else pages["preview"] if "preview" in path else pages["report"]
        filled = re.sub(r"\{(\w+)\}", lambda match, job=job: (values | {"job_id": job})[match[1]], path)  # type: ignore[misc]

        assert service.http.get(filled).status_code == 200, filled

    with service.http.stream("GET", STREAM.format(job_id=made["id"])) as stream:
        assert "state" in next(stream.iter_text())


@pytest.mark.slow
@pytest.mark.timeout(PATIENCE_S)
def test_a_training_that_waited_starts_from_the_file_of_weights(worked: Service, recording: Recording) -> None:
    job = ended(worked, waiting(recording, "train"))

    assert (job["state"], job["problem"]) == ("succeeded", None)
    predicted = worked.http.post("/predict", json={"model": "queued", "inputs": [recording.image]})
    assert predicted.raise_for_status().json()["predictions"][0]["label"] in {"blue", "red"}


@pytest.mark.slow
@pytest.mark.timeout(PATIENCE_S)
@pytest.mark.parametrize("kind", ["compress", "measure", "search"])
def test_other_jobs_that_waited_are_done(worked: Service, recording: Recording, kind: str) -> None:
    job = ended(worked, waiting(recording, kind))

    is_done_here = worked.context.database.dialect == "sqlite"
    assert (job["state"], job["problem"]) == ("succeeded" if is_done_here else "canceled", None)


@pytest.mark.slow
@pytest.mark.timeout(PATIENCE_S)
def test_an_old_version_is_compressed(worked: Service) -> None:
    compression = {
        "prune": {"kind": "structured", "ratio": 0.5, "round_to": 4},
        "recover": {"epochs": 2},
        "quantize": [{"kind": "static_int8"}],
    }
    answer = worked.http.post("/models/leaves/versions/1:compress", json=compression).raise_for_status()

    job = ended(worked, answer.json()["id"])

    assert (job["state"], job["problem"]) == ("succeeded", None)
    version = worked.http.get(f"/models/leaves/versions/{job['result']['version']}").raise_for_status().json()
    assert {"fp32", "pruned", "pruned-int8"} <= {variant["name"] for variant in version["variants"]}


@pytest.mark.slow
@pytest.mark.timeout(PATIENCE_S)
def test_an_old_version_is_measured_again(worked: Service) -> None:
    answer = worked.http.post("/models/leaves/versions/1:measure").raise_for_status()

    job = ended(worked, answer.json()["id"])

    assert (job["state"], job["problem"]) == ("succeeded", None)
    assert {each["variant"] for each in job["result"]["measured"]} >= {"fp32", "int8", "pruned-int8"}
    assert not [each for each in job["result"]["measured"] if each["before"] is None]


@pytest.mark.slow
def test_what_was_left_can_be_deleted(worked: Service, recording: Recording) -> None:
    http = worked.http
    for job in http.get("/jobs", params={"limit": 100}).json()["items"]:
        if job["state"] in {"queued", "running", "waiting"}:  # where only this test is run
            http.post(f"/jobs/{job['id']}:cancel").raise_for_status()
            ended(worked, job["id"])
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
