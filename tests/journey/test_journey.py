"""One model's journey over real HTTP, with a real worker and a real Valkey: upload, train, follow, predict."""

import base64
import hashlib
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest

from models_store.tasks.image import codec
from tests import openapi_contract, samples
from tests.generated_client import call, generate, shape
from tests.live_stack import LiveService
from tests.samples import PLAIN

pytestmark = pytest.mark.slow

RED = samples.a_png(hue=2, seed=999_999)


@pytest.fixture(scope="module")
def dataset(service: LiveService, archive: Path) -> dict[str, Any]:
    return service.upload(archive)


@pytest.fixture(scope="module")
def job(service: LiveService, dataset: dict[str, Any]) -> dict[str, Any]:
    """A job that has ended, of a spec that uses every stage."""
    started = service.train(
        **PLAIN
        | {
            "name": "colours",
            "dataset": dataset["id"],
            "augmentation": [{"kind": "random_rotation"}, {"kind": "random_flip"}],
            "training": {"epochs": 3, "batch_size": 16},
            "compression": {"prune": {"kind": "structured"}, "recover": {"epochs": 1}, "max_accuracy_drop": 0.2},
        }
    )
    assert started["state"] == "queued"
    return service.wait(started["id"])


@pytest.fixture(scope="module")
def version(service: LiveService, job: dict[str, Any]) -> dict[str, Any]:
    assert job["state"] == "succeeded", job["problem"]
    return service.http.get("/models/colours/versions/1").raise_for_status().json()


def test_the_upload_becomes_a_checked_and_split_dataset(dataset: dict[str, Any]) -> None:
    assert dataset["classes"] == ["blue", "green", "red"]
    assert dataset["images"] == 180
    assert sum(dataset["counts"]["test"].values()) == 18


def test_the_job_succeeds_and_names_its_model(job: dict[str, Any]) -> None:
    assert job["state"] == "succeeded", job["problem"]
    assert job["result"] == {"model": "colours", "version": 1}
    assert {step["state"] for step in job["steps"]} == {"done"}
    assert job["progress"]["fraction"] == 1


def test_the_same_spec_is_estimated_from_what_the_job_took(service: LiveService, job: dict[str, Any]) -> None:
    took_s = sum(
        (datetime.fromisoformat(step["ended_at"]) - datetime.fromisoformat(step["started_at"])).total_seconds()
        for step in job["steps"]
    )

    answer = service.http.post("/train?dry_run=true", json=job["spec"]).raise_for_status().json()

    estimate = answer["estimate"]
    assert [stage["stage"] for stage in estimate["stages"]] == [step["name"] for step in job["steps"]]
    assert estimate["seconds"]["low"] < took_s < estimate["seconds"]["high"]
    assert estimate["memory_bytes"]["middle"] > 100 << 20
    assert answer["decisions"] == []
    assert answer["spec"] == job["spec"]


def test_every_variant_is_measured_on_its_file(service: LiveService, version: dict[str, Any]) -> None:
    variants = measured(version)

    assert {variant["name"] for variant in variants} == {"fp32", "int8", "pruned", "pruned-int8"}
    for variant in variants:
        said = metadata_of(downloaded(service, variant))
        figures = variant["measured"]["cpu"]
        assert 0 <= figures["accuracy"]["test"] <= 1
        assert figures["latency_ms"]["p50"] > 0
        assert figures["peak_memory_bytes"] > variant["size_bytes"]
        assert figures["provider"] == "CPUExecutionProvider"
        assert figures["host"]["device"]
        assert variant["compressed_bytes"] > 0
        assert said["espalier.card"]["form"] == variant["name"]
        assert said["espalier.metrics"]["cpu"]["accuracy"] == figures["accuracy"]
    fp32 = next(variant for variant in version["variants"] if variant["name"] == "fp32")
    assert fp32["measured"]["cpu"]["accuracy"]["test"] > 0.9


