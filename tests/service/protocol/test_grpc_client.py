"""The public client of the protocol, over gRPC, against a real service."""

import asyncio
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as client
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from models_store.settings import Settings
from service.app import create_app
from service.protocol.grpc_server import PortUnavailable
from tests import databases, samples
from tests.service import onnx_files
from tests.service.access_log import access_lines
from tests.service.live_service import Service, a_free_port, a_plain_image, running
from tests.service.metric_series import read
from tests.service.prediction_requests import BLUE, GREEN, RED

COLOURS = (RED, GREEN, BLUE)
KEY = "key-of-ada-0123456789"
HEADERS = {"authorization": f"Bearer {KEY}"}


@pytest.fixture(scope="module")
def grpc_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("service") / "home"
    settings = samples.quick_settings(home, grpc_port=a_free_port(), predict_max_bytes=4 << 20, access_log=True)
    with running(settings) as live:
        net = onnx_files.write_colour_net(tmp_path_factory.mktemp("nets") / "colours.onnx")
        live.publish("colours", net, variants=("fp32", "int8"))
        slow = onnx_files.write_colour_net(tmp_path_factory.mktemp("nets") / "slow.onnx", size=256, rounds=40)
        live.publish("slow", slow, input={"size": 256, "channels": 3, "fit": "crop"})
        yield live


@pytest.fixture(scope="module")
def address(grpc_service: Service) -> str:
    return f"127.0.0.1:{grpc_service.context.settings.grpc_port}"


@pytest.fixture(scope="module")
def triton(address: str) -> Iterator[client.InferenceServerClient]:
    with client.InferenceServerClient(address) as connected:
        yield connected


def pixels(*colours: tuple[int, int, int]) -> np.ndarray:
    return np.stack([np.full((16, 16, 3), colour, np.uint8) for colour in colours])


def tensor(values: np.ndarray, datatype: str = "UINT8", *, name: str = "images") -> client.InferInput:
    made = client.InferInput(name, list(values.shape), datatype)
    made.set_data_from_numpy(values)
    return made


def expected(*colours: tuple[int, int, int]) -> list[list[float]]:
    return [onnx_files.expected_probabilities(colour) for colour in colours]


def _forget(service: Service, model: str, *, versions: int) -> None:
    """Unload and delete a model: other tests count what is in memory and in the registry."""
    for number in range(1, versions + 1):
        service.http.post(f"/models/{model}/versions/{number}/variants/fp32:unload").raise_for_status()
    service.http.delete(f"/models/{model}").raise_for_status()


def test_calls_with_one_key_stay_with_one_target_as_they_do_over_http(
    grpc_service: Service, triton: client.InferenceServerClient, tmp_path: Path
) -> None:
    for version in (1, 2):
        net = onnx_files.write_colour_net(tmp_path / f"{version}.onnx", shift=version / 4)
        grpc_service.publish("sticky", net)
    targets = {"targets": [{"version": 1, "weight": 1}, {"version": 2, "weight": 1}]}
    grpc_service.http.put("/models/sticky/aliases/live", json=targets).raise_for_status()

    def answered(key: str) -> tuple[str, str]:
        call = triton.infer("sticky@live", [tensor(pixels(RED))], headers={"x-canary-key": key})
        plain = grpc_service.http.post(
            "/predict",
            params={"model": "sticky@live"},
            content=a_plain_image(RED),
            headers={"Content-Type": "image/png", "X-Canary-Key": key},
        )
        return call.get_response().model_version, str(plain.raise_for_status().json()["version"])

    found = [answered(f"user {number}") for number in range(24)]
    _forget(grpc_service, "sticky", versions=2)

    assert all(by_grpc == by_http for by_grpc, by_http in found)
    assert {version for version, _ in found} == {"1", "2"}  # all of 24 alike: once in eight million


def test_the_server_and_its_models_are_described(triton: client.InferenceServerClient) -> None:
    metadata = triton.get_model_metadata("colours")

    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.get_server_metadata().name == "espalier"
    assert (list(metadata.versions), metadata.inputs[0].datatype) == (["1"], "UINT8")
    assert list(metadata.inputs[0].shape) == [-1, 16, 16, 3]
    assert list(metadata.outputs[0].shape) == [-1, 3]
    assert triton.is_model_ready("colours:1/int8")
    assert not triton.is_model_ready("unknown")


def test_the_configuration_names_datatypes(triton: client.InferenceServerClient) -> None:
    config = triton.get_model_config("colours", "1", as_json=True)["config"]

    assert config["input"][0] == {"name": "images", "data_type": "TYPE_UINT8", "dims": ["16", "16", "3"]}
    assert config["max_batch_size"] > 1


