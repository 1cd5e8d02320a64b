"""A pretrained encoder that a user brings, over real HTTP with a real worker: trained, served, and compressed again."""

from typing import Any

import pytest

from tests.live_stack import LiveService
from tests.service.live_service import problem_of
from tests.tasks.text.encoder_archives import files_of, zipped

pytestmark = pytest.mark.slow

ROWS = [("the room was good", "praise"), ("the staff was bad", "complaint"), ("clean view 好", "praise")]
TABLE = "text,label,split\n" + "".join(
    f"{text} {number},{label},{'val' if number % 2 else 'train'}\n"
    for number in range(16)
    for text, label in [*ROWS, ("dirty room 坏", "complaint")]
)
BYTES = {"Content-Type": "application/octet-stream"}
TRAINING = {"epochs": 2, "batch_size": 8, "precision": "fp32"}


@pytest.fixture(scope="module")
def weights(service: LiveService) -> str:
    answer = (
        service.http.post("/weights?name=tiny", content=zipped(files_of()), headers=BYTES).raise_for_status().json()
    )
    assert answer["encoder"]["pooling"] == "first"
    return str(answer["id"])


@pytest.fixture(scope="module")
def dataset(service: LiveService) -> str:
    answer = service.http.post("/datasets", content=TABLE.encode(), headers={"Content-Type": "text/csv"})
    return str(answer.raise_for_status().json()["id"])


def spec_of(name: str, dataset: str, weights: str, **backbone: Any) -> dict[str, Any]:
    return {
        "name": name,
        "dataset": dataset,
        "backbone": {"kind": "encoder", "weights": weights, **backbone},
        "training": TRAINING,
        "evaluation": {"bootstrap_samples": 100},
        "compression": None,
    }


def finished(service: LiveService, spec: dict[str, Any]) -> dict[str, Any]:
    ended = service.wait(service.train(**spec)["id"])
    assert ended["state"] == "succeeded", ended["problem"]
    return ended


def test_a_dry_run_shows_the_net_and_what_it_can_not_be(service: LiveService, dataset: str, weights: str) -> None:
    spec = spec_of("dry", dataset, weights)

    shown = service.http.post("/train?dry_run=true", json=spec).raise_for_status().json()["spec"]
    too_long = service.http.post("/train", json=spec | {"input": {"max_tokens": 64}})
    other_net = service.http.post("/train", json=spec_of("dry", dataset, weights, architecture={"layers": 3}))
    no_layer = service.http.post("/train", json=spec_of("dry", dataset, weights, freeze="until:layer3"))
    no_encoder = service.http.post("/train", json=spec_of("dry", dataset, "wt_00000000"))

    backbone = shown["backbone"]
    assert (backbone["architecture"]["layers"], backbone["pooling"], backbone["freeze"]) == (2, "first", "backbone")
    assert backbone["origin"]["name"] == "tiny"
    assert shown["input"]["tokenizer"] == {"kind": "pretrained"}
    assert problem_of(too_long, 422, "invalid_body")["errors"][0]["pointer"] == "/input/max_tokens"
    assert problem_of(other_net, 422, "source_unfit")["errors"][0]["pointer"] == "/backbone/architecture"
    assert problem_of(no_layer, 422, "invalid_body")["errors"][0]["pointer"] == "/backbone/freeze"
    assert problem_of(no_encoder, 422, "source_not_found")["errors"][0]["pointer"] == "/backbone/weights"


def test_an_encoder_is_trained_whole_and_shrunk(service: LiveService, dataset: str, weights: str) -> None:
    spec = spec_of("whole", dataset, weights, freeze="none") | {
        "compression": {"quantize": [{"kind": "fp16"}, {"kind": "weights_int8"}, {"kind": "dynamic_int8"}]},
        "transfer": {"probe_epochs": 1},
    }

    ended = finished(service, spec)

    version = service.http.get(f"/models/whole/versions/{ended['result']['version']}").json()
    assert {each["name"] for each in version["variants"]} == {"fp32", "fp16", "weights-int8", "dynamic-int8"}
    assert version["not_made"] == {}


def test_a_frozen_one_is_served_and_compressed_when_the_upload_is_gone(service: LiveService, dataset: str) -> None:
    files = files_of() | {"README.md": b"of this test alone"}
    weights = (
        service.http.post("/weights?name=other", content=zipped(files), headers=BYTES).raise_for_status().json()["id"]
    )
    finished(service, spec_of("frozen", dataset, weights))
    service.http.delete(f"/weights/{weights}").raise_for_status()

    asked = {"model": "frozen", "inputs": ["the room was good", "x", ""]}
    notes = service.http.post("/predict", json=asked).raise_for_status().json()["predictions"]
    compressed = service.http.post(
        "/models/frozen/versions/1:compress", json={"quantize": [{"kind": "weights_int8"}]}
    ).raise_for_status()
    measured = service.http.post("/models/frozen/versions/1:measure").raise_for_status()

    version = service.http.get("/models/frozen/versions/1").json()
    assert version["encoder"]["origin"]["name"] == "other"
    assert version["input"]["tokenizer"] == {"kind": "pretrained"}
    assert [note["unknown_share"] for note in notes] == [0.0, 1.0, 0.0]
    assert [note["empty"] for note in notes] == [False, False, True]
    for job in (compressed, measured):
        ended = service.wait(job.json()["id"])
        assert ended["state"] == "succeeded", ended["problem"]
