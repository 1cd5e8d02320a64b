"""Bodies of the protocol over HTTP that public clients don't send, and what becomes of bad ones."""

import json
import struct
import tracemalloc
from typing import Any

import httpx
import numpy as np
import pytest

from service.protocol import tensors
from service.protocol.errors import ProtocolError
from tests.service import onnx_files
from tests.service.live_service import Service, a_plain_image
from tests.service.prediction_requests import BLUE, RED

HEADER = "Inference-Header-Content-Length"
IMAGE = np.full((1, 16, 16, 3), RED, np.uint8)
INFER = "/v2/models/colours/infer"


@pytest.fixture(scope="module", autouse=True)
def _colours(service: Service, tmp_path_factory: pytest.TempPathFactory) -> None:
    service.publish("colours", onnx_files.write_colour_net(tmp_path_factory.mktemp("nets") / "colours.onnx"))


def an_input(**changes: Any) -> dict[str, Any]:
    given = {"name": "images", "datatype": "UINT8", "shape": [1, 16, 16, 3], "data": IMAGE.ravel().tolist()}
    return {name: value for name, value in (given | changes).items() if value is not None}


def a_binary_body(
    document: dict[str, Any], data: bytes, *, length: int | str | None = None
) -> tuple[bytes, dict[str, str]]:
    text = json.dumps(document).encode()
    return text + data, {HEADER: str(len(text) if length is None else length)}


def outputs_of(answer: httpx.Response) -> Any:
    answer.raise_for_status()
    assert HEADER not in answer.headers
    return answer.json()["outputs"][0]


def error_of(answer: httpx.Response, status: int = 400) -> str:
    assert answer.status_code == status, answer.text
    assert answer.json().keys() == {"error"}
    return str(answer.json()["error"])


@pytest.mark.parametrize("data", [IMAGE.tolist(), IMAGE.ravel().tolist()])
def test_data_is_nested_or_flat(service: Service, data: list[Any]) -> None:
    output = outputs_of(service.http.post(INFER, json={"inputs": [an_input(data=data)]}))

    assert (output["datatype"], output["shape"]) == ("FP32", [1, 3])
    assert np.allclose(output["data"], onnx_files.expected_probabilities(RED), atol=1e-5)


def test_a_body_of_data_alone_has_as_many_examples_as_fit(service: Service) -> None:
    body = np.concatenate([IMAGE, np.full_like(IMAGE, BLUE)]).tobytes()

    answer = service.http.post(INFER, content=body, headers={HEADER: "0"}).raise_for_status()

    length = int(answer.headers[HEADER])
    described = json.loads(answer.content[:length])["outputs"][0]
    rows = np.frombuffer(answer.content[length:], "<f4").reshape(described["shape"])
    assert described["parameters"] == {"binary_data_size": 24}
    assert np.allclose(rows, [onnx_files.expected_probabilities(each) for each in (RED, BLUE)], atol=1e-5)


def test_a_body_with_the_type_of_a_file_is_one_example(service: Service) -> None:
    headers = {HEADER: "0", "Content-Type": "image/png"}

    answer = service.http.post(INFER, content=a_plain_image(RED), headers=headers).raise_for_status()

    rows = np.frombuffer(answer.content[int(answer.headers[HEADER]) :], "<f4")
    assert np.allclose(rows, onnx_files.expected_probabilities(RED), atol=1e-4)


def test_a_model_may_be_named_with_an_escaped_slash(service: Service) -> None:
    answer = service.http.post("/v2/models/colours%3A1%2Ffp32/infer", json={"inputs": [an_input()]})

    assert outputs_of(answer)["name"] == "probabilities"


def test_a_body_needs_no_content_type(service: Service) -> None:
    answer = service.http.post(INFER, content=json.dumps({"inputs": [an_input()]}).encode())

    assert "content-type" not in answer.request.headers
    assert outputs_of(answer)["shape"] == [1, 3]


@pytest.mark.parametrize("data", [[0] * 1000 + ["x" * 10_000], [[0, 1]] * 500 + [[0, "x" * 10_000]]])
def test_a_text_among_numbers_takes_no_more_memory_than_itself(data: list[Any]) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError, match="a value that is no number"):
            tensors.of_json("images", "UINT8", [1, 16, 16, 3], data)
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert most_bytes < 1_000_000  # as an array of texts it takes 40 MB


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (an_input(shape=[1, 16, 16]), "768 values; its shape [1, 16, 16] has 256"),
        (an_input(shape=[1 << 40, 1 << 40]), "more elements"),
        (an_input(shape=[-1, 16, 16, 3]), "a dimension -1"),
        (an_input(shape=[True]), "a dimension True"),
        (an_input(shape="1"), "no usable `shape`"),
        (an_input(shape=None), "no usable `shape`"),
        (an_input(data=None), "has no `data`"),
        (an_input(data=[256] * 768), "not from 0 to 255, as UINT8 is"),
        (an_input(data=[0.5] * 768), "a value of another kind"),
        (an_input(data=["0"] * 768), "a value that is no number"),
        (an_input(data=[[0] * 3, [0] * 765]), "ragged"),
        (an_input(data=np.zeros((16, 16, 3, 1), int).tolist()), "nested as [16, 16, 3, 1]"),
        (an_input(datatype="UINT7"), "there are BOOL, UINT8"),
        (an_input(datatype="BF16"), "which JSON can't carry"),
        (an_input(name=7), "an object with a `name`"),
        (an_input(datatype="BYTES", shape=[2, 2], data=["a"] * 4), "come as [N] or [N, 1]"),
        (an_input(datatype="BYTES", shape=[1], data=[1]), "a value that is no string"),
        (an_input(datatype="BYTES", shape=[1], data=["nonsense!"]), "input 'images', element 0"),
        (an_input(parameters={"binary_data_size": 768}), "the body has 0 bytes left for it"),
        (an_input(parameters={"content_type": "np"}), "has a parameter 'content_type'"),
    ],
)
def test_a_tensor_of_json_is_checked(service: Service, given: dict[str, Any], message: str) -> None:
    assert message in error_of(service.http.post(INFER, json={"inputs": [given]}))