def test_tensors_and_encoded_examples_are_answered(triton: client.InferenceServerClient) -> None:
    files = np.array([a_plain_image(colour) for colour in COLOURS], object)

    of_tensor = triton.infer("colours", [tensor(pixels(*COLOURS))], request_id="mine", model_version="1")
    of_files = triton.infer("colours", [tensor(files, "BYTES", name="files")])

    assert np.allclose(of_tensor.as_numpy("probabilities"), expected(*COLOURS), atol=1e-5)
    assert np.allclose(of_files.as_numpy("probabilities"), expected(*COLOURS), atol=1e-4)
    response = of_tensor.get_response()
    assert (response.id, response.model_version) == ("mine", "1")
    assert response.parameters["variant"].string_param == "fp32"


def test_classification_names_the_likeliest(triton: client.InferenceServerClient) -> None:
    wanted = client.InferRequestedOutput("probabilities", class_count=1)

    result = triton.infer("colours", [tensor(pixels(GREEN, BLUE))], outputs=[wanted])

    assert [row[0].split(b":")[1:] for row in result.as_numpy("probabilities")] == [[b"1", b"green"], [b"2", b"blue"]]


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_messages_may_be_compressed(triton: client.InferenceServerClient, algorithm: str) -> None:
    result = triton.infer("colours", [tensor(pixels(RED))], compression_algorithm=algorithm)

    assert np.allclose(result.as_numpy("probabilities"), expected(RED), atol=1e-5)


@pytest.mark.parametrize(
    ("datatype", "field", "values"),
    [
        ("UINT8", "uint_contents", pixels(RED).ravel().tolist()),
        ("BYTES", "bytes_contents", [a_plain_image(RED)]),
    ],
)
def test_values_may_come_one_by_one_and_are_answered_so(
    address: str, datatype: str, field: str, values: list[Any]
) -> None:
    request = a_request()
    given = request.inputs.add(name="images", datatype=datatype, shape=[1, 16, 16, 3] if datatype != "BYTES" else [1])
    getattr(given.contents, field).extend(values)

    response = sent(address, request)

    assert np.allclose(response.outputs[0].contents.fp32_contents, expected(RED)[0], atol=1e-4)
    assert not response.raw_output_contents


def test_a_stream_answers_each_request_in_order_and_goes_on_after_a_fault(
    triton: client.InferenceServerClient,
) -> None:
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    triton.start_stream(lambda result, error: answers.put((result, error)))

    for name in ("colours", "unknown", "colours"):
        triton.async_stream_infer(name, [tensor(pixels(RED))], request_id=name)
    got = [answers.get(timeout=60) for _ in range(3)]
    triton.stop_stream()

    assert [None if result is None else result.get_response().id for result, _ in got] == ["colours", None, "colours"]
    assert "there is no model 'unknown'" in str(got[1][1])


def test_messages_count_among_the_bodies_in_flight(triton: client.InferenceServerClient, grpc_service: Service) -> None:
    bodies = grpc_service.context.bodies
    others: dict[str, Any] = {}
    bodies.hold(others, grpc_service.context.settings.bodies_max_bytes)
    try:
        with pytest.raises(InferenceServerException, match="bodies of other requests") as caught:
            triton.infer("colours", [tensor(pixels(RED))])
    finally:
        bodies.release(others)

    assert caught.value.status() == "StatusCode.UNAVAILABLE"
    assert triton.infer("colours", [tensor(pixels(RED))]).as_numpy("probabilities").shape == (1, 3)
    assert bodies.held_bytes == 0


def test_a_stream_ends_at_a_message_that_cannot_be_read(address: str) -> None:
    good = a_request().SerializeToString()

    with grpc.insecure_channel(address) as channel:
        stream = channel.stream_stream(
            "/inference.GRPCInferenceService/ModelStreamInfer",
            request_serializer=lambda message: message,
            response_deserializer=service_pb2.ModelStreamInferResponse.FromString,
        )
        answers = stream(iter([good, b"\xff\xff"]), timeout=20)
        first = next(answers)
        with pytest.raises(grpc.RpcError) as caught:
            next(answers)

    assert "no inputs" in first.error_message
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_the_name_of_a_model_is_cut_in_errors(triton: client.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="is not a reference") as caught:
        triton.infer("m" * 100_000, [tensor(pixels(RED))])

    assert len(caught.value.message()) < 1000


def test_the_repository_lists_loads_and_unloads(triton: client.InferenceServerClient, grpc_service: Service) -> None:
    listed = triton.get_model_repository_index().models

    triton.load_model("colours")
    loaded = grpc_service.context.sessions.files
    triton.unload_model("colours")

    assert {(each.name, each.version, each.state) for each in listed} == {
        ("colours", "1", "READY"),
        ("slow", "1", "READY"),
    }
    assert (len(loaded), len(grpc_service.context.sessions.files)) == (1, 0)


