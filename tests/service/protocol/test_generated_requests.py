"""Requests made from the OpenAPI document: whatever a client sends to `/predict` and `/v2`, the service stays whole."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode

from service import openapi
from tests.service import onnx_files
from tests.service.live_service import Service

EXAMPLES = 20
NAMES = ["colours", "colours:1", "colours/fp32", "colours@live", "unknown", "colours:9"]
CALLS = [
    operation.ok()
    for operation in schemathesis.openapi.from_path(openapi.SNAPSHOT).get_all_operations()
    if operation.ok().path == "/predict" or operation.ok().path.startswith("/v2")
]
WRONG = [call for call in CALLS if call.body]  # only these can be called with values that their schema does not allow

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def asked(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Service:
    service.publish("colours", onnx_files.write_colour_net(tmp_path_factory.mktemp("nets") / "colours.onnx"))
    return service


@pytest.mark.parametrize("call", CALLS, ids=[f"{call.method} {call.path}" for call in CALLS])
def test_a_request_that_is_allowed_is_no_fault_of_the_service(call: Any, asked: Service) -> None:
    ask(call.as_strategy(generation_mode=GenerationMode.POSITIVE), asked)


@pytest.mark.parametrize("call", WRONG, ids=[f"{call.method} {call.path}" for call in WRONG])
def test_a_request_that_is_not_allowed_is_no_fault_of_the_service(call: Any, asked: Service) -> None:
    ask(call.as_strategy(generation_mode=GenerationMode.NEGATIVE), asked)


def ask(cases: Any, asked: Service) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases, name=st.sampled_from(NAMES))
    def answered(case: Any, name: str) -> None:
        if "model" in case.path_parameters:
            case.path_parameters["model"] = name

        answer = case.call(base_url=asked.url)

        assert answer.status_code < 500, answer.text

    answered()
    assert asked.http.get("/health/ready").status_code == 200
