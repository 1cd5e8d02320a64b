"""Files in memory over HTTP: a variant is loaded, unloaded, and where it runs is reported."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests import samples
from tests.service.live_service import Service, a_plain_image, running
from tests.service.metric_series import read
from tests.service.onnx_files import write_colour_net
from tests.service.prediction_requests import RED

PATH = "/models/colours/versions/1/variants/int8"
NOT_THERE = {
    "model": "colours",
    "version": 1,
    "variant": "int8",
    "loaded": False,
    "provider": None,
    "tuning": None,
    "memory_bytes": None,
    "pinned": None,
}


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(samples.quick_settings(tmp_path_factory.mktemp("memory") / "home")) as service:
        net = write_colour_net(tmp_path_factory.mktemp("nets") / "net.onnx")
        service.publish("colours", net, variants=("fp32", "int8"))
        broken = tmp_path_factory.mktemp("nets") / "broken.onnx"
        broken.write_bytes(b"no net")
        service.publish("broken", broken)
        yield service


def memory(service: Service) -> dict[str, Any]:
    return dict(service.http.get(f"{PATH}/memory").raise_for_status().json())


def test_a_variant_is_loaded_before_its_first_request_and_unloaded(live: Service) -> None:
    before = memory(live)

    loaded = live.http.post(f"{PATH}:load").raise_for_status().json()
    there = memory(live)
    unloaded = live.http.post(f"{PATH}:unload").raise_for_status().json()

    assert before == unloaded == memory(live) == NOT_THERE
    assert loaded == there
    assert loaded["memory_bytes"] > 0
    assert {name: there[name] for name in ("loaded", "provider", "tuning", "pinned")} == {
        "loaded": True,
        "provider": "CPUExecutionProvider",
        "tuning": "plain",
        "pinned": False,
    }


def test_loading_twice_and_unloading_what_is_not_there_changes_nothing(live: Service) -> None:
    first, second = (live.http.post(f"{PATH}:load").raise_for_status().json() for _ in range(2))
    answers = [live.http.post(f"{PATH}:unload").raise_for_status().json() for _ in range(2)]

    assert first == second
    assert answers == [NOT_THERE] * 2


def test_an_unloaded_variant_is_loaded_again_by_its_next_request(live: Service) -> None:
    live.http.post(f"{PATH}:unload").raise_for_status()

    answer = live.http.post(
        "/predict?model=colours:1/int8", content=a_plain_image(RED), headers={"Content-Type": "image/png"}
    )

    assert answer.json()["provider"] == memory(live)["provider"] == "CPUExecutionProvider"


def test_a_pinned_variant_stays(live: Service) -> None:
    alias = "/models/colours/aliases/kept"
    live.http.put(alias, json={"version": 1, "variant": "int8", "pinned": True}).raise_for_status()
    wait_until_pinned(live, is_pinned=True)

    refused = live.http.post(f"{PATH}:unload")
    live.http.delete(alias).raise_for_status()
    wait_until_pinned(live, is_pinned=False)

    assert (refused.status_code, refused.json()["code"]) == (409, "model_pinned")


def wait_until_pinned(live: Service, *, is_pinned: bool) -> None:
    deadline = time.monotonic() + 60
    while memory(live)["pinned"] != is_pinned:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("verb", [":load", ":unload", "/memory"])
@pytest.mark.parametrize(
    "path", ["unknown/versions/1/variants/fp32", "colours/versions/9/variants/fp32", "colours/versions/1/variants/fp64"]
)
def test_what_does_not_exist_is_refused(live: Service, verb: str, path: str) -> None:
    answer = live.http.request("GET" if verb == "/memory" else "POST", f"/models/{path}{verb}")

    assert (answer.status_code, answer.json()["code"]) == (404, "model_not_found")


def test_a_file_that_does_not_load_is_refused(live: Service) -> None:
    answer = live.http.post("/models/broken/versions/1/variants/fp32:load")

    assert (answer.status_code, answer.json()["code"]) == (503, "model_unusable")


def test_the_protocol_names_the_provider_of_a_model_before_and_after_it_is_loaded(live: Service) -> None:
    live.http.post(f"{PATH}:unload").raise_for_status()
    found = []
    for verb in (":unload", ":load"):
        live.http.post(f"{PATH}{verb}").raise_for_status()
        properties = live.http.get("/v2/models/colours:1/int8").json()["properties"]
        config = live.http.get("/v2/models/colours:1/int8/config").json()
        found.append((properties["loaded"], config["parameters"]["tuning"]["string_value"]))
        assert properties["provider"] == "CPUExecutionProvider"
        assert config["parameters"]["execution_provider"] == {"string_value": "CPUExecutionProvider"}
        assert config["instance_group"] == [{"kind": "KIND_CPU"}]

    assert found == [("false", ""), ("true", "plain")]


def test_fall_backs_are_counted(live: Service) -> None:
    assert [count for _, count in read(live)["espalier_provider_fallbacks_total"]] == [0.0]
