"""Requests with known heads get the same answers, in every way that a client may send them."""

import io
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.hot.connection import MOMENT_S
from service.hot.lane import HotLane
from tests import samples
from tests.service.live_service import Service, a_plain_image, problem_of, running
from tests.service.onnx_files import write_colour_net
from tests.service.prediction_requests import A_LARGE_INPUT, BLUE, GREEN, RED, as_text, metric_of

KEYS = {"ada": "key-of-ada-0123456789", "local": "key-of-local-0123456789"}
RAW = "/predict?model=colours&top_k=2"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with keys and one model."""
    folder = tmp_path_factory.mktemp("hot")
    keys = ",".join(f"{owner}:{key}" for owner, key in KEYS.items())
    limits = {"predict_max_bytes": 20_000, "predict_max_inputs": 3}
    with running(samples.quick_settings(folder / "home", api_keys=keys, **limits)) as live:
        live.http.headers["X-API-Key"] = KEYS["local"]
        live.publish("colours", write_colour_net(folder / "net.onnx"))
        yield live


class Answers:
    """Answers of the hot lane, which a test counts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        answer = HotLane.answer

        async def counted(lane: HotLane, *given: Any) -> Any:
            self.count += 1
            return await answer(lane, *given)

        monkeypatch.setattr(HotLane, "answer", counted)


@pytest.fixture
def hot(monkeypatch: pytest.MonkeyPatch) -> Answers:
    """Count what the hot lane answers."""
    return Answers(monkeypatch)


class Unclosed(io.BufferedReader):
    """What HTTPResponse reads and closes; the next answer is read from it too."""

    def close(self) -> None:
        pass


class Client:
    """A connection on which requests are sent in one packet each, with the same head but for its length."""

    def __init__(self, service: Service, *, path: str = RAW, kind: str = "image/png", **headers: str) -> None:
        host, _, port = service.url.removeprefix("http://").partition(":")
        self.opened = socket.create_connection((host, int(port)), timeout=30)
        self._answers = Unclosed(socket.SocketIO(self.opened, "r"))
        given = {"Host": f"{host}:{port}", "Content_Type": kind, "X_API_Key": KEYS["local"]} | headers
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in given.items() if value)
        self._start = f"POST {path} HTTP/1.1\r\n{lines}".encode()

    def makefile(self, _mode: str) -> Unclosed:
        return self._answers

    def request(self, body: bytes) -> bytes:
        return self._start + b"Content-Length: %d\r\n\r\n" % len(body) + body

    def ask(self, body: bytes) -> tuple[int, dict[str, str], Any]:
        self.opened.sendall(self.request(body))
        return self.answer()

    def answer(self) -> tuple[int, dict[str, str], Any]:
        response = HTTPResponse(self)  # it asks for makefile alone
        response.begin()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()


@contextmanager
def client(service: Service, **given: Any) -> Iterator[Client]:
    made = Client(service, **given)
    with made.opened:
        yield made


def label_in(body: bytes) -> str:
    return str(json.loads(body)["predictions"][0]["label"])


def test_raw_bodies_behind_a_known_head_are_answered_as_the_first_was(service: Service, hot: Answers) -> None:
    with client(service) as wire:
        answers = [wire.ask(a_plain_image(colour)) for colour in (RED, GREEN, BLUE)]

    assert [label_in(body) for _, _, body in answers] == ["red", "green", "blue"]
    assert [status for status, _, _ in answers] == [200] * 3
    assert len({tuple(sorted(headers)) for _, headers, _ in answers}) == 1
    assert [sorted(json.loads(body)) for _, _, body in answers[1:]] == [sorted(json.loads(answers[0][2]))] * 2
    assert hot.count == 2


def test_requests_with_ids_of_their_own_are_known_and_get_them_back(service: Service, hot: Answers) -> None:
    ids = ["first-request", "second/request", "third:request"]
    path = "/predict?model=colours&top_k=1"  # its head is not known yet
    answers = []
    for each in ids:
        with client(service, path=path, X_Request_ID=each, traceparent=f"00-{'ab' * 16}-{'cd' * 8}-01") as wire:
            answers.append(wire.ask(a_plain_image(RED)))
    with client(service, path=path) as wire:
        anonymous = [wire.ask(a_plain_image(RED))[1]["x-request-id"] for _ in range(2)]

    assert [headers["x-request-id"] for _, headers, _ in answers] == ids
    assert hot.count == 4
    assert len({*anonymous, *ids}) == 5


def test_of_two_ids_the_first_one_counts_however_often_they_come(service: Service, hot: Answers) -> None:
    ids = []
    for _ in range(3):
        with client(service, X_Request_ID="one", x_request_id="two") as wire:
            ids.append(wire.ask(a_plain_image(RED))[1]["x-request-id"])

    assert ids == ["one"] * 3
    assert hot.count == 0


