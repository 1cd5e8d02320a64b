"""POST /predict under requests that ask for much: each is refused early, and leaves nothing behind."""

import io
import json
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from service.requests import bodies
from tests import samples
from tests.service.live_service import Service, a_plain_image, problem_of, running
from tests.service.onnx_files import write_colour_net
from tests.service.prediction_requests import A_LARGE_INPUT, RED, as_text, metric_of

FORM = "multipart/form-data; boundary=x"
FORM_FIELD = b'--x\r\nContent-Disposition: form-data; name="%b"\r\n\r\n'
FORM_FILE = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service of one lane with a small model, a slow one, and tight limits."""
    folder = tmp_path_factory.mktemp("limited")
    limits = {"bodies_max_bytes": 100_000, "predict_max_pixels": 1000, "inference_lanes": 1, "predict_timeout_s": 60}
    with running(samples.quick_settings(folder / "home", **limits)) as live:
        live.publish("colours", write_colour_net(folder / "net.onnx"))
        yield live


def wait_until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come true"
        time.sleep(0.01)


@contextmanager
def half_sent(service: Service, path: str, content_type: str, sent: bytes, *, length: int) -> Iterator[socket.socket]:
    """Send a request's head and the first bytes of its body, and keep the connection open."""
    url = httpx.URL(service.url)
    assert url.port is not None
    with socket.create_connection((url.host, url.port), timeout=30) as connection:
        head = f"POST {path} HTTP/1.1\r\nHost: {url.netloc.decode()}\r\nContent-Type: {content_type}\r\n"
        connection.sendall(f"{head}Content-Length: {length}\r\n\r\n".encode() + sent)
        yield connection


def answer_on(connection: socket.socket) -> tuple[int, dict[str, Any]]:
    """Return the status and the problem of the answer that comes."""
    received = b""
    while b"}" not in received:
        received += connection.recv(1 << 16)
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


@pytest.mark.parametrize(
    ("path", "content_type", "sent"),
    [
        ("/predict?model=nobody", "image/png", b""),
        ("/predict?model=nobody", FORM, b""),
        ("/predict", FORM, FORM_FIELD % b"model" + b"nobody\r\n" + FORM_FILE),
        ("/predict", "application/json", b' {"model" : "nobody@best", "inputs": ["AAAA'),
    ],
)
def test_the_body_for_a_model_that_is_not_there_is_not_read(
    limited: Service, path: str, content_type: str, sent: bytes
) -> None:
    with half_sent(limited, path, content_type, sent, length=60_000) as connection:
        status, problem = answer_on(connection)

    assert (status, problem["code"]) == (404, "model_not_found")
    wait_until(lambda: limited.context.bodies.held_bytes == 0)


@pytest.mark.parametrize(
    ("path", "content_type", "sent"),
    [
        ("/predict?model=colours", "image/png", b"x"),
        ("/predict?model=colours", FORM, FORM_FILE),
        ("/predict", "application/json", b'{"model": "colours", "inputs": ["AAAA'),
        ("/train", "application/json", b"{"),
    ],
)
def test_a_body_without_room_beside_the_others_is_asked_to_come_again(
    limited: Service, path: str, content_type: str, sent: bytes
) -> None:
    image = a_plain_image(RED, size=(20, 20))
    with half_sent(limited, path, content_type, sent, length=90_000):
        wait_until(lambda: limited.context.bodies.held_bytes == 90_000)

        refused = limited.http.post("/predict", json={"model": "colours", "inputs": ["A" * 20_000]})
        streamed = limited.http.post(
            "/predict?model=colours", content=iter([b"x" * 9_000] * 2), headers={"Content-Type": "image/png"}
        )
        small = limited.http.post("/predict", json={"model": "colours", "inputs": [as_text(image)]})

    for answer in (refused, streamed):
        problem_of(answer, 503, "bodies_overloaded")
        assert answer.headers["retry-after"] == "1"
    assert small.status_code == 200
    wait_until(lambda: limited.context.bodies.held_bytes == 0)


def test_a_body_that_is_alone_may_be_larger_than_what_all_may_take(limited: Service) -> None:
    answer = limited.http.post("/predict", json={"model": "colours", "inputs": ["A" * 200_000]})

    problem_of(answer, 422, "bad_input")
    assert limited.context.bodies.held_bytes == 0


def test_a_body_that_comes_too_slowly_is_given_up(limited: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "GRACE_S", 0.2)

    with half_sent(limited, "/predict?model=colours", "image/png", b"x", length=50_000) as connection:
        status, problem = answer_on(connection)

    assert (status, problem["code"]) == (408, "body_too_slow")
    wait_until(lambda: limited.context.bodies.held_bytes == 0)


