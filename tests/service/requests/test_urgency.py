"""Deadlines and priorities of predictions: in a query, a form, JSON, or a header, and what the engine gets of them."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from models_store.models.served import Served
from service.inference.engine import Answer, Work
from service.inference.sessions import Sessions
from tests import samples
from tests.service.live_service import Service, a_plain_image, problem_of, running
from tests.service.onnx_files import write_colour_net
from tests.service.prediction_requests import A_LARGE_INPUT, RED, as_text

IMAGE = a_plain_image(RED)
PNG = {"Content-Type": "image/png"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with one model."""
    folder = tmp_path_factory.mktemp("urgency")
    with running(samples.quick_settings(folder / "home")) as live:
        live.publish("colours", write_colour_net(folder / "net.onnx"))
        yield live


@pytest.fixture
def works(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Work, float]]:
    """Return what the engine gets, each with the time."""
    found: list[tuple[Work, float]] = []
    infer = Sessions.infer

    async def noted(sessions: Sessions, served: Served, work: Work) -> Answer:
        found.append((work, time.monotonic()))
        return await infer(sessions, served, work)

    monkeypatch.setattr(Sessions, "infer", noted)
    return found


def ask(service: Service, way: str, headers: dict[str, str] | None = None, **given: Any) -> httpx.Response:
    """Ask in one of the formats; twice, because the second request of a kind may take the hot lane."""
    answer: httpx.Response
    for _ in range(2):
        if way == "json":
            body = {"model": "colours", "inputs": [as_text(IMAGE)], **given}
            answer = service.http.post("/predict", json=body, headers=headers)
        elif way == "form":
            answer = service.http.post(
                "/predict", data={"model": "colours", **given}, files={"files": IMAGE}, headers=headers
            )
        elif way == "v2":
            body = {
                "inputs": [
                    {"name": "images", "datatype": "UINT8", "shape": [1, 16, 16, 3], "data": [7] * (16 * 16 * 3)}
                ],
                "parameters": {"timeout": int(given["timeout"] * 1e6)} if given else {},
            }
            answer = service.http.post("/v2/models/colours/infer", json=body, headers=headers)
        else:
            params = {"model": "colours", **given}
            answer = service.http.post("/predict", params=params, content=IMAGE, headers=PNG | (headers or {}))
    return answer


WAYS = ["raw", "form", "json"]


@pytest.mark.parametrize("way", WAYS)
def test_a_request_may_name_its_timeout_and_its_priority(
    service: Service, works: list[tuple[Work, float]], way: str
) -> None:
    assert ask(service, way, timeout=20, priority=2).status_code == 200

    assert len(works) == 2
    for work, now_s in works:
        assert work.deadline_s is not None
        assert 10 < work.deadline_s - now_s <= 20
        assert work.priority == 2


@pytest.mark.parametrize("way", [*WAYS, "v2"])
def test_a_request_that_names_neither_has_the_defaults(
    service: Service, works: list[tuple[Work, float]], way: str
) -> None:
    assert ask(service, way).status_code == 200

    assert [(work.deadline_s, work.priority) for work, _ in works] == [(None, 5)] * 2


@pytest.mark.parametrize("way", [*WAYS, "v2"])
@pytest.mark.parametrize(("header", "timeout"), [("20000", 600), ("600000", 20)])
def test_the_smaller_of_header_and_timeout_counts(
    service: Service, works: list[tuple[Work, float]], way: str, header: str, timeout: float
) -> None:
    assert ask(service, way, {"X-Request-Deadline": header}, timeout=timeout).status_code == 200

    assert len(works) == 2
    for work, now_s in works:
        assert work.deadline_s is not None
        assert 10 < work.deadline_s - now_s <= 20


@pytest.mark.parametrize("header", ["", "0", "-5", "1.5", "soon", "3600001", "99999999999999", "1 2", "\u0661"])
def test_a_header_that_has_no_milliseconds_is_refused(service: Service, header: str) -> None:
    answer = service.http.post(
        "/predict?model=colours", content=IMAGE, headers={**PNG, "X-Request-Deadline": header.encode()}
    )

    problem = problem_of(answer, 422, "invalid_request")
    assert problem["errors"][0]["pointer"] == "header:X-Request-Deadline"
    assert problem["errors"][0]["allowed"] == {"minimum": 1, "maximum": 3_600_000}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("name", "value"),
    [("timeout", 0), ("timeout", -1), ("timeout", 3601), ("priority", 0), ("priority", 10), ("priority", 2.5)],
)
def test_a_timeout_or_priority_out_of_range_is_refused(service: Service, way: str, name: str, value: float) -> None:
    problem = problem_of(ask(service, way, **{name: value}), 422, "invalid_body")

    assert problem["errors"][0]["pointer"] == f"/{name}"


@pytest.mark.parametrize("value", ["nan", "inf", "soon", ""])
def test_a_timeout_that_is_no_number_is_refused(service: Service, value: str) -> None:
    problem = problem_of(ask(service, "raw", timeout=value), 422, "invalid_body")

    assert problem["errors"][0]["pointer"] == "/timeout"


def test_what_is_not_answered_by_its_own_deadline_is_late(tmp_path: Path) -> None:
    with running(samples.quick_settings(tmp_path / "home", inference_lanes=1)) as slow:
        slow.publish("slow", write_colour_net(tmp_path / "slow.onnx", size=256, rounds=200), **A_LARGE_INPUT)
        body = {"model": "slow", "inputs": [as_text(IMAGE)] * 250, "timeout": 1}

        answer = slow.http.post("/predict", json=body)

        assert (answer.status_code, answer.json()["code"]) in {(504, "predict_timeout"), (429, "deadline_too_short")}
        assert slow.context.bodies.held_bytes == 0
