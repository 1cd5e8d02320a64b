"""Predictions of many examples over HTTP: what is queued, and what is refused."""

import io
import zipfile
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from models_store.jobs.housekeeping import named_blobs
from tests import samples
from tests.service.live_service import Service, a_variant_card, problem_of
from tests.service.onnx_files import write_colour_net

PATH = "/models/colours/versions/1:predict_dataset"
ZIP = {"Content-Type": "application/zip"}


@pytest.fixture(scope="module", autouse=True)
def dataset(service: Service, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Publish a version, and return the id of a dataset."""
    path = write_colour_net(tmp_path_factory.mktemp("onnx") / "net.onnx")
    cards = {
        "any-size": {"kind": "any-size", "standalone": True},
        "gpu": {"kind": "gpu", "measured": {"cuda": {"accepted": True}}},
    }
    service.publish("colours", path, variant_cards={"int8": a_variant_card("int8")} | cards)
    return str(service.upload()["id"])


def an_archive(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("_", "."), content)
    return buffer.getvalue()


def test_a_job_is_queued_for_a_dataset(service: Service, dataset: str) -> None:
    answer = service.http.post(PATH, json={"dataset": dataset, "split": "val", "variant": "int8", "top_k": 2})

    job = answer.json()
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/jobs/{job['id']}"
    assert (job["kind"], job["state"], job["name"], job["dataset"]) == ("predict_dataset", "queued", "colours", dataset)
    assert job["parameters"] == {
        "model": "colours",
        "version": 1,
        "dataset": dataset,
        "split": "val",
        "variant": "int8",
        "provider": None,
        "format": "csv",
        "top_k": 2,
    }
    assert [step["name"] for step in job["steps"]] == ["predicting"]


def test_a_job_is_queued_for_the_files_of_an_archive_which_go_with_it(service: Service) -> None:
    archive = an_archive(a_png=samples.a_png(hue=0), notes_txt=b"nothing")

    job = service.http.post(PATH, params={"format": "jsonl"}, content=archive, headers=ZIP).json()

    stored = service.context.blobs
    files = {name for name in named_blobs(service.context.database) if stored.exists(name)}
    assert (job["dataset"], job["parameters"]["format"], len(job["warnings"])) == (None, "jsonl", 1)
    service.http.post(f"/jobs/{job['id']}:cancel").raise_for_status()
    service.http.delete(f"/jobs/{job['id']}").raise_for_status()
    assert len(files - named_blobs(service.context.database)) == 2


def test_a_canceled_job_of_an_archive_is_tried_again_with_the_same_files(service: Service) -> None:
    files = {"file": ("files.zip", an_archive(b_png=samples.a_png(hue=1)))}
    job = service.http.post(PATH, files=files).json()
    service.http.post(f"/jobs/{job['id']}:cancel").raise_for_status()
    before = named_blobs(service.context.database)

    again = service.http.post(f"/jobs/{job['id']}:retry").json()
    service.http.delete(f"/jobs/{job['id']}").raise_for_status()

    assert (again["dataset"], again["parameters"]) == (None, job["parameters"])
    assert named_blobs(service.context.database) == before


def test_the_same_key_makes_one_job(service: Service, dataset: str) -> None:
    headers = {"Idempotency-Key": uuid4().hex}
    archive = an_archive(a_png=samples.a_png(hue=0))

    first, again = (service.http.post(PATH, json={"dataset": dataset}, headers=headers) for _ in range(2))
    other = service.http.post(PATH, content=archive, headers=ZIP | headers)
    files = [service.http.post(PATH, content=archive, headers=ZIP | {"Idempotency-Key": "k"}) for _ in range(2)]

    assert first.json()["id"] == again.json()["id"]
    assert again.headers["idempotency-replayed"] == "true"
    problem_of(other, 422, "idempotency_key_reused")
    assert files[0].json()["id"] == files[1].json()["id"]


def test_a_dry_run_queues_nothing(service: Service, dataset: str) -> None:
    before = service.http.get("/jobs?limit=100").json()["items"]

    asked = service.http.post(f"{PATH}?dry_run=true", json={"dataset": dataset})
    archive = an_archive(a_png=samples.a_png(hue=0), notes_txt=b"nothing")
    of_archive = service.http.post(f"{PATH}?dry_run=true", content=archive, headers=ZIP)

    assert (asked.status_code, asked.json()["kind"], asked.json()["warnings"]) == (200, "predict_dataset", [])
    assert asked.json()["spec"]["dataset"] == dataset
    assert len(of_archive.json()["warnings"]) == 1
    assert service.http.get("/jobs?limit=100").json()["items"] == before


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"split": "validation"}, "/split"),
        ({"format": "xlsx"}, "/format"),
        ({"top_k": 0}, "/top_k"),
        ({"provider": "tpu"}, "/provider"),
        ({"dataset": None}, "/dataset"),
        ({"fromat": "csv"}, "/fromat"),
    ],
)
def test_a_body_at_fault_is_told_where(service: Service, dataset: str, change: dict[str, Any], pointer: str) -> None:
    problem = problem_of(service.http.post(PATH, json={"dataset": dataset} | change), 422, "invalid_body")

    assert pointer in [error["pointer"] for error in problem["errors"]]


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"dataset": "ds_none00000000"}, 404, "dataset_not_found"),
        ({"variant": "int4"}, 404, "model_not_found"),
        ({"variant": "any-size"}, 409, "variant_not_served_here"),
        ({"variant": "gpu", "provider": "cpu"}, 409, "variant_not_served_here"),
    ],
)
def test_what_is_not_there_is_refused_at_once(
    service: Service, dataset: str, change: dict[str, Any], status: int, code: str
) -> None:
    problem_of(service.http.post(PATH, json={"dataset": dataset} | change), status, code)


def test_a_variant_for_another_provider_is_left_to_a_worker_that_has_it(service: Service, dataset: str) -> None:
    assert service.http.post(PATH, json={"dataset": dataset, "variant": "gpu"}).status_code == 202


def test_query_parameters_are_for_archives_alone(service: Service, dataset: str) -> None:
    answer = service.http.post(f"{PATH}?format=jsonl", json={"dataset": dataset})

    assert answer.status_code == 422, answer.text


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (an_archive(notes_txt=b"nothing"), 422, "no_examples"),
        (b"no archive at all", 415, "not_an_archive"),
        (b"", 422, "no_archive"),
    ],
)
def test_an_archive_without_examples_is_refused(service: Service, content: bytes, status: int, code: str) -> None:
    problem_of(service.http.post(PATH, content=content, headers=ZIP), status, code)


@pytest.mark.parametrize("body", [{"json": {"dataset": "ds_none00000000"}}, {"content": b"PK", "headers": ZIP}])
def test_a_version_that_is_not_there_is_not_found(service: Service, body: dict[str, Any]) -> None:
    problem_of(service.http.post("/models/colours/versions/9:predict_dataset", **body), 404, "model_not_found")


def test_a_version_whose_own_dataset_is_gone_predicts_others(service: Service, tmp_path: Path) -> None:
    service.publish("moved", write_colour_net(tmp_path / "net.onnx", name="moved"))
    other = service.http.post("/datasets", content=_other_archive(), headers=ZIP).json()["id"]

    answer = service.http.post("/models/moved/versions/1:predict_dataset", json={"dataset": other})

    assert (answer.status_code, answer.json()["dataset"]) == (202, other)


def _other_archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(24):
            archive.writestr(f"{'ab'[number % 2]}/{number}.png", samples.a_png(hue=number % 2, seed=500 + number))
    return buffer.getvalue()


def test_a_job_without_predictions_says_so(service: Service, dataset: str) -> None:
    job = service.http.post(PATH, json={"dataset": dataset}).json()

    problem = problem_of(service.http.get(f"/jobs/{job['id']}/predictions"), 404, "predictions_not_there")
    problem_of(service.http.get("/jobs/job_none00000000/predictions"), 404, "job_not_found")

    assert "is a predict_dataset and queued" in problem["detail"]