def test_json_bodies_behind_a_known_head_may_ask_for_anything(service: Service, hot: Answers) -> None:
    bodies = [
        {"model": "colours", "inputs": [as_text(a_plain_image(RED))]},
        {"model": "colours:1", "inputs": [as_text(a_plain_image(BLUE))], "top_k": 1},
        {"model": "nobody", "inputs": ["aGk="]},
        {"model": "colours", "inputs": ["aGk="]},
        {"model": "colours", "inputs": ["aGk="] * 4},
        {"model": "colours", "inputs": [], "topk": 3},
    ]
    with client(service, path="/predict", kind="application/json") as wire:
        answers = [wire.ask(json.dumps(body).encode()) for body in bodies]

    assert [status for status, _, _ in answers] == [200, 200, 404, 422, 422, 422]
    assert hot.count == 5
    codes = [json.loads(body)["code"] for _, _, body in answers[2:]]
    assert codes == ["model_not_found", "bad_input", "invalid_body", "invalid_body"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"no image", 422, "bad_input"),
        (b"", 422, "bad_input"),
        (b"\x00" * 30_000, 413, "body_too_large"),
    ],
)
def test_an_error_is_the_problem_that_it_is_for_a_new_head(
    service: Service, body: bytes, status: int, code: str
) -> None:
    with client(service, X_Try=code) as wire:
        fresh = wire.ask(body)
    with client(service, X_Try=code) as wire:
        assert wire.ask(a_plain_image(RED))[0] == 200
        known = wire.ask(body)

    for answered, headers, document in (fresh, known):
        assert (answered, headers["content-type"]) == (status, "application/problem+json")
        assert (json.loads(document)["code"], json.loads(document)["instance"]) == (code, "/predict")
    assert known[2] == fresh[2]


def test_a_request_without_or_with_another_key_is_not_taken_for_a_known_one(service: Service) -> None:
    with client(service) as wire:
        assert [wire.ask(a_plain_image(RED))[0] for _ in range(2)] == [200, 200]

    for key, status in (("", 401), ("wrong-key-0123456789", 401), (KEYS["ada"], 404), (KEYS["local"], 200)):
        with client(service, X_API_Key=key) as wire:
            assert wire.ask(a_plain_image(RED))[0] == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "example.org"}, 400),
        ({"Origin": "https://example.org"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Content_Encoding": "gzip"}, 400),
        ({"Accept_Encoding": "identity;q=0"}, 406),
        ({"Expect": "100-continue"}, 200),
    ],
)
def test_unusual_requests_are_answered_alike_however_often(
    service: Service, headers: dict[str, str], status: int
) -> None:
    answers = []
    for _ in range(3):
        with client(service, **headers) as wire:
            wire.opened.sendall(wire.request(a_plain_image(RED)))
            answers.append(wire.answer())

    assert [each[0] for each in answers] == [status] * 3
    assert len({tuple(sorted(each[1])) for each in answers}) == 1


def test_an_answer_is_compressed_when_it_must_be(service: Service, hot: Answers) -> None:
    with client(service, Accept_Encoding="gzip, identity;q=0") as wire:
        answers = [wire.ask(a_plain_image(RED)) for _ in range(2)]

    assert [headers["content-encoding"] for _, headers, _ in answers] == ["gzip"] * 2
    assert [headers["vary"] for _, headers, _ in answers] == ["Accept-Encoding"] * 2
    assert hot.count == 1


def test_requests_in_a_row_are_answered_in_their_order(service: Service) -> None:
    colours = [RED, GREEN, BLUE, BLUE, RED] * 4
    with client(service) as wire:
        assert wire.ask(a_plain_image(RED))[0] == 200
        wire.opened.sendall(b"".join(wire.request(a_plain_image(colour)) for colour in colours))

        labels = [label_in(wire.answer()[2]) for _ in colours]

    names = {RED: "red", GREEN: "green", BLUE: "blue"}
    assert labels == [names[colour] for colour in colours]


def test_what_comes_while_a_known_request_runs_waits_for_its_turn(service: Service) -> None:
    with client(service) as wire:
        assert wire.ask(a_plain_image(RED))[0] == 200
        for colour in (GREEN, BLUE, RED):
            wire.opened.sendall(wire.request(a_plain_image(colour)))
            time.sleep(0.001)  # packets of their own

        assert [label_in(wire.answer()[2]) for _ in range(3)] == ["green", "blue", "red"]


