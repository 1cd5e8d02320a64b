"""The OpenAPI document: whole, stable, and good enough that a generator makes a client of it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from service import openapi
from service.app import create_app
from tests import samples
from tests.generated_client import call, generate, shape
from tests.service.live_service import Service, running


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return openapi.build(create_app(samples.quick_settings(tmp_path_factory.mktemp("document") / "home")))


def operations(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [operation for methods in document["paths"].values() for operation in methods.values()]


def test_every_operation_has_a_stable_id_a_summary_and_a_tag(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for operation in operations(document)]

    assert sorted(ids) == [
        "alias_delete",
        "alias_get",
        "alias_set",
        "dataset_create",
        "dataset_delete",
        "dataset_export",
        "dataset_get",
        "dataset_image",
        "dataset_image_thumbnail",
        "dataset_images",
        "dataset_list",
        "dataset_preview",
        "dataset_report",
        "dataset_samples",
        "dataset_update",
        "health_live",
        "health_ready",
        "job_cancel",
        "job_delete",
        "job_events",
        "job_get",
        "job_list",
        "job_logs",
        "job_predictions",
        "job_preview",
        "job_preview_list",
        "job_preview_page",
        "job_report",
        "job_report_page",
        "job_report_picture",
        "job_retry",
        "job_trials",
        "metrics",
        "model_delete",
        "model_get",
        "model_list",
        "model_update",
        "predict_create",
        "queue_list",
        "root",
        "schema_train",
        "train_create",
        "v2_health_live",
        "v2_health_ready",
        "v2_model_config",
        "v2_model_infer",
        "v2_model_metadata",
        "v2_model_ready",
        "v2_model_statistics",
        "v2_repository_index",
        "v2_repository_load",
        "v2_repository_unload",
        "v2_server_metadata",
        "v2_statistics",
        "v2_version_config",
        "v2_version_infer",
        "v2_version_metadata",
        "v2_version_ready",
        "v2_version_statistics",
        "variant_download",
        "variant_load",
        "variant_memory",
        "variant_unload",
        "version_compress",
        "version_delete",
        "version_get",
        "version_measure",
        "version_predict_dataset",
        "version_update",
        "weights_create",
        "weights_delete",
        "weights_get",
        "weights_list",
        "weights_update",
        "worker_list",
    ]
    assert all(
        operation["summary"] and operation["description"] and operation["tags"] for operation in operations(document)
    )


def test_every_error_is_documented_as_a_problem_or_as_the_inference_protocol_has_it(document: dict[str, Any]) -> None:
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    fault = {"application/json": {"schema": {"$ref": "#/components/schemas/ProtocolFault"}}}
    for operation in operations(document):
        name = operation["operationId"]
        for status, response in operation["responses"].items():
            if int(status) >= 400 and name not in {"health_ready", "v2_health_ready"} and "content" in response:
                assert response["content"] == (fault if name.startswith("v2_") else problem)


def test_a_call_asks_for_a_key_exactly_where_it_is_documented(
    document: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    keys = {"api_keys": "ada:key-of-ada-0123456789", "metrics_key": "key-of-the-counters"}
    settings = samples.quick_settings(tmp_path_factory.mktemp("keys") / "home", **keys)
    names = {"name": "a", "number": 1, "variant": "fp32", "alias": "live", "picture": "a.svg"}
    names |= {"model": "a", "version": "1"}
    ids = {
        "job_id": "job_0123456789",
        "dataset_id": "ds_0123456789",
        "weights_id": "wt_0123456789",
        "image_id": "img_0",
    }
    asking, documented, secured = set(), set(), set()
    with running(settings) as live:
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                name = operation["operationId"]
                if live.http.request(method, path.format(**names, **ids)).status_code == 401:
                    asking.add(name)
                if "401" in operation["responses"]:
                    documented.add(name)
                if operation.get("security") != []:
                    secured.add(name)

    assert asking == documented == secured
    assert {"schema_train", "health_live"}.isdisjoint(asking)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    def references(node: Any) -> set[str]:
        if isinstance(node, dict):
            own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
            return own.union(*(references(child) for child in node.values()))
        return set().union(*(references(child) for child in node)) if isinstance(node, list) else set()

    known = {f"#/components/{kind}/{name}" for kind in ("schemas", "examples") for name in document["components"][kind]}
    assert references(document) == known & references(document)


def objects_in(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every object of a JSON document."""
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from objects_in(child)