def test_statistics_are_counted(triton: client.InferenceServerClient) -> None:
    before = triton.get_inference_statistics("colours").model_stats[0].inference_count

    triton.infer("colours", [tensor(pixels(RED, GREEN))])

    assert triton.get_inference_statistics("colours").model_stats[0].inference_count - before == 2


@pytest.mark.parametrize(
    ("name", "given", "options", "code", "message"),
    [
        ("unknown", tensor(pixels(RED)), {}, "NOT_FOUND", "there is no model 'unknown'"),
        ("colours", tensor(pixels(RED), name="a"), {}, "INVALID_ARGUMENT", "this model takes 'images'"),
        ("colours", tensor(pixels(RED)), {"priority": 10}, "INVALID_ARGUMENT", "`priority` is 10"),
        ("colours", tensor(pixels(RED)), {"sequence_id": 7}, "INVALID_ARGUMENT", "no state between requests"),
        ("colours", tensor(np.array([b"no image"], object), "BYTES"), {}, "INVALID_ARGUMENT", "element 0"),
        ("colours:1", tensor(pixels(RED)), {"model_version": "1"}, "INVALID_ARGUMENT", "give one"),
        ("colours", tensor(np.zeros((9000, 16, 16, 3), np.uint8)), {}, "RESOURCE_EXHAUSTED", "larger than max"),
    ],
)
def test_errors_have_their_codes(
    triton: client.InferenceServerClient,
    *,
    name: str,
    given: client.InferInput,
    options: dict[str, Any],
    code: str,
    message: str,
) -> None:
    with pytest.raises(InferenceServerException, match=message) as refused:
        triton.infer(name, [given], **options)

    assert refused.value.status() == f"StatusCode.{code}"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"raw": [b"\0" * 768, b""]}, "1 input and raw data for 2"),
        ({"raw": [b"\0" * 767]}, "767 bytes of binary data"),
        ({"shape": [1 << 62, 1 << 62]}, "more elements"),
        ({"shape": [-1, 16, 16, 3]}, "a dimension -1"),
        ({"datatype": "FP16"}, "comes as raw data alone"),
        ({"field": "fp32_contents", "values": [0.0] * 768}, "its values come in uint_contents"),
        ({"field": "uint_contents", "values": [1] * 767}, "767 values"),
        ({"field": "uint_contents", "values": [300] * 768}, "not from 0 to 255"),
    ],
)
def test_malformed_tensors_are_refused(address: str, changes: dict[str, Any], message: str) -> None:
    request = a_request()
    given = request.inputs.add(
        name="images", datatype=changes.get("datatype", "UINT8"), shape=changes.get("shape", [1, 16, 16, 3])
    )
    if "field" in changes:
        getattr(given.contents, changes["field"]).extend(changes["values"])
    request.raw_input_contents.extend(changes.get("raw", []))

    with pytest.raises(grpc.RpcError, match=message) as refused:
        sent(address, request)

    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_a_canceled_call_withdraws_its_examples(grpc_service: Service, address: str) -> None:
    request = a_request("slow")
    request.inputs.add(name="files", datatype="BYTES", shape=[200]).contents.bytes_contents.extend(
        [a_plain_image(RED)] * 200
    )
    gone = threading.Event()

    with grpc.insecure_channel(address) as channel:
        call = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer.future(request)
        call.add_done_callback(lambda _: gone.set())
        waited(lambda: grpc_service.context.sessions.waiting("images") > 0)
        call.cancel()

        assert gone.wait(30)
        waited(lambda: grpc_service.context.sessions.waiting("images") == 0)


def test_a_deadline_ends_a_call(address: str) -> None:
    request = a_request("slow")
    request.inputs.add(name="files", datatype="BYTES", shape=[200]).contents.bytes_contents.extend(
        [a_plain_image(RED)] * 200
    )

    with pytest.raises(grpc.RpcError) as ended, grpc.insecure_channel(address) as channel:
        service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=0.2)

    assert ended.value.code() in {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED}


def test_keys_come_as_metadata(tmp_path_factory: pytest.TempPathFactory) -> None:
    home = tmp_path_factory.mktemp("keys") / "home"
    settings = samples.quick_settings(home, grpc_port=a_free_port(), api_keys=f"ada:{KEY}")
    with running(settings), client.InferenceServerClient(f"127.0.0.1:{settings.grpc_port}") as triton:
        assert triton.is_server_live()
        assert len(triton.get_model_repository_index(headers=HEADERS).models) == 0
        assert len(triton.get_model_repository_index(headers={"x-api-key": KEY}).models) == 0
        for headers in ({}, {"authorization": "Bearer nonsense"}):
            with pytest.raises(InferenceServerException, match="API key") as refused:
                triton.get_model_repository_index(headers=headers)
            assert refused.value.status() == "StatusCode.UNAUTHENTICATED"