@pytest.mark.parametrize("cut", [1, 40, -10])
def test_a_request_with_a_known_head_may_come_in_pieces(service: Service, cut: int) -> None:
    with client(service) as wire:
        wire.opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        assert wire.ask(a_plain_image(RED))[0] == 200
        data = wire.request(a_plain_image(BLUE))
        wire.opened.sendall(data[:cut])
        time.sleep(0.05)
        wire.opened.sendall(data[cut:])

        assert label_in(wire.answer()[2]) == "blue"
        assert label_in(wire.ask(a_plain_image(GREEN))[2]) == "green"


def test_a_body_may_come_behind_a_known_head(service: Service, hot: Answers) -> None:
    """As Python's clients send it."""
    with client(service, X_Try="two packets") as wire:
        wire.opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        labels = []
        for colour in (RED, GREEN, BLUE):
            data = wire.request(a_plain_image(colour))
            body_at = data.index(b"\r\n\r\n") + 4
            for part in (data[:body_at], data[body_at:]):
                wire.opened.sendall(part)
                time.sleep(0.02)
            labels.append(label_in(wire.answer()[2]))

    assert labels == ["red", "green", "blue"]
    assert hot.count == 2


def test_a_body_that_does_not_come_soon_has_the_time_that_others_have(service: Service, hot: Answers) -> None:
    with client(service) as wire:
        assert wire.ask(a_plain_image(RED))[0] == 200
        known, data = hot.count, wire.request(a_plain_image(BLUE))
        wire.opened.sendall(data[:-10])
        time.sleep(2 * MOMENT_S)
        wire.opened.sendall(data[-10:])

        assert label_in(wire.answer()[2]) == "blue"
        assert label_in(wire.ask(a_plain_image(GREEN))[2]) == "green"
        assert hot.count == known + 1


def test_a_client_that_leaves_amid_a_body_leaves_nothing_behind(service: Service) -> None:
    with client(service) as wire:
        assert wire.ask(a_plain_image(RED))[0] == 200
        wire.opened.sendall(wire.request(a_plain_image(BLUE))[:-10])
    with client(service) as wire:
        assert label_in(wire.ask(a_plain_image(GREEN))[2]) == "green"

    assert service.context.bodies.held_bytes == 0


def test_a_client_that_asks_to_close_is_closed_each_time(service: Service, hot: Answers) -> None:
    for _ in range(3):
        with client(service, Connection="close") as wire:
            assert wire.ask(a_plain_image(RED))[1]["connection"] == "close"
            assert wire.opened.recv(1) == b""

    assert hot.count == 0


def test_requests_of_the_hot_lane_are_counted_as_all_others(service: Service) -> None:
    name = 'espalier_requests_total{method="POST",route="/predict",status="200"}'
    images = "espalier_predicted_images_total"
    with client(service) as wire:
        wire.ask(a_plain_image(RED))
        before = metric_of(service, name), metric_of(service, images)
        for _ in range(5):
            wire.ask(a_plain_image(RED))
        after = metric_of(service, name), metric_of(service, images)

    assert [new[0] - old[0] for old, new in zip(before, after, strict=True)] == [5, 5]
    assert service.context.bodies.held_bytes == 0


def test_a_model_that_is_published_anew_answers_behind_the_same_head(service: Service, tmp_path: Path) -> None:
    service.publish("grown", write_colour_net(tmp_path / "one.onnx", name="one"))
    with client(service, path="/predict?model=grown") as wire:
        first = [json.loads(wire.ask(a_plain_image(RED))[2])["version"] for _ in range(2)]
        service.publish("grown", write_colour_net(tmp_path / "two.onnx", name="two"))
        deadline_s, version = time.monotonic() + 30, 1
        while version == 1 and time.monotonic() < deadline_s:
            version = json.loads(wire.ask(a_plain_image(RED))[2])["version"]
            time.sleep(0.05)
        problem_of(service.http.delete("/models/none"), 404, "model_not_found")
        assert service.http.delete("/models/grown").status_code == 204
        gone = wire.ask(a_plain_image(RED))

    assert (first, version) == ([1, 1], 2)
    assert gone[0] == 404


def test_the_images_of_a_client_that_leaves_the_hot_lane_are_withdrawn(tmp_path: Path) -> None:
    with running(samples.quick_settings(tmp_path / "home", inference_lanes=1)) as slow:
        slow.publish("slow", write_colour_net(tmp_path / "slow.onnx", size=256, rounds=40), **A_LARGE_INPUT)
        body = json.dumps({"model": "slow", "inputs": [as_text(a_plain_image(RED))]}).encode()
        many = json.dumps({"model": "slow", "inputs": [as_text(a_plain_image(RED))] * 250}).encode()
        with client(slow, path="/predict", kind="application/json", X_API_Key="") as wire:
            assert wire.ask(body)[0] == 200
            wire.opened.sendall(wire.request(many))
            time.sleep(0.3)
        with client(slow, path="/predict", kind="application/json", X_API_Key="") as wire:
            assert wire.ask(body)[0] == 200  # after whatever is left of them

        assert sum(metric_of(slow, "espalier_predicted_images_total")) == 2
        assert slow.context.bodies.held_bytes == 0