@pytest.mark.parametrize(
    ("datatype", "shape", "data", "message"),
    [
        ("UINT8", [1, 16, 16, 3], b"\0" * 767, "has 767 bytes of binary data; UINT8 of shape [1, 16, 16, 3] has 768"),
        ("FP32", [2, 2], b"\0" * 15, "FP32 of shape [2, 2] has 16"),
        ("BOOL", [2], b"\0\2", "a byte that is neither 0 nor 1"),
        ("BYTES", [1], struct.pack("<I", 5) + b"abc", "has 5 bytes by its length, and 3 are left"),
        ("BYTES", [1], struct.pack("<I", 2) + b"abc", "1 element of BYTES and 1 byte more; its shape has 1"),
        ("BYTES", [2], struct.pack("<I", 3) + b"abc", "1 element of BYTES; its shape has 2"),
        ("BYTES", [1 << 30], b"", "0 elements of BYTES"),
    ],
)
def test_binary_data_is_checked(service: Service, datatype: str, shape: list[int], data: bytes, message: str) -> None:
    given = an_input(datatype=datatype, shape=shape, data=None, parameters={"binary_data_size": len(data)})

    body, headers = a_binary_body({"inputs": [given]}, data)

    assert message in error_of(service.http.post(INFER, content=body, headers=headers))


@pytest.mark.parametrize(
    ("length", "data", "message"),
    [
        (None, b"\0" * 769, "1 byte of the body are left"),
        (100_000, b"\0" * 768, "Inference-Header-Content-Length is '100000'"),
        ("-1", b"\0" * 768, "Inference-Header-Content-Length is '-1'"),
        (10, b"\0" * 768, "the body is not JSON"),
    ],
)
def test_the_length_of_the_json_is_checked(
    service: Service, length: int | str | None, data: bytes, message: str
) -> None:
    document = {"inputs": [an_input(data=None, parameters={"binary_data_size": 768})]}

    body, headers = a_binary_body(document, data, length=length)

    assert message in error_of(service.http.post(INFER, content=body, headers=headers))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the body is not JSON"),
        (b"[]", "not a JSON object"),
        (b"[" * 2000, "the body is not JSON"),
        (b"{}", "the request has no `inputs`"),
        (b'{"inputs": 1}', "`inputs` is a list"),
        (b'{"inputs": []}', "the request has no inputs"),
        (b'{"inputs": [], "sequence": 1}', "has a key 'sequence'"),
        (b'{"inputs": [], "id": 1}', "`id` is a string"),
        (b'{"inputs": [], "parameters": []}', "are an object"),
        (b'{"inputs": [], "parameters": {"binary_data_output": 1}}', "`binary_data_output` is true or false"),
        (b'{"inputs": [], "outputs": [{"name": "a", "parameters": {"classification": 0}}]}', "`classification`"),
        (b"0," * 4_000_001, "more than 4000000 values"),
    ],
)
def test_a_request_is_checked(service: Service, body: bytes, message: str) -> None:
    assert message in error_of(service.http.post(INFER, content=body))


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/nothing", 404),
        ("GET", INFER, 405),
        ("POST", "/v2/health/live", 405),
        ("GET", "/v2/models/colours?verbose=1", 400),
        ("GET", "/v2/models/a/b/c/d", 404),
        ("GET", "/v2/models/..%2f..%2fetc", 404),
        ("GET", "/v2/models/colours/versions/0", 400),
        ("GET", "/v2/models/colours:1/versions/1", 400),
        ("POST", "/v2/repository/models/unknown/load", 404),
    ],
)
def test_every_error_has_the_form_of_the_protocol(service: Service, method: str, path: str, status: int) -> None:
    assert error_of(service.http.request(method, path), status)


def test_a_body_of_another_type_is_refused_in_the_form_of_the_protocol(service: Service) -> None:
    answer = service.http.post(INFER, content=b"{}", headers={"Content-Type": "application/xml"})

    assert "application/xml" in error_of(answer, 415)


def test_requests_behind_a_known_head_are_answered_as_the_first_one(service: Service) -> None:
    body, headers = a_binary_body(
        {"inputs": [an_input(data=None, parameters={"binary_data_size": 768})]}, IMAGE.tobytes()
    )
    bad = body.replace(b'"images"', b'"pixels"')

    first, known, refused, after = (
        service.http.post(INFER, content=each, headers=headers) for each in (body, body, bad, body)
    )

    assert outputs_of(first) == outputs_of(known) == outputs_of(after)
    assert "this model takes 'images'" in error_of(refused)
    shown = service.http.get("/metrics").text
    assert 'route="/v2/models/{model:reference}/infer",status="400"' in shown


def test_a_refusal_by_the_connection_has_the_form_of_the_protocol(service: Service) -> None:
    answer = service.http.get("/v2/models/colours", headers={"X-Long": "a" * 70_000})

    assert "headers" in error_of(answer, 431)
