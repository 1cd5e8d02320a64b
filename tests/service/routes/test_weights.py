import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from safetensors.numpy import save

from tests import samples
from tests.samples import WEIGHTS
from tests.service.live_service import Service, problem_of, running

RAW = "application/octet-stream"


def upload(service: Service, content: bytes = WEIGHTS, *, kind: str = "application/octet-stream") -> httpx.Response:
    return service.http.post("/weights?name=mine", content=content, headers={"Content-Type": kind})


def train(service: Service, weights: str, **spec: Any) -> httpx.Response:
    dataset = service.upload()["id"]
    backbone = {"kind": "small_cnn", "weights": weights}
    return service.http.post("/train", json={"name": "leaves", "dataset": dataset, "backbone": backbone, **spec})


def test_a_file_is_described_found_listed_and_deleted(service: Service) -> None:
    created = upload(service)

    file = created.json()
    assert created.status_code == 201
    assert created.headers["location"] == f"/weights/{file['id']}"
    assert (file["name"], file["tensors"], file["parameters"], file["dtypes"]) == ("mine", 1, 6, {"F32": 1})
    assert file["size_bytes"] == len(WEIGHTS)
    assert service.http.get(f"/weights/{file['id']}").json() == file
    assert file in service.http.get("/weights").json()["items"]
    assert service.http.delete(f"/weights/{file['id']}").status_code == 204
    problem_of(service.http.get(f"/weights/{file['id']}"), 404, "weights_not_found")


def test_the_same_bytes_again_answer_the_same_file(service: Service) -> None:
    first = upload(service)

    again = upload(service)

    assert (again.status_code, again.json()) == (200, first.json())


@pytest.mark.parametrize("path", ["/weights", "/datasets"])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a%00b", "U+0000"),
        ("a%0Ab", "U+000A"),
        ("a%C2%85b", "U+0085"),
        ("a%E2%80%AEb", "U+202E"),
        ("a%E2%81%A6b", "U+2066"),
        ("a%E2%80%A8b", "U+2028"),
        ("a%EF%BF%BEb", "U+FFFE"),
        ("a%ED%A0%80b", "not UTF-8"),
        ("a%FFb", "not UTF-8"),
        ("%E3%80%80", "can be seen"),
        ("", ""),
        ("a" * 201, ""),
    ],
)
def test_a_name_that_deceives_is_refused(service: Service, path: str, name: str, said: str) -> None:
    answer = service.http.post(f"{path}?name={name}", content=WEIGHTS, headers={"Content-Type": RAW})

    problem = problem_of(answer, 422, "invalid_request")
    assert [error["pointer"] for error in problem["errors"]] == ["query:name"]
    assert said in problem["detail"]


@pytest.mark.parametrize("name", ["نمی\u200cکنم", "東京\u3000駅", "👩\u200d🌾", "dix\u00a0000"])
def test_a_name_of_any_language_is_kept(service: Service, name: str) -> None:
    content = save({name: np.ones(1, np.float32)})

    answer = service.http.post("/weights", params={"name": name}, content=content, headers={"Content-Type": RAW})

    assert (answer.status_code, answer.json()["name"]) == (201, name)


@pytest.mark.parametrize("content", [b"", b"not at all", WEIGHTS[:-1], WEIGHTS + b"0", b"\x80\x02pickled" * 10])
def test_what_is_no_safetensors_file_is_refused(service: Service, content: bytes) -> None:
    problem_of(upload(service, content), 422, "not_safetensors")


def test_another_content_type_is_refused(service: Service) -> None:
    problem_of(upload(service, kind="text/plain"), 415, "unsupported_media_type")


def test_a_file_above_the_cap_is_refused(tmp_path: Path) -> None:
    with running(samples.quick_settings(tmp_path, weights_max_bytes=len(WEIGHTS) - 1)) as small:
        problem_of(upload(small), 413, "body_too_large")


def test_a_job_that_starts_from_a_file_keeps_it(service: Service) -> None:
    file = upload(service).json()["id"]

    accepted = train(service, file)

    assert accepted.status_code == 202, accepted.text
    assert accepted.json()["spec"]["backbone"]["weights"] == file
    problem_of(service.http.delete(f"/weights/{file}"), 409, "weights_in_use")
    service.http.post(f"/jobs/{accepted.json()['id']}:cancel").raise_for_status()
    assert service.http.delete(f"/weights/{file}").status_code == 204


@pytest.mark.parametrize("weights", ["wt_0000000000", "nobody@best", "nobody:1"])
def test_weights_that_are_not_there_are_told_with_their_place(service: Service, weights: str) -> None:
    problem = problem_of(train(service, weights), 422, "source_not_found")

    assert [fault["pointer"] for fault in problem["errors"]] == ["/backbone/weights"]


def test_a_teacher_that_is_not_there_is_told_with_its_place(service: Service) -> None:
    dataset = service.upload()["id"]
    spec = {"name": "leaves", "dataset": dataset, "distillation": {"teacher": "nobody"}}

    problem = problem_of(service.http.post("/train?dry_run=true", json=spec), 422, "source_not_found")

    assert [fault["pointer"] for fault in problem["errors"]] == ["/distillation/teacher"]


@pytest.mark.parametrize("weights", ["imagenet", "nobody", "", "wt_", "a@b@c", "../etc/passwd"])
def test_weights_that_are_no_reference_are_refused(service: Service, weights: str) -> None:
    problem = problem_of(train(service, weights), 422, "invalid_body")

    assert [fault["pointer"] for fault in problem["errors"]] == ["/backbone/weights"]
    assert "pattern" in problem["errors"][0]["allowed"]


def test_the_service_reads_headers_without_the_library() -> None:
    code = "import sys, service.routes.weights; sys.exit('safetensors' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_vectors_in_text_are_stored_as_tensors(service: Service) -> None:
    created = upload(service, "2 3\ngood 1 2 3\n坏 4 5 6\n".encode())

    assert created.status_code == 201
    assert created.json()["dtypes"] == {"F32": 1, "U8": 1}
    problem_of(upload(service, b"2 3\ngood 1 2\nbad 4 5 6\n"), 422, "vectors_invalid")