def test_a_call_without_a_key_is_refused_before_its_message_is_read(tmp_path: Path) -> None:
    settings = samples.quick_settings(tmp_path / "home", grpc_port=a_free_port(), api_keys=f"ada:{KEY}")
    forever = threading.Event()

    def no_message() -> Iterator[bytes]:
        forever.wait(60)
        yield b""

    with running(settings), grpc.insecure_channel(f"127.0.0.1:{settings.grpc_port}") as channel:
        call = channel.stream_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpc.RpcError) as refused:
            call(no_message(), timeout=30)
        forever.set()

    assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize(
    ("sent_bytes", "message"), [([b"\xff\xff"], "can't be read"), ([], "has no message")], ids=["unreadable", "none"]
)
def test_a_call_has_one_message_that_can_be_read(address: str, sent_bytes: list[bytes], message: str) -> None:
    with grpc.insecure_channel(address) as channel:
        call = channel.stream_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpc.RpcError, match=message) as refused:
            call(iter(sent_bytes), timeout=30)

    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(("given", "expected_id"), [("mine-1", "mine-1"), ("not well formed", "req_")])
@pytest.mark.parametrize("model", ["colours", "unknown"])
def test_a_call_has_the_request_id_of_its_client_or_a_new_one(
    address: str, given: str, expected_id: str, model: str
) -> None:
    request = service_pb2.ModelReadyRequest(name=model)
    infer = a_request(model)
    metadata = (("x-request-id", given),)

    with grpc.insecure_channel(address) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        answered = [
            stub.ModelReady.with_call(request, metadata=metadata, timeout=30)[1],
            refusal(lambda: stub.ModelInfer(infer, metadata=metadata, timeout=30)),
        ]

    for call in answered:
        assert dict(call.trailing_metadata())["x-request-id"].startswith(expected_id)


def test_calls_are_logged_and_counted_as_requests_are(
    grpc_service: Service, address: str, capfd: pytest.CaptureFixture[str]
) -> None:
    good = a_request()
    good.inputs.add(name="files", datatype="BYTES", shape=[1]).contents.bytes_contents.append(a_plain_image(RED))
    capfd.readouterr()

    with grpc.insecure_channel(address) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        answer = stub.ModelInfer(good, metadata=[("x-request-id", "good")], timeout=60)
        refusal(lambda: stub.ModelInfer(a_request("unknown"), metadata=[("x-request-id", "bad")], timeout=60))
        streamed = list(stub.ModelStreamInfer(iter([good, good]), metadata=[("x-request-id", "many")], timeout=60))

    lines = {line["request_id"]: line for line in access_lines(capfd)}
    infer, stream = (f"/inference.GRPCInferenceService/{name}" for name in ("ModelInfer", "ModelStreamInfer"))
    keys = ("method", "route", "status", "bytes", "model")
    assert {name: tuple(lines[name][key] for key in keys) for name in ("good", "bad", "many")} == {
        "good": ("POST", infer, 200, answer.ByteSize(), "colours:1/fp32"),
        "bad": ("POST", infer, 404, 0, None),
        "many": ("POST", stream, 200, sum(each.ByteSize() for each in streamed), "colours:1/fp32"),
    }
    counted = {
        (labels["route"], labels["status"]): count
        for labels, count in read(grpc_service)["espalier_requests_total"]
        if labels["route"] in {infer, stream}
    }
    assert counted[infer, "404"] >= 1
    assert counted[infer, "200"] >= 1
    assert counted[stream, "200"] >= 1


def refusal(call: Callable[[], Any]) -> Any:
    with pytest.raises(grpc.RpcError) as refused:
        call()
    return refused.value


def a_request(name: str = "colours") -> Any:
    return service_pb2.ModelInferRequest(model_name=name)


def sent(address: str, request: Any) -> Any:
    with grpc.insecure_channel(address) as channel:
        return service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=60)


def waited(met: Any, *, patience_s: float = 60) -> None:
    deadline = time.monotonic() + patience_s
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_port_that_is_taken_stops_the_start(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = samples.quick_settings(tmp_path / "home", grpc_port=port)
        databases.place(settings.database_url)

        with pytest.raises(PortUnavailable, match=f"127.0.0.1:{port}; set GRPC_PORT"):
            asyncio.run(started(settings))


async def started(settings: Settings) -> None:
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        pass
