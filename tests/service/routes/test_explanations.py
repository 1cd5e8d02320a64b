"""Explained predictions over HTTP, by a net that looks at the mean colour."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.pooled_net import a_bright_square, write_net
from tests.service.live_service import Service, a_plain_image, problem_of
from tests.service.onnx_files import write_colour_net


@pytest.fixture(scope="module", autouse=True)
def colours(service: Service, tmp_path_factory: pytest.TempPathFactory) -> None:
    service.publish("colours", write_colour_net(tmp_path_factory.mktemp("onnx") / "net.onnx"))


def a_red_corner() -> bytes:
    """Return a grey PNG whose upper left quarter is red."""
    pixels = np.full((16, 16, 3), 60, np.uint8)
    pixels[:8, :8] = (255, 0, 0)
    return as_png(pixels)


def as_png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def as_text(image: bytes) -> str:
    return base64.b64encode(image).decode()


def asked(service: Service, **body: Any) -> dict[str, Any]:
    request = {"model": "colours", "inputs": [as_text(a_red_corner())]} | body
    return dict(service.http.post("/predict", json=request).raise_for_status().json())


def test_an_explanation_comes_with_the_same_answer_and_is_hot_where_it_depends_on_the_example(service: Service) -> None:
    plain = asked(service)["predictions"][0]
    explained = asked(service, explain=True)["predictions"][0]

    explanation = explained.pop("explanation")
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(explanation["heat_map"])))).astype(int)
    heat = picture.max(axis=2) - picture.min(axis=2)
    middle = len(picture) // 2
    assert explained == plain
    assert (explained["label"], explanation["method"], explanation["runs"]) == ("red", "occlusion", 64)
    assert 0 < explanation["largest_loss"] < explained["probability"]
    assert heat[: middle // 2, : middle // 2].mean() > 10 * heat[-middle // 2 :, -middle // 2 :].mean()


def test_forms_and_raw_bodies_ask_for_it_too(service: Service) -> None:
    image = a_red_corner()

    form = service.http.post("/predict", data={"model": "colours", "explain": "true"}, files={"files": image})
    raw = [
        service.http.post("/predict?model=colours&explain=true", content=image, headers={"Content-Type": "image/png"})
        for _ in range(2)
    ]  # the second one by the hot lane

    (expected,) = asked(service, explain=True)["predictions"]
    for answer in (form, *raw):
        assert answer.raise_for_status().json()["predictions"] == [expected]


def test_several_are_explained_each_by_itself_and_no_more_than_four(service: Service) -> None:
    images = [as_text(a_red_corner()), as_text(a_plain_image((0, 0, 250)))]

    found = asked(service, inputs=images, explain=True)["predictions"]
    many = service.http.post("/predict", json={"model": "colours", "inputs": images[:1] * 5, "explain": True})

    assert [each["label"] for each in found] == ["red", "blue"]
    assert found[0]["explanation"]["heat_map"] != found[1]["explanation"]["heat_map"]
    assert found[1]["explanation"]["largest_loss"] == pytest.approx(0, abs=1e-6)
    problem = problem_of(many, 422, "too_many_to_explain")
    assert "at most 4" in problem["detail"]


def test_what_cannot_be_decoded_is_refused_as_ever(service: Service) -> None:
    request = {"model": "colours", "inputs": [as_text(b"no image")], "explain": True}

    problem = problem_of(service.http.post("/predict", json=request), 422, "bad_input")

    assert problem["errors"][0]["pointer"] == "/inputs/0"


def test_numbers_are_explained_too(service: Service, tmp_path: Path) -> None:
    net = write_colour_net(tmp_path / "net.onnx", name="numbers", activation="Identity", outputs=1)
    service.publish("number", net, task="image_regression", labels=[])

    (found,) = asked(service, model="number", explain=True)["predictions"]

    assert found["explanation"]["largest_loss"] > 0


def test_a_net_of_a_mean_and_a_linear_layer_explains_itself_in_one_run(service: Service, tmp_path: Path) -> None:
    net = write_net(tmp_path / "pooled.onnx")
    service.publish("pooled", net, labels=["bright", "second", "third"])
    image = as_text(as_png(a_bright_square()[0]))

    (found,) = asked(service, model="pooled", inputs=[image], explain=True)["predictions"]
    (copies,) = asked(service, model="pooled", inputs=[image], explain=True, explanation_method="occlusion")[
        "predictions"
    ]

    own, other = found["explanation"], copies["explanation"]
    assert (own["method"], own["runs"]) == ("class_activation", 1)
    assert (other["method"], other["runs"]) == ("occlusion", 64)
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(own["heat_map"])))).astype(int)
    heat = picture.max(axis=2) - picture.min(axis=2)
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    scale = len(picture) // 16
    assert 9 <= row / scale < 15
    assert 1 <= column / scale < 7
    assert own["largest_loss"] > 0


def test_a_method_that_the_file_does_not_offer_is_refused(service: Service) -> None:
    request = {"model": "colours", "inputs": [as_text(a_red_corner())], "explain": True}

    for method in ("class_activation", "leave_one_out"):
        answer = service.http.post("/predict", json=request | {"explanation_method": method})
        problem = problem_of(answer, 422, "not_explained")
        assert problem["errors"][0]["pointer"] == "/explanation_method"
        assert "occlusion" in problem["detail"]