def test_every_union_has_a_discriminator_that_each_of_its_members_requires(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    unions = [node for node in objects_in(document) if isinstance(node.get("oneOf"), list)]

    assert len(unions) > 10
    for union in unions:
        name, mapping = union["discriminator"]["propertyName"], union["discriminator"]["mapping"]
        assert set(mapping.values()) == {member["$ref"] for member in union["oneOf"]}
        for value, reference in mapping.items():
            member = schemas[reference.rpartition("/")[2]]
            assert name in member["required"], reference
            tag = member["properties"][name]
            assert value in tag.get("enum", [tag.get("const")])
            assert "default" not in tag


FREE = {"Best.parameters", "Job.parameters", "Trial.parameters"}  # dotted paths in a spec → values of any type


def test_no_two_shapes_have_one_name(document: dict[str, Any]) -> None:
    """Classes of one name in two modules become components with the modules' names in theirs, which clients refuse."""
    assert [name for name in document["components"]["schemas"] if "__" in name] == []


def test_no_object_is_left_without_a_shape_where_its_shape_is_known(document: dict[str, Any]) -> None:
    shapeless = {
        f"{name}.{field}"
        for name, schema in document["components"]["schemas"].items()
        for field, inner in schema.get("properties", {}).items()
        for node in objects_in(inner)
        if node.get("type") == "object"
        and "properties" not in node
        and "patternProperties" not in node
        and node.get("additionalProperties", True) in (True, {})
    }

    assert shapeless == FREE


def test_each_kind_of_event_has_a_shape_and_the_stream_names_them(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    shapes = {kind: at.rpartition("/")[2] for kind, at in schemas["JobEvent"]["discriminator"]["mapping"].items()}
    stream = document["paths"]["/jobs/{job_id}/events"]["get"]["responses"]["200"]

    assert {"state", "phase", "progress", "metrics", "log", "child"} <= shapes.keys()
    assert all(shape in stream["description"] for shape in shapes.values())
    assert all(f"`{kind}`" in stream["description"] for kind in shapes)
    assert stream["content"]["text/event-stream"]["schema"] == {"$ref": "#/components/schemas/JobEvent"}


def test_no_key_of_an_event_is_of_another_type_than_its_further_keys(document: dict[str, Any]) -> None:
    """TypeScript refuses that, and openapi-generator fails at further keys that may be null."""
    figures = document["components"]["schemas"]["MetricsEvent"]

    assert figures["additionalProperties"] == {}
    assert {"event", "epoch", "lr", "train_loss", "val_loss"} <= figures["properties"].keys()


def test_no_parameter_may_be_null(document: dict[str, Any]) -> None:
    """A query or a header has no null: it would be sent as the word."""
    parameters = [
        parameter
        for operations in document["paths"].values()
        for operation in operations.values()
        for parameter in operation.get("parameters", ())
    ]

    assert len(parameters) > 20
    assert [each["name"] for each in parameters if {"type": "null"} in each["schema"].get("anyOf", ())] == []


@pytest.mark.parametrize("form", ["DatasetForm", "PredictForm"])
def test_a_form_has_no_further_fields(document: dict[str, Any], form: str) -> None:
    assert document["components"]["schemas"][form]["additionalProperties"] is False


@pytest.mark.parametrize("patch", ["DatasetPatch", "DescriptionPatch"])
def test_tags_are_all_different(document: dict[str, Any], patch: str) -> None:
    tags = document["components"]["schemas"][patch]["properties"]["tags"]

    assert [member["uniqueItems"] for member in tags["anyOf"] if member["type"] == "array"] == [True]


def test_a_job_has_its_spec_its_problem_and_its_result_typed(document: dict[str, Any]) -> None:
    job = document["components"]["schemas"]["Job"]["properties"]

    def references(field: str) -> set[str]:
        return {node["$ref"].rpartition("/")[2] for node in objects_in(job[field]) if "$ref" in node}

    assert references("spec") == {"ResolvedSpec"}
    assert references("problem") == {"Problem"}
    assert references("result") == {"Outcome"}
    assert references("parameters") == {"TakenUp", "DatasetTakenUp", "Preview", "TextPreview"}


def test_it_says_where_it_is_served_and_under_which_licence_and_names_no_machine(document: dict[str, Any]) -> None:
    assert [server["url"] for server in document["servers"]] == ["/"]
    assert document["info"]["license"]["identifier"] == "Apache-2.0"
    assert all(tag["description"] for tag in document["tags"])
    used = {tag for operation in operations(document) for tag in operation["tags"]}
    assert used == {tag["name"] for tag in document["tags"]}


def test_redocly_and_spectral_find_nothing() -> None:
    root = Path(__file__).parents[2]
    if not (root / "docs" / "clients" / "node_modules" / ".made").exists():
        pytest.skip("Redocly and Spectral are not installed: `make check` installs them")

    linted = subprocess.run([root / "tools" / "lint_openapi"], check=False, capture_output=True, text=True)

    assert (linted.returncode, linted.stdout) == (0, ""), linted.stdout


def test_the_snapshot_is_fresh() -> None:
    command = [sys.executable, "-m", "service.openapi", "--check"]

    assert subprocess.run(command, check=False, capture_output=True, text=True).returncode == 0


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    return generate(tmp_path_factory.mktemp("generated"))


def test_the_generated_client_speaks_to_the_live_service(service: Service, client: ModuleType) -> None:
    session = client.Client(base_url=service.url)
    dataset = service.upload()["id"]
    spec = shape(client, "ImageSpec")(
        name="flowers",
        dataset=dataset,
        optimizer=shape(client, "Sgd")(kind="sgd", lr=0.1),
        augmentation=[shape(client, "RandomFlip")(kind="random_flip")],
    )

    alive = call(client, "health.health_live")(client=session)
    schema = call(client, "train.schema_train")(client=session)
    listed = call(client, "datasets.dataset_list")(client=session)
    tried = call(client, "train.train_create")(client=session, body=spec, dry_run=True)
    job = call(client, "train.train_create")(client=session, body=spec, idempotency_key="generated")
    canceled = call(client, "jobs.job_cancel")(job["id"] if isinstance(job, dict) else job.id, client=session)

    assert alive.status == "ok"
    assert "$defs" in schema.to_dict()
    assert [each.id for each in listed.items] == [dataset]
    assert tried.spec.to_dict()["optimizer"]["lr"] == 0.1
    assert (job.state.value, canceled.state.value) == ("queued", "canceled")


def test_the_generated_clients_classes_are_named_after_what_they_are(client: ModuleType) -> None:
    names = [
        "StateEvent",
        "ResolvedImageSpec",
        "Mistake",
        "Cut",
        "TakenUp",
        "JobChanges",
        "TrialChanges",
        "BestChanges",
    ]

    assert [shape(client, name).__name__ for name in names] == names
    assert [name for name in vars(client.models) if "Body" in name] == []


def test_the_generated_client_gets_problems_as_objects(service: Service, client: ModuleType) -> None:
    session = client.Client(base_url=service.url)
    body = shape(client, "PredictRequest")(model="nobody", inputs=["aGk="])

    problem = call(client, "predict.predict_create")(client=session, body=body)

    assert isinstance(problem, shape(client, "Problem"))
    assert (problem.status, problem.code) == (404, "model_not_found")