def test_a_file_for_elsewhere_is_downloaded_and_never_served(service: LiveService, version: dict[str, Any]) -> None:
    variant = next(variant for variant in version["variants"] if variant["name"] == "any-size")
    content = downloaded(service, variant)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    image_HWC = codec.decode_whole(RED, channels=3)
    probabilities_K = session.run(None, {"images": image_HWC[None]})[0][0]
    raw = {"params": {"model": "colours/fp32"}, "content": RED, "headers": {"Content-Type": "image/png"}}
    served = service.http.post("/predict", **raw).raise_for_status().json()["predictions"][0]
    refused = service.http.post("/predict", **raw | {"params": {"model": "colours/any-size"}})

    assert (variant["standalone"], variant["accepted"], variant["agreement_with_serving"]) == (True, False, 1.0)
    said = metadata_of(content)
    assert said["espalier.labels"][int(probabilities_K.argmax())] == served["label"] == "red"
    assert said["espalier.metrics"] == {
        "compared_images": variant["compared_images"],
        "agreement_with_serving": 1.0,
    }
    assert said["espalier.card"]["spec_sha256"]
    assert (refused.status_code, refused.json()["code"]) == (409, "variant_not_served_here"), refused.text


def measured(version: dict[str, Any]) -> list[dict[str, Any]]:
    return [variant for variant in version["variants"] if not variant["standalone"]]


def downloaded(service: LiveService, variant: dict[str, Any]) -> bytes:
    content = service.http.get(f"/models/colours/versions/1/variants/{variant['name']}/download").content
    assert hashlib.sha256(content).hexdigest() == variant["sha256"]
    assert variant["size_bytes"] == len(content)
    return content


def metadata_of(content: bytes) -> dict[str, Any]:
    """Return what an ONNX file says of itself."""
    return {entry.key: json.loads(entry.value) for entry in onnx.load_from_string(content).metadata_props}


def test_the_report_tells_what_the_file_is_worth_and_how_sure_that_is(
    service: LiveService, job: dict[str, Any], version: dict[str, Any]
) -> None:
    report = service.http.get(f"/jobs/{job['id']}/report").raise_for_status().json()
    page = service.http.get(f"/jobs/{job['id']}/report.html").raise_for_status()

    figures = report["splits"]["test"]
    fp32 = next(variant for variant in version["variants"] if variant["name"] == "fp32")
    assert figures["accuracy"] == fp32["measured"]["cpu"]["accuracy"]["test"] == version["metrics"]["test"]["accuracy"]
    interval = figures["intervals"]["accuracy"]
    assert interval["low"] <= figures["accuracy"] <= interval["high"]
    assert [row["epoch"] for row in report["history"]] == [1, 2, 3]
    assert set(report["forms"]) == {variant["name"] for variant in measured(version)}
    assert report["temperature"] == fp32["temperature"]
    assert "curves.svg" in [picture["name"] for picture in report["pictures"]]
    assert page.text.count("<svg") >= 5


def test_a_slower_or_worse_variant_is_not_the_default(version: dict[str, Any]) -> None:
    default = next(variant for variant in version["variants"] if variant["default"])

    assert default["name"] == version["default_variant"] == version["defaults"]["cpu"]
    assert default["accepted"]
    for variant in measured(version):
        assert variant["accepted"] or variant["measured"]["cpu"]["reasons"]


@pytest.mark.parametrize("reference", ["colours", "colours:1", "colours:1/fp32", "colours/int8"])
def test_json_multipart_and_raw_bodies_are_answered_alike(
    service: LiveService, version: dict[str, Any], reference: str
) -> None:
    document = {"model": reference, "inputs": [base64.b64encode(RED).decode()], "top_k": 2}

    as_json = service.http.post("/predict", json=document).raise_for_status()
    files = {"files": ("red.png", RED, "image/png")}
    as_form = service.http.post("/predict", data={"model": reference, "top_k": "2"}, files=files).raise_for_status()
    headers, query = {"Content-Type": "image/png"}, {"model": reference, "top_k": 2}
    as_bytes = service.http.post("/predict", params=query, content=RED, headers=headers).raise_for_status()

    answer = as_json.json()
    assert answer == as_form.json() == as_bytes.json()
    assert answer["predictions"][0]["label"] == "red"
    assert len(answer["predictions"][0]["top"]) == 2
    assert answer["version"] == version["version"]
    assert {"decode", "queue", "run"} <= {
        part.split(";")[0].strip() for part in as_json.headers["Server-Timing"].split(",")
    }