def test_a_client_that_leaves_the_hot_lane_is_no_fault_of_the_service(tmp_path: Path) -> None:
    of_route = 'espalier_requests_total{method="POST",route="/predict",status="%d"}'
    with running(samples.quick_settings(tmp_path / "home", inference_lanes=1)) as slow:
        slow.publish("slow", write_colour_net(tmp_path / "slow.onnx", size=256, rounds=40), **A_LARGE_INPUT)
        body = json.dumps({"model": "slow", "inputs": [as_text(a_plain_image(RED))]}).encode()
        many = json.dumps({"model": "slow", "inputs": [as_text(a_plain_image(RED))] * 250}).encode()
        with client(slow, path="/predict", kind="application/json", X_API_Key="") as wire:
            assert wire.ask(body)[0] == 200
            wire.opened.sendall(wire.request(many))
            time.sleep(0.3)
        deadline_s = time.monotonic() + 30
        while not metric_of(slow, of_route % 499) and time.monotonic() < deadline_s:
            time.sleep(0.05)

        assert metric_of(slow, of_route % 499) == [1]
        assert metric_of(slow, of_route % 500) == []


def test_the_images_of_a_client_that_leaves_with_more_requests_behind_are_withdrawn(tmp_path: Path) -> None:
    with running(samples.quick_settings(tmp_path / "home", inference_lanes=1)) as slow:
        slow.publish("slow", write_colour_net(tmp_path / "slow.onnx", size=256, rounds=40), **A_LARGE_INPUT)
        body = json.dumps({"model": "slow", "inputs": [as_text(a_plain_image(RED))]}).encode()
        many = json.dumps({"model": "slow", "inputs": [as_text(a_plain_image(RED))] * 250}).encode()
        with client(slow, path="/predict", kind="application/json", X_API_Key="") as wire:
            assert wire.ask(body)[0] == 200
        with client(slow, path="/predict", kind="application/json", X_API_Key="", X_Try="in a row") as wire:
            wire.opened.sendall(wire.request(many) + 3 * wire.request(body))
            time.sleep(0.3)
        with client(slow, path="/predict", kind="application/json", X_API_Key="") as wire:
            assert wire.ask(body)[0] == 200  # after whatever is left of them

        assert sum(metric_of(slow, "espalier_predicted_images_total")) == 2
        assert slow.context.bodies.held_bytes == 0


def test_a_service_that_stops_answers_what_runs_and_then_ends_the_connection(tmp_path: Path) -> None:
    with running(samples.quick_settings(tmp_path / "home", inference_lanes=1)) as slow:
        slow.publish("slow", write_colour_net(tmp_path / "slow.onnx", size=256, rounds=200), **A_LARGE_INPUT)
        body = json.dumps({"model": "slow", "inputs": [as_text(a_plain_image(RED))] * 8}).encode()
        wire = Client(slow, path="/predict", kind="application/json", X_API_Key="")
        assert wire.ask(body)[0] == 200
        wire.opened.sendall(wire.request(body))
        time.sleep(0.1)
        answers: list[tuple[int, dict[str, str], Any]] = []
        reader = threading.Thread(target=lambda: answers.append(wire.answer()))
        reader.start()
    reader.join(timeout=30)
    wire.opened.close()

    assert [status for status, _, _ in answers] == [200]
    assert answers[0][1]["connection"] == "close"


def test_many_clients_with_one_head_each_get_their_own_answer(service: Service) -> None:
    names = {RED: "red", GREEN: "green", BLUE: "blue"}
    wrong: list[str] = []

    def ask(colour: tuple[int, int, int]) -> None:
        with client(service) as wire:
            wrong.extend(
                label for _ in range(20) if (label := label_in(wire.ask(a_plain_image(colour))[2])) != names[colour]
            )

    threads = [threading.Thread(target=ask, args=(colour,)) for colour in (RED, GREEN, BLUE) * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []


def test_an_ordinary_client_is_served_through_the_hot_lane(service: Service, hot: Answers) -> None:
    answers = [
        service.http.post(RAW, content=a_plain_image(colour), headers={"Content-Type": "image/png"})
        for colour in (RED, GREEN, BLUE)
    ]

    assert [label_in(answer.content) for answer in answers] == ["red", "green", "blue"]
    assert isinstance(answers[0], httpx.Response)
    assert hot.count == 2
