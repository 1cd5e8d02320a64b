"""Predictions of many examples by a real trainer: of a stored dataset, and of an archive without labels."""

import csv
import hashlib
import io
import json
import threading
import time
import zipfile
from collections.abc import Iterator
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest

from models_store.jobs.housekeeping import named_blobs
from tests.samples import a_png, quick_settings
from tests.service.live_service import Service, a_plain_image, running
from tests.service.onnx_files import LABELS, write_colour_net
from workers.process.claim_loop import work
from workers.process.persistence import StopFlag

pytestmark = pytest.mark.slow

PATIENCE_S = 240
PATH = "/models/colours/versions/1:predict_dataset"
PLAIN = {"red.png": (250, 0, 0), "=2+3.png": (0, 250, 0), "a/blue.png": (0, 0, 250)}


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Return a service with a model of colours, whose jobs a worker does as soon as they come."""
    settings = quick_settings(tmp_path_factory.mktemp("predicting") / "home")
    stop = StopFlag()

    def labour() -> None:
        while not stop.is_set:
            work(settings, stop=stop)
            time.sleep(0.05)

    with running(settings) as service:
        service.publish("colours", write_colour_net(tmp_path_factory.mktemp("onnx") / "net.onnx"))
        thread = threading.Thread(target=labour)
        thread.start()
        yield service
        stop.set()
        thread.join()


def an_archive(**more: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, colour in PLAIN.items():
            archive.writestr(name, a_plain_image(colour))
        for name, content in more.items():
            archive.writestr(name.replace("_", "."), content)
    return buffer.getvalue()


def ended(service: Service, answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 202, answer.text
    job = dict(answer.json())
    deadline = time.monotonic() + PATIENCE_S
    while job["state"] not in {"succeeded", "failed", "canceled"} and time.monotonic() < deadline:
        time.sleep(0.1)
        job = service.http.get(f"/jobs/{job['id']}").raise_for_status().json()
    assert job["state"] == "succeeded", job["problem"]
    return job


def predicted(service: Service, dataset: str, **asked: Any) -> tuple[dict[str, Any], httpx.Response]:
    job = ended(service, service.http.post(PATH, json={"dataset": dataset} | asked))
    return job, service.http.get(f"/jobs/{job['id']}/predictions").raise_for_status()


def answers(service: Service, examples: dict[str, bytes], **asked: Any) -> list[dict[str, Any]]:
    files = [("files", (name, content)) for name, content in examples.items()]
    data = {"model": "colours:1"} | asked
    return list(service.http.post("/predict", data=data, files=files).raise_for_status().json()["predictions"])


def test_rows_have_what_predict_answers_for_the_same_files(live: Service) -> None:
    dataset = live.upload()["id"]

    job, table = predicted(live, dataset, format="jsonl", top_k=2, split="test")

    rows = [json.loads(line) for line in table.text.splitlines()]
    items = live.http.get(f"/datasets/{dataset}/images", params={"split": "test", "limit": 100}).json()["items"]
    assert [row["row"] for row in rows] == [int(item["id"].removeprefix("img_")) for item in items]
    examples = {item["id"]: live.http.get(item["url"]).raise_for_status().content for item in items}
    expected = answers(live, examples, top_k=2)
    for row, item, answer in zip(rows, items, expected, strict=True):
        assert (row["file"], row["split"], row["truth"]) == (item["file"], "test", item["label"])
        assert row["label"] == answer["label"]
        assert [each["label"] for each in row["top"]] == [each["label"] for each in answer["top"]]
        assert row["probability"] == pytest.approx(answer["probability"], abs=1e-6)
        assert row["error"] is None
    right = sum(row["label"] == row["truth"] for row in rows)
    result = job["result"]
    assert {name: result[name] for name in ("model", "version", "variant", "provider", "format", "failed")} == {
        "model": "colours",
        "version": 1,
        "variant": "fp32",
        "provider": "cpu",
        "format": "jsonl",
        "failed": 0,
    }
    assert (result["rows"], result["compared"], result["size_bytes"]) == (len(rows), len(rows), len(table.content))
    assert result["metrics"] == {"test": {"accuracy": pytest.approx(right / len(rows))}}


def test_every_format_has_the_same_rows(live: Service) -> None:
    dataset = live.upload()["id"]

    _, lines = predicted(live, dataset, format="jsonl")
    _, table = predicted(live, dataset, format="csv")
    job, columns = predicted(live, dataset, format="parquet")

    rows = [json.loads(line) for line in lines.text.splitlines()]
    stored = pq.read_table(io.BytesIO(columns.content))
    cells = list(csv.DictReader(io.StringIO(table.text)))
    assert job["result"]["rows"] == len(rows) == stored.num_rows == len(cells) == 36
    assert stored.schema.field("probability").type == "float"
    for row, other, cell in zip(rows, stored.to_pylist(), cells, strict=True):
        assert (other["label"], other["file"], other["truth"]) == (row["label"], row["file"], row["truth"])
        assert other["probability"] == pytest.approx(row["probability"])
        assert [each["label"] for each in other["top"]] == [each["label"] for each in row["top"]]
        assert cell["probability"] == repr(row["probability"])
        assert cell["top_2_label"] == row["top"][1]["label"]
        assert cell["error"] == ""
    assert [answer.headers["content-type"].partition(";")[0] for answer in (table, lines, columns)] == [
        "text/csv",
        "application/x-ndjson",
        "application/vnd.apache.parquet",
    ]


def test_an_archive_needs_no_labels_and_may_hold_files_that_cannot_be_decoded(live: Service) -> None:
    archive = an_archive(broken_png=a_png(hue=0)[:60], README_txt=b"nothing to see")

    answer = live.http.post(
        PATH, params={"format": "csv"}, content=archive, headers={"Content-Type": "application/zip"}
    )
    job = ended(live, answer)

    rows = list(csv.DictReader(io.StringIO(live.http.get(f"/jobs/{job['id']}/predictions").text)))
    assert [row["file"] for row in rows] == ["red.png", "'=2+3.png", "a/blue.png", "broken.png"]
    assert [row["label"] for row in rows] == [*LABELS, ""]
    assert [bool(row["error"]) for row in rows] == [False, False, False, True]
    assert {(row["split"], row["truth"]) for row in rows} == {("", "")}
    assert (job["dataset"], job["warnings"]) == (
        None,
        ["1 file of the archive was passed over: it is a link, or no image or text"],
    )
    result = job["result"]
    assert (result["rows"], result["failed"], result["compared"], result["metrics"]) == (4, 1, 0, {})


def test_a_download_is_named_has_a_digest_and_comes_in_parts(live: Service) -> None:
    job, whole = predicted(live, live.upload()["id"], format="parquet")
    path = f"/jobs/{job['id']}/predictions"

    part = live.http.get(path, headers={"Range": "bytes=0-3"})
    same = live.http.get(path, headers={"If-None-Match": whole.headers["etag"]})

    assert whole.headers["content-disposition"] == f'attachment; filename="colours-1-{job["dataset"]}.parquet"'
    assert (part.status_code, part.content) == (206, b"PAR1")
    assert same.status_code == 304


def test_the_table_goes_with_its_job(live: Service) -> None:
    job, table = predicted(live, live.upload()["id"], split="val", top_k=1)  # unlike those of the other tests
    blob = hashlib.sha256(table.content).hexdigest()
    before = blob in named_blobs(live.context.database)

    live.http.delete(f"/jobs/{job['id']}").raise_for_status()

    assert before
    assert blob not in named_blobs(live.context.database)
    assert live.http.get(f"/jobs/{job['id']}/predictions").status_code == 404
