"""The public client of the protocol, over HTTP, against a real service."""

import base64
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tritonclient.http as client
from tritonclient.utils import InferenceServerException

from tests.service import onnx_files
from tests.service.live_service import Service, a_plain_image
from tests.service.prediction_requests import BLUE, GREEN, RED

COLOURS = (RED, GREEN, BLUE)


@pytest.fixture(scope="module")
def triton(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[client.InferenceServerClient]:
    folder = tmp_path_factory.mktemp("nets")
    service.publish("colours", onnx_files.write_colour_net(folder / "a.onnx"), variants=("fp32", "int8"))
    service.publish("colours", onnx_files.write_colour_net(folder / "b.onnx", shift=0.5))
    number = onnx_files.write_colour_net(folder / "c.onnx", outputs=1, activation="Identity")
    service.publish("brightness", number, task="image_regression", labels=[])
    with client.InferenceServerClient(service.url.removeprefix("http://")) as connected:
        yield connected


def pixels(*colours: tuple[int, int, int]) -> np.ndarray:
    return np.stack([np.full((16, 16, 3), colour, np.uint8) for colour in colours])


def tensor(
    values: np.ndarray, datatype: str = "UINT8", *, name: str = "images", binary: bool = True
) -> client.InferInput:
    made = client.InferInput(name, list(values.shape), datatype)
    made.set_data_from_numpy(values, binary_data=binary)
    return made


def expected(*colours: tuple[int, int, int]) -> list[list[float]]:
    return [onnx_files.expected_probabilities(colour) for colour in colours]


def test_the_server_is_alive_ready_and_described(triton: client.InferenceServerClient) -> None:
    metadata = triton.get_server_metadata()

    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert metadata["name"] == "espalier"
    assert "binary_tensor_data" in metadata["extensions"]


def test_a_model_is_described_by_its_tensors(triton: client.InferenceServerClient) -> None:
    metadata = triton.get_model_metadata("colours")

    assert metadata["versions"] == ["1", "2"]
    assert metadata["inputs"] == [{"name": "images", "datatype": "UINT8", "shape": [-1, 16, 16, 3]}]
    assert metadata["outputs"] == [{"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]}]


@pytest.mark.parametrize("name", ["colours", "colours:1", "colours/fp32", "colours:1/int8"])
def test_references_name_models(triton: client.InferenceServerClient, name: str) -> None:
    assert triton.is_model_ready(name)
    assert triton.get_model_metadata(name)["name"] == "colours"


def test_a_version_may_have_its_own_place_in_the_path(triton: client.InferenceServerClient) -> None:
    first = triton.infer("colours", [tensor(pixels(RED))], model_version="1")
    of_variant = triton.get_model_metadata("colours/int8", "1")

    assert first.get_response()["model_version"] == "1"
    assert of_variant["properties"]["variant"] == "int8"
    assert triton.is_model_ready("colours", "2")
    assert not triton.is_model_ready("colours", "3")
    assert not triton.is_model_ready("colours", "x")
    assert not triton.is_model_ready("unknown")


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False, None])
def test_tensors_come_and_go_as_json_and_as_binary_data(
    triton: client.InferenceServerClient, *, binary_in: bool, binary_out: bool | None
) -> None:
    outputs = None if binary_out is None else [client.InferRequestedOutput("probabilities", binary_data=binary_out)]

    result = triton.infer("colours:1", [tensor(pixels(*COLOURS), binary=binary_in)], outputs=outputs, request_id="mine")

    assert np.allclose(result.as_numpy("probabilities"), expected(*COLOURS), atol=1e-5)
    assert result.get_response()["id"] == "mine"
    assert result.get_response()["parameters"] == {"variant": "fp32", "provider": "CPUExecutionProvider"}


@pytest.mark.parametrize("shape", [[3], [3, 1]])
def test_encoded_examples_come_as_bytes(triton: client.InferenceServerClient, shape: list[int]) -> None:
    files = np.array([a_plain_image(colour) for colour in COLOURS], object).reshape(shape)

    result = triton.infer("colours:1", [tensor(files, "BYTES", name="files")])

    assert np.allclose(result.as_numpy("probabilities"), expected(*COLOURS), atol=1e-4)


def test_encoded_examples_come_as_text_of_json_too(triton: client.InferenceServerClient) -> None:
    texts = np.array([base64.b64encode(a_plain_image(RED))], object)

    result = triton.infer("colours:1", [tensor(texts, "BYTES", name="files", binary=False)])

    assert np.allclose(result.as_numpy("probabilities"), expected(RED), atol=1e-4)


@pytest.mark.parametrize("binary", [True, False])
def test_classification_names_the_likeliest(triton: client.InferenceServerClient, *, binary: bool) -> None:
    wanted = client.InferRequestedOutput("probabilities", binary_data=binary, class_count=2)

    result = triton.infer("colours:1", [tensor(pixels(GREEN, BLUE))], outputs=[wanted])

    named = [[text.decode() if binary else text for text in row] for row in result.as_numpy("probabilities")]
    assert [row[0].split(":")[1:] for row in named] == [["1", "green"], ["2", "blue"]]
    assert [len(row) for row in named] == [2, 2]
    assert float(named[0][0].split(":")[0]) == pytest.approx(expected(GREEN)[0][1], abs=1e-5)


def test_a_number_is_a_value_and_has_no_label(triton: client.InferenceServerClient) -> None:
    wanted = client.InferRequestedOutput("values", class_count=1)

    value = triton.infer("brightness", [tensor(pixels(RED))]).as_numpy("values")
    named = triton.infer("brightness", [tensor(pixels(RED))], outputs=[wanted]).as_numpy("values")

    assert value == pytest.approx(np.array([[12.5]]), abs=1e-4)
    assert named.tolist() == [[b"12.500000:0"]]


def test_versions_that_share_a_file_have_names_of_their_own(
    triton: client.InferenceServerClient, service: Service, tmp_path: Path
) -> None:
    for labels in (list(onnx_files.LABELS), ["rot", "gruen", "blau"]):
        net = onnx_files.write_colour_net(tmp_path / "colours.onnx", shift=0.25)
        service.publish("words", net, labels=labels)
    wanted = client.InferRequestedOutput("probabilities", class_count=1)

    named = [
        triton.infer(f"words:{version}", [tensor(pixels(RED))], outputs=[wanted]).as_numpy("probabilities")[0, 0]
        for version in (1, 2)
    ]

    assert [name.split(b":")[2] for name in named] == [b"red", b"rot"]


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_bodies_are_compressed_both_ways(triton: client.InferenceServerClient, algorithm: str) -> None:
    many = pixels(*COLOURS * 40)

    result = triton.infer(
        "colours:1", [tensor(many)], request_compression_algorithm=algorithm, response_compression_algorithm=algorithm
    )

    assert np.allclose(result.as_numpy("probabilities"), expected(*COLOURS * 40), atol=1e-5)


def test_priority_and_timeout_are_taken(triton: client.InferenceServerClient) -> None:
    result = triton.infer("colours:1", [tensor(pixels(RED))], priority=9, timeout=20_000_000)

    assert result.as_numpy("probabilities").shape == (1, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"priority": 10}, "`priority` is 10"),
        ({"timeout": -1}, "`timeout` is -1"),
        ({"sequence_id": 7}, "no state between requests"),
        ({"parameters": {"temperature": 1}}, "has a parameter 'temperature'"),
        ({"outputs": [client.InferRequestedOutput("logits")]}, "this model has 'probabilities'"),
    ],
)
def test_what_can_not_be_meant_is_refused(
    triton: client.InferenceServerClient, options: dict[str, object], message: str
) -> None:
    with pytest.raises(InferenceServerException, match=message) as refused:
        triton.infer("colours:1", [tensor(pixels(RED))], **options)

    assert refused.value.status() == "400"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (tensor(pixels(RED), name="pictures"), "this model takes 'images'"),
        (tensor(np.zeros((1, 8, 8, 3), np.uint8)), r"has the shape \[1, 8, 8, 3\]"),
        (tensor(np.zeros((0, 16, 16, 3), np.uint8)), "0 images; from 1 to 256"),
        (tensor(np.zeros((1, 16, 16, 3), np.float32), "FP32"), "is FP32; the model takes UINT8"),
        (tensor(np.array([b"no image"], object), "BYTES"), "input 'images', element 0"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(
    triton: client.InferenceServerClient, given: client.InferInput, message: str
) -> None:
    with pytest.raises(InferenceServerException, match=message) as refused:
        triton.infer("colours:1", [given])

    assert refused.value.status() == "400"


def test_an_unknown_model_is_not_found(triton: client.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="there is no model 'unknown'") as refused:
        triton.infer("unknown", [tensor(pixels(RED))])

    assert refused.value.status() == "404"


def test_the_repository_lists_loads_and_unloads(triton: client.InferenceServerClient, service: Service) -> None:
    listed = {(each["name"], each["version"]): each["state"] for each in triton.get_model_repository_index()}

    triton.load_model("colours:2")
    loaded = service.context.sessions.files
    triton.unload_model("colours:2")
    left = service.context.sessions.files

    assert {("colours", "1"), ("colours", "2"), ("brightness", "1")} <= listed.keys()
    assert set(listed.values()) == {"READY"}
    assert len(loaded - left) == 1
    assert triton.infer("colours:2", [tensor(pixels(RED))]).as_numpy("probabilities").shape == (1, 3)


def test_a_model_can_not_be_replaced_by_loading_it(triton: client.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="a model is what it was published as"):
        triton.load_model("colours", config="{}")


def test_the_configuration_has_the_tensors_of_one_example(triton: client.InferenceServerClient) -> None:
    config = triton.get_model_config("colours", "1")

    assert config["input"] == [{"name": "images", "data_type": "TYPE_UINT8", "dims": [16, 16, 3]}]
    assert config["output"] == [{"name": "probabilities", "data_type": "TYPE_FP32", "dims": [3]}]
    assert config["max_batch_size"] > 1


def test_statistics_count_examples_and_refusals(triton: client.InferenceServerClient) -> None:
    before = triton.get_inference_statistics("colours", "2")["model_stats"][0]

    triton.infer("colours:2", [tensor(pixels(RED, GREEN))])
    with pytest.raises(InferenceServerException):
        triton.infer("colours:2", [tensor(np.array([b"no image"], object), "BYTES")])
    after = triton.get_inference_statistics("colours", "2")["model_stats"][0]

    assert after["inference_count"] - before["inference_count"] == 2
    assert after["execution_count"] > before["execution_count"]
    assert after["inference_stats"]["fail"]["count"] - before["inference_stats"]["fail"]["count"] == 1
    assert after["inference_stats"]["compute_infer"]["ns"] > before["inference_stats"]["compute_infer"]["ns"]
    assert [each["version"] for each in triton.get_inference_statistics()["model_stats"] if each["name"] == "colours"]