def test_images_with_too_many_pixels_together_are_refused(limited: Service) -> None:
    image = as_text(a_plain_image(RED, size=(20, 20)))

    two = limited.http.post("/predict", json={"model": "colours", "inputs": [image] * 2})
    three = limited.http.post("/predict", json={"model": "colours", "inputs": [image] * 3})

    assert two.status_code == 200
    assert "1000 pixels" in problem_of(three, 413, "too_many_pixels")["detail"]


def test_what_is_not_answered_in_time_leaves_the_queue(tmp_path: Path) -> None:
    limits = {"inference_lanes": 1, "predict_timeout_s": 1}
    with running(samples.quick_settings(tmp_path / "home", **limits)) as service:
        service.publish("slow", write_colour_net(tmp_path / "slow.onnx", size=256, rounds=200), **A_LARGE_INPUT)
        image = as_text(a_plain_image(RED))

        answer = service.http.post("/predict", json={"model": "slow", "inputs": [image] * 250})

        assert "1 s" in problem_of(answer, 504, "predict_timeout")["detail"]
        assert metric_of(service, "espalier_waiting_images") == [0]
        assert metric_of(service, "espalier_predicted_images_total") == []
        assert service.context.bodies.held_bytes == 0


def test_more_than_may_wait_is_refused_at_once_and_told_when_to_come_again(tmp_path: Path) -> None:
    limits = {"inference_lanes": 1, "predict_queue": 2}
    with (
        running(samples.quick_settings(tmp_path / "home", **limits)) as service,
        ThreadPoolExecutor(8) as pool,
    ):
        service.publish("slow", write_colour_net(tmp_path / "slow.onnx", size=256, rounds=300), **A_LARGE_INPUT)
        body = {"model": "slow", "inputs": [as_text(a_plain_image(RED))]}
        assert service.http.post("/predict", json=body).status_code == 200

        answers = list(pool.map(lambda _: service.http.post("/predict", json=body), range(8)))

        refused = [answer for answer in answers if answer.status_code != 200]
        assert 1 <= len(refused) <= 6  # two wait at least
        for answer in refused:
            assert "2" in problem_of(answer, 429, "overloaded")["detail"]
            assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.parametrize(
    ("body", "key"),
    [
        (b'{"model": "nobody", "inputs": [], "model": "colours"}', "model"),
        (b'{"model": "colours", "inputs": ["aGk="], "inputs": ["aGk="]}', "inputs"),
        (b'{"model": "colours", "inputs": ["aGk="], "top_k": 1, "top\\u005fk": 1}', "top_k"),
        (b'{"model": "colours", "inputs": ["aGk="], "x": {"a": "\\"", "a": 2}}', "a"),
    ],
)
def test_a_key_that_stands_twice_is_refused(limited: Service, body: bytes, key: str) -> None:
    answer = limited.http.post("/predict", content=body, headers={"Content-Type": "application/json"})

    assert repr(key) in problem_of(answer, 400, "malformed_request")["detail"]


def test_a_quote_inside_of_a_string_is_no_second_key(limited: Service) -> None:
    body = b'{"model": "col\\"ours", "inputs": ["aGk="]}'

    answer = limited.http.post("/predict", content=body, headers={"Content-Type": "application/json"})

    problem_of(answer, 404, "model_not_found")


@pytest.mark.parametrize("values", [b"[],", b"{},", b"1,", b'{"a":['])
def test_a_large_body_of_countless_values_is_refused_before_they_are_made(limited: Service, values: bytes) -> None:
    body = b'{"model": "colours", "inputs": [' + values * 500_000 + b"0]}"

    answer = limited.http.post("/predict", content=body, headers={"Content-Type": "application/json"})

    assert problem_of(answer, 422, "invalid_body")["errors"][0]["code"] == "too_many_inputs"


def test_a_form_may_name_its_model_in_the_query_or_in_a_field_but_not_in_both(limited: Service) -> None:
    files = {"files": a_plain_image(RED)}

    by_query = limited.http.post("/predict?model=colours&top_k=1", files=files)
    by_both = limited.http.post("/predict?model=colours", data={"model": "colours"}, files=files)

    assert len(by_query.json()["predictions"][0]["top"]) == 1
    problem_of(by_both, 400, "bad_multipart")


def test_the_service_is_alive_while_large_images_are_decoded(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (6000, 6000)).save(buffer, "PNG")
    with (
        running(samples.quick_settings(tmp_path / "home", inference_lanes=1)) as service,
        ThreadPoolExecutor(1) as pool,
        httpx.Client(base_url=service.url) as other,
    ):
        service.publish("colours", write_colour_net(tmp_path / "net.onnx"))
        large = {"model": "colours", "inputs": [as_text(buffer.getvalue())] * 4}

        predicting = pool.submit(service.http.post, "/predict", json=large)
        alive = []
        while not predicting.done():
            alive.append(other.get("/health/live").status_code)

    assert predicting.result().status_code == 200
    assert set(alive) == {200}
    assert len(alive) >= 5
