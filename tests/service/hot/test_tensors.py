"""Tensors of the Open Inference Protocol behind known heads: the same answers as the first request's."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from service.hot.lane import HotLane
from tests import samples
from tests.service.live_service import Service, running
from tests.service.onnx_files import expected_probabilities, write_colour_net
from tests.service.prediction_requests import metric_of

COLOURS = [(250, 5, 5), (5, 250, 5), (90, 60, 30)]
PATHS = ["/v2/models/colours/infer", "/v2/models/colours/versions/1/infer"]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with one model."""
    folder = tmp_path_factory.mktemp("tensors")
    with running(samples.quick_settings(folder / "home")) as live:
        live.publish("colours", write_colour_net(folder / "net.onnx"))
        yield live


@pytest.fixture
def hot(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the templates of what the hot lane answers."""
    found: list[str] = []
    answer = HotLane.answer

    async def noted(lane: HotLane, known: Any, *given: Any) -> Any:
        found.append(known.route.template)
        return await answer(lane, known, *given)

    monkeypatch.setattr(HotLane, "answer", noted)
    return found


def tensor_of(colour: tuple[int, int, int]) -> bytes:
    return np.full((16, 16, 3), colour, np.uint8).tobytes()


@pytest.mark.parametrize("path", PATHS)
def test_raw_tensors_behind_a_known_head_are_answered(service: Service, hot: list[str], path: str) -> None:
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": "0"}
    found = []
    for colour in COLOURS:
        answer = service.http.post(path, content=tensor_of(colour), headers=headers)
        length = int(answer.headers["inference-header-content-length"])
        assert json.loads(answer.content[:length])["outputs"][0]["shape"] == [1, 3]
        found.append(np.frombuffer(answer.content[length:], np.float32))

    expected = [expected_probabilities(colour) for colour in COLOURS]
    assert np.allclose(found, expected, atol=1e-5)
    assert len(hot) == 2


@pytest.mark.parametrize("path", PATHS)
def test_json_and_binary_data_together(service: Service, hot: list[str], path: str) -> None:
    described = {
        "name": "images",
        "datatype": "UINT8",
        "shape": [1, 16, 16, 3],
        "parameters": {"binary_data_size": 768},
    }
    text = json.dumps({"inputs": [described]}).encode()
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(text))}

    answers = [service.http.post(path, content=text + tensor_of(colour), headers=headers) for colour in COLOURS]

    expected = [expected_probabilities(colour) for colour in COLOURS]
    assert np.allclose([answer.json()["outputs"][0]["data"] for answer in answers], expected, atol=1e-5)
    assert {answer.headers["content-type"] for answer in answers} == {"application/json"}
    assert len(hot) == 2


def test_an_error_behind_a_known_head_has_the_protocols_form(service: Service, hot: list[str]) -> None:
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": "0", "X-Try": "error"}
    fresh = service.http.post(PATHS[0], content=b"ab", headers=headers)
    assert service.http.post(PATHS[0], content=tensor_of(COLOURS[0]), headers=headers).status_code == 200
    assert hot == []

    known = service.http.post(PATHS[0], content=b"ab", headers=headers)

    assert (known.status_code, known.json(), len(hot)) == (fresh.status_code, fresh.json(), 1)
    assert known.status_code == 400
    assert list(known.json()) == ["error"]


def test_requests_are_counted_by_the_documented_route(service: Service) -> None:
    name = 'espalier_requests_total{method="POST",route="/v2/models/{model:reference}/infer",status="200"}'
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": "0", "X-Try": "count"}
    for _ in range(3):
        assert service.http.post(PATHS[0], content=tensor_of(COLOURS[0]), headers=headers).status_code == 200
    before = metric_of(service, name)[0]

    for _ in range(5):
        service.http.post(PATHS[0], content=tensor_of(COLOURS[0]), headers=headers)

    assert len([line for line in service.http.get("/metrics").text.splitlines() if line.startswith(name)]) == 1
    assert metric_of(service, name)[0] - before == 5
