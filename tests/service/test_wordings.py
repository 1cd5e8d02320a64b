"""Broken ids, names and cursors in every path, query and header: answered with a sentence, never with a pattern."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.service.live_service import Service

DOCUMENT = json.loads((Path(__file__).parents[2] / "docs" / "openapi.json").read_text())
BROKEN = "!broken value!"
FITTING = {"dataset": "ds_0123456789", "job": "job_0123456789", "weights": "wt_0123456789"}
SIGNS = ("^", "\\", "[A-Z", "[a-z", "[0-9", "match pattern")


def patterned() -> Iterator[Any]:
    for path, operations in DOCUMENT["paths"].items():
        for method, operation in operations.items():
            if not isinstance(operation, dict):
                continue
            for parameter in operation.get("parameters", []):
                forms = [parameter["schema"], *parameter["schema"].get("anyOf", [])]
                if any("pattern" in form for form in forms):
                    identity = f"{method} {path} {parameter['name']}"
                    yield pytest.param(method, path, operation["parameters"], parameter["name"], id=identity)


def filled(path: str, parameters: list[dict[str, Any]], broken: str) -> str:
    """Return the path with an id in each place, and the broken value in one."""
    for parameter in parameters:
        if parameter["in"] == "path":
            name = parameter["name"]
            is_number = parameter["schema"].get("type") == "integer"
            value = BROKEN if name == broken else "1" if is_number else _fitting(name, parameter)
            path = path.replace(f"{{{name}}}", quote(value, safe=""))
    return path


def _fitting(name: str, parameter: dict[str, Any]) -> str:
    pattern = str(parameter["schema"].get("pattern", ""))
    for prefix in FITTING.values():
        if prefix[: prefix.index("_") + 1] in pattern:
            return prefix
    return "picture.svg" if "svg" in pattern else "leaves" if name else ""


@pytest.mark.parametrize(("method", "path", "parameters", "broken"), [*patterned()])
def test_a_broken_value_is_answered_with_a_sentence(
    service: Service, method: str, path: str, parameters: list[dict[str, Any]], broken: str
) -> None:
    place = next(parameter["in"] for parameter in parameters if parameter["name"] == broken)
    query = {broken: BROKEN} if place == "query" else {}
    headers = {broken: BROKEN} if place == "header" else {}

    answer = service.http.request(method.upper(), filled(path, parameters, broken), params=query, headers=headers)

    assert answer.status_code in {404, 405, 422}, answer.text
    if method != "head":
        problem = answer.json()
        told = " ".join([problem["detail"], *(error["message"] for error in problem["errors"])])
        assert not any(sign in told for sign in SIGNS), told
        assert " is not " in told or problem["code"] == "method_not_allowed", told


def test_there_are_such_values() -> None:
    assert len([*patterned()]) > 20


@pytest.mark.parametrize(
    ("query", "advice"),
    [("dryRun=true", "'dry_run'"), ("dry-run=true", "'dry_run'"), ("validate=true", "'dry_run'")],
)
def test_a_query_parameter_is_found_by_its_other_spellings(service: Service, query: str, advice: str) -> None:
    answer = service.http.post(f"/train?{query}", json={"name": "leaves", "dataset": "ds_0123456789"})

    assert f"did you mean {advice}?" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("query", "advice"), [("per_page=3", "'limit'"), ("page=2", "'cursor'"), ("status=x", "'state'")]
)
def test_words_of_other_services_lead_to_the_parameter(service: Service, query: str, advice: str) -> None:
    assert f"did you mean {advice}?" in service.http.get(f"/jobs?{query}").json()["detail"]


def test_a_value_that_is_not_listed_names_the_nearest(service: Service) -> None:
    assert "did you mean 'succeeded'?" in service.http.get("/jobs?state=success").json()["detail"]


def test_what_a_parameter_allows_is_listed_or_limited_as_in_json_schema(service: Service) -> None:
    (state,) = service.http.get("/jobs?state=done").json()["errors"]
    (limit,) = service.http.get("/jobs?limit=0").json()["errors"]

    assert state["allowed"] == ["queued", "running", "waiting", "succeeded", "failed", "canceled"]
    assert state["message"].endswith(", not 'done'; did you mean 'succeeded'?")
    assert limit["allowed"] == {"minimum": 1}
    assert limit["message"].endswith("equal to 1, not '0'")
