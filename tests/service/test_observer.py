"""Ids of requests and the access log: what is in them, and what never is."""

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from models_store import log_lines
from models_store.settings import Settings
from tests import samples
from tests.service import onnx_files
from tests.service.access_log import access_lines
from tests.service.live_service import Service, a_plain_image, running
from tests.service.prediction_requests import RED

KEY = "key-of-ada-0123456789"


@pytest.fixture(scope="module")
def logging_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("access")
    changes = {"access_log": True, "api_keys": f"local:{KEY}", "api_processes": 1}
    with running(samples.quick_settings(folder / "home").model_copy(update=changes)) as live:
        live.http.headers["X-API-Key"] = KEY
        live.publish("colours", onnx_files.write_colour_net(folder / "colours.onnx"))
        yield live


def predict(service: Service, **headers: str) -> Any:
    headers["Content-Type"] = "image/png"
    return service.http.post("/predict?model=colours", content=a_plain_image(RED), headers=headers)


@pytest.mark.parametrize("given", ["abc-123", "3fa85f64-5717-4562-b3fc-2c963f66afa6", "trace:1/2"])
def test_a_well_formed_request_id_comes_back(service: Service, given: str) -> None:
    assert service.http.get("/health/live", headers={"X-Request-ID": given}).headers["X-Request-ID"] == given


@pytest.mark.parametrize("given", ["", "with space", 'a"b', "x" * 129, "-a", "{}"])
def test_another_one_is_replaced(service: Service, given: str) -> None:
    answered = service.http.get("/health/live", headers={"X-Request-ID": given}).headers["X-Request-ID"]

    assert answered.startswith("req_")


def test_every_request_has_an_id_of_its_own_also_refusals_and_repeated_predictions(logging_service: Service) -> None:
    answers = [logging_service.http.get("/nowhere"), *(predict(logging_service) for _ in range(4))]

    assert [answer.status_code for answer in answers] == [404, 200, 200, 200, 200]
    assert len({answer.headers["X-Request-ID"] for answer in answers}) == len(answers)
    assert all(len(answer.headers.get_list("X-Request-ID")) == 1 for answer in answers)


def test_each_request_has_a_line_in_the_access_log(logging_service: Service, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    answers = [predict(logging_service) for _ in range(3)]
    answers.append(logging_service.http.get("/jobs/job_0123456789?secret=opensesame"))

    lines = {line["request_id"]: line for line in access_lines(capfd)}
    for answer in answers:
        line = lines[answer.headers["X-Request-ID"]]
        assert (line["status"], line["method"]) == (answer.status_code, answer.request.method)
        assert line["ms"] >= 0
        assert "timestamp" in line
    predicted, refused = lines[answers[0].headers["X-Request-ID"]], lines[answers[-1].headers["X-Request-ID"]]
    assert (predicted["route"], predicted["model"]) == ("/predict", "colours:1/fp32")
    assert predicted["bytes"] == len(answers[0].content)
    assert (refused["route"], refused["model"]) == ("/jobs/{job_id}", None)
    assert "opensesame" not in json.dumps([*lines.values()])
    assert KEY not in json.dumps([*lines.values()])


def test_without_the_setting_there_is_no_access_log(service: Service, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    service.http.get("/health/live")

    assert access_lines(capfd) == []


def test_lines_of_the_standard_library_are_json_with_ids_and_without_secrets(tmp_path: Path) -> None:
    settings = Settings(
        espalier_home=tmp_path,
        database_url="postgresql+psycopg://espalier:hunter22@db/espalier",
        broker_url="redis://:sesame99@valkey/0",
        api_keys=f"ada:{KEY}",
        metrics_key="key-of-the-counters",
    )
    try:
        raise ValueError("no connection to espalier:hunter22@db")  # noqa: TRY301  a record needs a trace
    except ValueError:
        text = f"%s %s {KEY} key-of-the-counters"
        record = logging.LogRecord("a.b", logging.ERROR, "f", 1, text, ("redis://:sesame99@v", 7), sys.exc_info())
    with log_lines.of(job_id="job_1", attempt=2):
        line = log_lines.JsonLines(settings).format(record)

    found = json.loads(line)
    assert (found["event"], found["level"]) == ("redis://:***@v 7 *** ***", "error")
    assert (found["job_id"], found["attempt"]) == ("job_1", 2)
    assert "ValueError" in found["exception"]
    assert "hunter22" not in line
