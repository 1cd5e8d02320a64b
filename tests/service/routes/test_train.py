"""POST /train: specs become jobs, once; whatever comes as a body, the answer is never a 500."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models_store.tasks.image.spec import ImageSpec
from tests import samples
from tests.service.live_service import Service, problem_of, running


@pytest.fixture(scope="module")
def dataset(service: Service) -> str:
    return str(service.upload()["id"])


def post(service: Service, body: Any, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return service.http.post("/train", content=content, headers={"Content-Type": "application/json", **headers})


def test_a_spec_becomes_a_queued_job_at_once(service: Service, dataset: str) -> None:
    answer = post(service, {"name": "flowers", "dataset": dataset})

    job = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/jobs/{job['id']}"
    assert (job["state"], job["name"], job["dataset"], job["attempts"]) == ("queued", "flowers", dataset, 0)
    assert job["spec"]["backbone"]["kind"] == "efficientnet_lite0"
    assert [step["state"] for step in job["steps"] if step["name"] == "training"] == ["pending"]
    assert service.http.get(f"/jobs/{job['id']}").json()["id"] == job["id"]


OF_AN_EARLIER_CLIENT: dict[str, Any] = {
    "name": "flowers",
    "seed": 0,
    "augmentation": [{"kind": "random_flip", "direction": "horizontal", "probability": 0.5}],
    "optimizer": {
        "kind": "sgd",
        "lr": 0.1,
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 0.0005,
        "decay_norms": False,
    },
}
"""what the Python client sends that was generated before specs were chosen by task"""


@pytest.mark.parametrize("task", [None, "image_classification"])
def test_a_client_generated_before_specs_had_a_class_for_each_task_still_trains(
    service: Service, dataset: str, task: str | None
) -> None:
    named = {} if task is None else {"task": task}

    answer = post(service, OF_AN_EARLIER_CLIENT | {"dataset": dataset} | named)

    assert answer.status_code == 202
    assert answer.json()["spec"]["task"] == "image_classification"
    assert answer.json()["spec"]["optimizer"] == OF_AN_EARLIER_CLIENT["optimizer"]


def test_a_task_that_does_not_exist_is_refused_with_those_that_do(service: Service, dataset: str) -> None:
    problem = problem_of(
        post(service, {"name": "flowers", "dataset": dataset, "task": "classification"}), 422, "invalid_body"
    )

    (fault,) = problem["errors"]
    assert (fault["pointer"], fault["message"].endswith("did you mean 'image_classification'?")) == ("/task", True)


def test_the_broker_being_down_does_not_stop_a_job(service: Service, dataset: str) -> None:
    assert service.http.get("/health/ready").json()["broker"] == "unavailable"

    assert post(service, {"name": "flowers", "dataset": dataset}).status_code == 202


def test_a_dry_run_resolves_the_spec_and_queues_nothing(service: Service, dataset: str) -> None:
    before = len(service.http.get("/jobs?limit=100").json()["items"])
    spec = {"name": "flowers", "dataset": dataset, "training": {"batch_size": 4096}}

    answer = service.http.post("/train?dry_run=true", json=spec)

    document = answer.json()
    assert answer.status_code == 200
    assert (document["spec"]["input"]["size"], document["spec"]["backbone"]["freeze"]) == (96, "none")
    assert any("batch_size 4096" in warning for warning in document["warnings"])
    assert len(service.http.get("/jobs?limit=100").json()["items"]) == before


def test_a_dry_run_says_what_the_budget_allows_and_which_plans_there_are(service: Service, dataset: str) -> None:
    spec = {"name": "flowers", "dataset": dataset, "training": {"budget_minutes": 3}}

    budget = service.http.post("/train?dry_run=true", json=spec).json()["budget"]

    assert budget["minutes"] == 3
    assert "training.epochs" in budget["may_change"]
    assert "3 minutes" in budget["summary"]
    assert budget["plans"][0]["epochs"] >= budget["plans"][0]["least_epochs"]
    assert budget["plans"][-1]["freeze"] == "backbone"


def test_a_dry_run_says_that_a_spec_with_everything_set_is_trained_as_it_stands(service: Service, dataset: str) -> None:
    training = {"epochs": 3}
    backbone = {"kind": "efficientnet_lite0", "freeze": "none"}
    spec = {"name": "flowers", "dataset": dataset, "input": {"size": 96}, "backbone": backbone, "training": training}

    budget = service.http.post("/train?dry_run=true", json=spec).json()["budget"]

    assert (budget["may_change"], len(budget["plans"])) == ([], 1)
    assert "only reported" in budget["summary"]


@pytest.mark.parametrize("training", [{"budget_minutes": 0}, {"budget_minutes": "10"}, {"fit_to_budget": ["seed"]}])
def test_a_budget_that_can_not_be_kept_is_refused(service: Service, dataset: str, training: dict[str, Any]) -> None:
    answer = post(service, {"name": "flowers", "dataset": dataset, "training": training})

    assert f"/training/{next(iter(training))}" in problem_of(answer, 422, "invalid_body")["detail"]


def test_the_same_key_and_body_make_one_job(service: Service, dataset: str) -> None:
    spec, key = {"name": "flowers", "dataset": dataset}, uuid4().hex

    first = post(service, spec, **{"Idempotency-Key": key})
    again = post(service, spec, **{"Idempotency-Key": key})

    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json() == again.json()
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"


def test_the_same_key_with_another_body_is_refused(service: Service, dataset: str) -> None:
    key = uuid4().hex
    post(service, {"name": "flowers", "dataset": dataset}, **{"Idempotency-Key": key})

    answer = post(service, {"name": "trees", "dataset": dataset}, **{"Idempotency-Key": key})

    problem_of(answer, 422, "idempotency_key_reused")


@pytest.mark.parametrize("key", ["", "a b", "x" * 256])
def test_a_key_that_is_no_token_is_refused(service: Service, dataset: str, key: str) -> None:
    answer = post(service, {"name": "flowers", "dataset": dataset}, **{"Idempotency-Key": key})

    assert "dempotency" in problem_of(answer, 422, "invalid_request")["errors"][0]["pointer"]


def test_an_unknown_dataset_is_named(service: Service) -> None:
    problem = problem_of(post(service, {"name": "a", "dataset": "ds_0123456789"}), 422, "dataset_not_found")

    assert problem["errors"][0]["pointer"] == "/dataset"


@pytest.mark.parametrize(
    ("changes", "pointer", "message"),
    [
        ({"epochs": 3}, "/epochs", "training.epochs"),
        ({"optimizer": {"kind": "adamw", "lrr": 1}}, "/optimizer/lrr", "'lr'"),
        ({"optimizer": {"kind": "adamm"}}, "/optimizer/kind", "adam"),
        ({"optimizer": {"kind": "adamw", "lr": -1}}, "/optimizer/lr", "greater than 0"),
        ({"optimizer": {"kind": "adamw", "lr": 1e300}}, "/optimizer/lr", "less than or equal"),
        ({"augmentation": [{"kind": "random_rotation", "degrees": "15"}]}, "/augmentation/0/degrees", "number"),
        ({"training": {"epochs": 0}}, "/training/epochs", "greater than or equal to 1"),
        ({"training": []}, "/training", ""),
        ({"name": "../up"}, "/name", "is not a name of a model"),
        ({"name": None}, "/name", "string"),
        ({"backbone": {"kind": "small_cnn", "freeze": "backbone"}}, "/backbone/freeze", ""),
    ],
)
def test_a_bad_spec_is_refused_with_pointers_into_it(
    service: Service, dataset: str, changes: dict[str, Any], pointer: str, message: str
) -> None:
    problem = problem_of(post(service, {"name": "flowers", "dataset": dataset} | changes), 422, "invalid_body")

    assert pointer in [error["pointer"] for error in problem["errors"]]
    assert message in " ".join(error["message"] for error in problem["errors"])


def test_a_body_of_unknown_keys_is_answered_with_the_first_of_them(service: Service, dataset: str) -> None:
    spec = {"name": "flowers", "dataset": dataset} | {f"key{index}": index for index in range(50_000)}

    problem = problem_of(post(service, spec), 422, "invalid_body")

    assert len(problem["errors"]) == 50
    assert "49999 more" in problem["detail"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"name": NaN}',
        b'{"seed": 1e999}',
        b'{"seed": Infinity}',
        b'{"name": "a", "name": "b"}',
        b'{"input": {"size": 32, "size": 64}}',
        b"[" * 100 + b"]" * 100,
        b'{"a":' * 70 + b"1" + b"}" * 70,
        b"\xff\xfe\x00",
        b"name=flowers",
        b'{"' + b"k" * 1001 + b'": 1}',
    ],
)
def test_what_is_not_strict_json_is_malformed(service: Service, body: bytes) -> None:
    problem_of(post(service, body), 400, "malformed_request")


def test_half_a_character_is_no_text(service: Service) -> None:
    problem_of(post(service, b'{"name": "\\ud800"}'), 422, "lone_surrogate")


@pytest.mark.parametrize("part", [{"k" * 1000: 1}, {"backbone": {"kind": "k" * 500_000}}])
def test_a_long_name_is_repeated_in_part(service: Service, part: dict[str, Any]) -> None:
    spec = {"name": "flowers", "dataset": "ds_00000000"} | part

    message = problem_of(post(service, spec), 422, "invalid_body")["errors"][0]["message"]

    assert "k" * 100 + "…" in message
    assert "k" * 101 not in message


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_another_content_type_is_refused(service: Service, content_type: str) -> None:
    problem_of(post(service, b"{}", **{"Content-Type": content_type}), 415, "unsupported_media_type")


def test_an_endless_spec_is_refused(service: Service) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(40):
            yield b" " * (64 << 10)

    answer = service.http.post("/train", content=chunks(), headers={"Content-Type": "application/json"})

    problem_of(answer, 413, "body_too_large")


def test_an_unknown_query_parameter_names_the_nearest(service: Service, dataset: str) -> None:
    answer = service.http.post("/train?dryrun=true", json={"name": "flowers", "dataset": dataset})

    assert "'dry_run'" in problem_of(answer, 422, "unknown_query_parameter")["detail"]


def test_the_schema_tells_every_default_and_limit(service: Service) -> None:
    schema = service.http.get("/schema/train").json()

    assert schema["$defs"]["ImageSpec"]["properties"].keys() == ImageSpec.model_fields.keys()
    assert schema["$defs"]["Training"]["properties"]["epochs"] | {"title": "", "description": ""} == {
        "anyOf": [{"maximum": 10000, "minimum": 1, "type": "integer"}, {"type": "null"}],
        "default": ImageSpec.model_fields["training"].default.epochs,
        "description": "",
        "title": "",
    }


KEYS = st.sampled_from([*ImageSpec.model_fields, "kind", "lr", "epochs", "size", "prune", "quantize", "", "~/", "\0"])
KINDS = st.sampled_from(["adamw", "small_cnn", "random_crop", "cosine", "l2", "static_int8", "structured", "resnet18"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | KINDS
ANYTHING = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5))


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, str]]:
    with running(samples.quick_settings(tmp_path_factory.mktemp("fuzzed") / "home")) as live:
        yield live, str(live.upload()["id"])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(document=ANYTHING, in_place=st.booleans())
def test_whatever_comes_as_a_spec_is_never_a_500(fuzzed: tuple[Service, str], document: Any, in_place: bool) -> None:  # noqa: FBT001  hypothesis gives it
    service, dataset = fuzzed
    if in_place and isinstance(document, dict):
        document = {"name": "fuzz", "dataset": dataset} | document
    body = json.dumps(document).encode()

    answer = service.http.post("/train?dry_run=true", content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code in {200, 400, 422}, answer.text


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=200))
def test_whatever_bytes_come_as_a_spec_are_never_a_500(fuzzed: tuple[Service, str], body: bytes) -> None:
    answer = fuzzed[0].http.post("/train", content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code in {400, 422}, answer.text
