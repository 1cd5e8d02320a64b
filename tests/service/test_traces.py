"""Traces of requests, as a real collector gets them."""

import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from sqlalchemy import select
from tritonclient.grpc import service_pb2, service_pb2_grpc

from models_store.storage import tables
from tests import collectors, samples
from tests.service import onnx_files
from tests.service.live_service import a_free_port, a_plain_image, running
from tests.service.prediction_requests import RED

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = {"traceparent": f"00-{TRACE}-{PARENT}-01"}


def test_a_prediction_is_a_span_with_its_parts_under_the_clients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = samples.quick_settings(tmp_path / "home", grpc_port=a_free_port())
    with collectors.collecting(monkeypatch) as collector, running(settings) as live:
        live.publish("colours", onnx_files.write_colour_net(tmp_path / "colours.onnx"))
        with grpc.insecure_channel(f"127.0.0.1:{settings.grpc_port}") as channel:
            asked = service_pb2.ModelInferRequest(model_name="colours")
            asked.inputs.add(name="f", datatype="BYTES", shape=[1]).contents.bytes_contents.append(a_plain_image(RED))
            metadata = [("x-request-id", "mine"), *TRACEPARENT.items()]
            service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(asked, metadata=metadata, timeout=60)
        for _ in range(3):  # also those with a known head
            answer = live.http.post(
                "/predict?model=colours",
                content=a_plain_image(RED),
                headers={"Content-Type": "image/png", "X-Request-ID": "mine"} | TRACEPARENT,
            )
            assert answer.status_code == 200
        spans = collector.wait_for(lambda found: len([each for each in found if each.trace == TRACE]) == 16)

    requests = [each for each in spans if each.name.startswith("POST /") and each.trace == TRACE]
    names = ["POST /inference.GRPCInferenceService/ModelInfer", *["POST /predict"] * 3]
    assert [(each.name, each.parent) for each in requests] == [(name, PARENT) for name in names]
    assert {each.service for each in spans} == {"espalier-api"}
    for request in requests:
        assert request.attributes["http.response.status_code"] == 200
        assert request.attributes["espalier.model"] == "colours:1/fp32"
        assert request.attributes["espalier.request_id"] == "mine"
        parts = sorted((each for each in spans if each.parent == request.id), key=lambda each: each.ended_ns)
        assert [each.name for each in parts] == ["queue", "decode", "run"]
        assert all(each.began_ns <= each.ended_ns <= request.ended_ns for each in parts)


def test_a_job_keeps_the_trace_of_the_request_that_made_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with collectors.collecting(monkeypatch) as collector, running(samples.quick_settings(tmp_path / "home")) as live:
        spec = {"task": "image_classification", "name": "leaves", "dataset": live.upload()["id"]}
        job = live.http.post("/train", json=spec, headers=TRACEPARENT).json()["id"]
        spans = collector.wait_for(lambda found: any(each.name == "POST /train" for each in found))
        with live.context.database.read() as connection:
            kept = connection.execute(select(tables.job.c.traceparent).where(tables.job.c.id == job)).scalar_one()

    (request,) = [each for each in spans if each.name == "POST /train"]
    assert kept == f"00-{TRACE}-{request.id}-01"


def test_a_collector_that_is_dead_harms_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        collectors.named("http://127.0.0.1:1", monkeypatch),
        running(samples.quick_settings(tmp_path / "home")) as live,
    ):
        answers = [live.http.get("/jobs", headers=TRACEPARENT).status_code for _ in range(20)]

    assert answers == [200] * 20


LOOK = """
import sys
from models_store.settings import Settings
from service.app import create_app
create_app(Settings())
print([name for name in sys.modules if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter"))])
"""


def test_without_a_collector_neither_sdk_nor_exporter_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path))
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)

    found = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True).stdout

    assert found.strip() == "[]"
