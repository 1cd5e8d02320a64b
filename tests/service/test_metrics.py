import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from models_store.settings import Settings
from service.metrics import MOST_VARIANTS, Metrics
from tests import samples
from tests.service import onnx_files
from tests.service.live_service import Service, a_plain_image, running
from tests.service.metric_series import ANSWER, read, series, served
from tests.service.prediction_requests import RED

KEY, METRICS_KEY = "k" * 16, "m" * 16
MODEL = {"owner": "local", "model": "colours", "version": "1", "variant": "fp32"}


def counted(settings: Settings, count: Callable[[Metrics], None]) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Return the series of counters of their own, in which `count` has counted."""

    async def run() -> bytes:
        metrics = Metrics(settings)
        count(metrics)
        metrics.refresh()
        return metrics.exposition()

    return series(asyncio.run(run()))


def predict(service: Service, model: str = "colours", **headers: str) -> int:
    headers["Content-Type"] = "image/png"
    answer = service.http.post("/predict", params={"model": model}, content=a_plain_image(RED), headers=headers)
    return answer.status_code


@pytest.fixture(scope="module")
def published(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Service:
    service.publish("colours", onnx_files.write_colour_net(tmp_path_factory.mktemp("onnx") / "colours.onnx"))
    return service


@pytest.fixture
def with_keys(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Service]:
    keys = {"api_keys": f"local:{KEY}", "metrics_key": request.param}
    with running(samples.quick_settings(tmp_path / "home").model_copy(update=keys)) as live:
        live.http.headers["X-API-Key"] = KEY
        live.publish("colours", onnx_files.write_colour_net(tmp_path / "colours.onnx"))
        del live.http.headers["X-API-Key"]
        yield live


def test_a_prediction_is_counted_for_the_variant_that_answered(published: Service) -> None:
    assert predict(published) == 200

    found = read(published)
    assert ({**MODEL, "code": "200"}, 1) in found["espalier_predictions_total"]
    for histogram in ("queue_seconds", "run_seconds", "batch_size"):
        assert (MODEL, 1) in found[f"espalier_prediction_{histogram}_count"]
    assert ({"provider": "CPUExecutionProvider"}, 1) in found["espalier_loaded_models"]


def test_a_refused_prediction_is_counted_by_its_status(published: Service) -> None:
    answer = published.http.post(
        "/predict", params={"model": "colours"}, content=b"no image", headers={"Content-Type": "image/png"}
    )

    assert ({**MODEL, "code": str(answer.status_code)}, 1) in read(published)["espalier_predictions_total"]


def test_an_explanation_is_counted_by_itself_and_its_answer_as_one_prediction(published: Service) -> None:
    def counts() -> tuple[float, float]:
        found = read(published)
        return (
            sum(value for labels, value in found["espalier_predictions_total"] if labels["code"] == "200"),
            sum(value for _, value in found.get("espalier_explanations_total", [])),
        )

    predictions, explanations = counts()
    explained = published.http.post(
        "/predict",
        params={"model": "colours", "explain": "true"},
        content=a_plain_image(RED),
        headers={"Content-Type": "image/png"},
    )

    assert explained.status_code == 200
    assert counts() == (predictions + 1, explanations + 1)
    runs = explained.json()["predictions"][0]["explanation"]["runs"]
    assert ({"method": "occlusion"}, runs) in read(published)["espalier_explanation_runs_total"]


def test_names_that_nothing_has_make_no_series(published: Service) -> None:
    assert predict(published, "invented") == 404
    published.http.get("/invented/path")
    published.http.request("INVENTED", "/models")

    assert "invented" not in published.http.get("/metrics").text.lower()


@pytest.mark.parametrize("with_keys", [""], indirect=True)
def test_without_a_key_of_their_own_the_counters_name_no_owner_and_no_model(with_keys: Service) -> None:
    assert predict(with_keys, **{"X-API-Key": KEY}) == 200

    text = with_keys.http.get("/metrics").text
    assert "colours" not in text
    assert "local" not in text
    assert series(text)["espalier_prediction_run_seconds_count"] == [(dict.fromkeys(MODEL, ""), 1)]


@pytest.mark.parametrize("with_keys", [METRICS_KEY], indirect=True)
def test_the_key_of_the_counters_shows_names_and_is_asked_for(with_keys: Service) -> None:
    predict(with_keys, **{"X-API-Key": KEY})

    assert with_keys.http.get("/metrics").status_code == 401
    assert with_keys.http.get("/metrics", headers={"X-API-Key": KEY}).status_code == 401
    found = read(with_keys, Authorization=f"Bearer {METRICS_KEY}")
    assert (MODEL, 1) in found["espalier_prediction_run_seconds_count"]


def test_the_variant_that_was_used_longest_ago_gives_its_series_up(quiet: Settings) -> None:
    def count(metrics: Metrics) -> None:
        for number in range(MOST_VARIANTS):
            metrics.predicted_by(served(f"m{number}"), 200, ANSWER)
        metrics.refresh()
        for name in ("m0", "new"):
            metrics.predicted_by(served(name), 200, ANSWER)
            metrics.refresh()

    found = counted(quiet, count)["espalier_prediction_run_seconds_count"]

    models = {labels["model"] for labels, _ in found}
    assert {"m0", "new"} <= models
    assert "m1" not in models
    assert len(models) == MOST_VARIANTS


def test_observations_fall_into_the_bucket_that_they_belong_to(quiet: Settings) -> None:
    def count(metrics: Metrics) -> None:
        for seconds in (0.001, 0.0011, 99.0):
            metrics.answered("GET", "/jobs", 200, seconds)

    found = counted(quiet, count)

    buckets = {labels["le"]: value for labels, value in found["espalier_request_seconds_bucket"]}
    assert (buckets["0.001"], buckets["0.0025"], buckets["60.0"], buckets["+Inf"]) == (1, 2, 2, 3)
    assert found["espalier_request_seconds_sum"][0][1] == pytest.approx(99.0021)


ONE_OF_SEVERAL = """
import asyncio, sys
from pathlib import Path
from models_store.settings import Settings
from service.metrics import Metrics, count_together
from service.processes.board import Board
from service.processes.place import Place
from tests.service.metric_series import ANSWER, served
place = Place(int(sys.argv[1]), Board(2), metrics_folder=Path(sys.argv[2]))
async def count():
    metrics = Metrics(Settings(), place)
    metrics.watch_gauge("espalier_waiting_bytes", "bytes", lambda: 5)
    metrics.answered("GET", "/jobs", 200, 0.5)
    metrics.predicted_by(served(), 200, ANSWER)
    metrics.refresh()
    return metrics.exposition().decode()
count_together(place)
print(asyncio.run(count()))
"""


def test_several_processes_are_counted_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path))

    texts = [
        subprocess.run(
            [sys.executable, "-c", ONE_OF_SEVERAL, number, str(tmp_path)], check=True, capture_output=True, text=True
        ).stdout
        for number in ("0", "1")
    ]

    found = series(texts[-1])
    assert [value for _, value in found["espalier_requests_total"]] == [2]
    assert [value for _, value in found["espalier_prediction_run_seconds_count"]] == [2]
    assert [value for _, value in found["espalier_waiting_bytes"]] == [10]


@pytest.fixture
def quiet(tmp_path: Path) -> Settings:
    return samples.quick_settings(tmp_path / "home")