def test_events_are_followed_and_taken_up_where_they_stopped(service: LiveService, job: dict[str, Any]) -> None:
    def follow(headers: dict[str, str]) -> list[tuple[int, str, dict[str, Any]]]:
        text = service.http.get(f"/jobs/{job['id']}/events", headers=headers).raise_for_status().text
        blocks = [block for block in text.replace("\r\n", "\n").split("\n\n") if "data:" in block]
        fields = [dict(line.split(": ", 1) for line in block.split("\n") if ": " in line) for block in blocks]
        return [(int(field["id"]), field["event"], json.loads(field["data"])) for field in fields]

    everything = follow({})
    rest = follow({"Last-Event-ID": str(everything[4][0])})

    assert [number for number, _, _ in everything] == list(range(1, len(everything) + 1))
    assert rest == everything[5:]
    result = {"model": "colours", "version": 1}
    assert everything[-1][1:] == ("state", {"event": "state", "state": "succeeded", "result": result})
    assert {"phase", "progress", "metrics"} <= {kind for _, kind, _ in everything}
    assert all(kind == data["event"] for _, kind, data in everything)
    wrong = [
        found
        for *_, data in everything
        if (found := openapi_contract.faults(("components", "schemas", "JobEvent"), data))
    ]
    assert wrong == []


def test_a_generated_client_trains_again_and_the_bare_name_follows_the_newest_version(
    service: LiveService, dataset: dict[str, Any], version: dict[str, Any], tmp_path: Path
) -> None:
    client = generate(tmp_path)
    session = client.Client(base_url=service.stack.url)
    spec = PLAIN | {"name": "colours", "dataset": dataset["id"], "training": {"epochs": 1}}
    body = shape(client, "ImageSpec").from_dict(spec | {"compression": None})
    question = shape(client, "PredictRequest")(model="colours", inputs=[base64.b64encode(RED).decode()])

    started = call(client, "train.train_create")(client=session, body=body)
    ended = service.wait(started.id)
    newest = call(client, "predict.predict_create")(client=session, body=question)
    service.http.put("/models/colours/aliases/default", json={"version": 1}).raise_for_status()
    aliased = call(client, "predict.predict_create")(client=session, body=question)

    assert ended["result"] == {"model": "colours", "version": 2}
    assert (newest.version, aliased.version) == (2, version["version"])
    assert newest.predictions[0].label == "red"


def test_a_canceled_job_publishes_no_model(service: LiveService, dataset: dict[str, Any]) -> None:
    spec = PLAIN | {"name": "never", "dataset": dataset["id"], "training": {"epochs": 2000}}
    started = service.train(**spec)
    service.wait_for_epoch(started["id"], 1)

    service.http.post(f"/jobs/{started['id']}:cancel").raise_for_status()
    job = service.wait(started["id"])

    assert job["state"] == "canceled"
    assert service.http.get("/models/never").status_code == 404


def test_weights_that_cannot_be_had_fail_the_job_and_say_what_to_do(
    service: LiveService, dataset: dict[str, Any]
) -> None:
    spec = {"name": "none", "dataset": dataset["id"], "backbone": {"kind": "vgg16"}, "input": {"size": 32}}
    job = service.wait(service.train(**spec)["id"])

    assert (job["state"], job["problem"]["code"]) == ("failed", "weights_unavailable")
    assert "WEIGHTS_DIR" in job["problem"]["detail"]
