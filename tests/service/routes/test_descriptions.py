"""Names, descriptions and tags over HTTP: uploads of what is known already, and PATCH by JSON merge patches."""

import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from safetensors.numpy import save

from tests import samples
from tests.service.live_service import Service, an_archive, problem_of, running
from tests.service.onnx_files import write_colour_net

MODEL, VERSION = "/models/colours", "/models/colours/versions/1"
EMPTY = {"description": None, "tags": []}


@pytest.fixture(scope="module")
def dataset(service: Service) -> str:
    return f"/datasets/{upload(service, seed=40, name='described').json()['id']}"


@pytest.fixture(scope="module", autouse=True)
def colours(service: Service, tmp_path_factory: pytest.TempPathFactory) -> None:
    service.publish("colours", write_colour_net(tmp_path_factory.mktemp("onnx") / "net.onnx"))


@pytest.fixture(params=["dataset", "model", "version"])
def path(request: pytest.FixtureRequest, dataset: str) -> str:
    return {"dataset": dataset, "model": MODEL, "version": VERSION}[request.param]


def patch(service: Service, path: str, body: Any, *, as_type: str = "application/merge-patch+json") -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return service.http.patch(path, content=content, headers={"Content-Type": as_type})


def written(document: dict[str, Any]) -> dict[str, Any]:
    return {"description": document["description"], "tags": document["tags"]}


def upload(service: Service, *, seed: int, **query: str) -> httpx.Response:
    headers = {"Content-Type": "application/zip"}
    return service.http.post("/datasets", params=query, content=an_archive(seed=seed), headers=headers)


def test_a_new_dataset_has_no_note(service: Service) -> None:
    assert "note" not in upload(service, seed=41, name="first").json()


def test_a_known_archive_under_another_name_keeps_its_own_and_the_answer_tells_so(service: Service) -> None:
    first = upload(service, seed=42, name="leaves of May").json()

    again = upload(service, seed=42, name="trees")

    document = again.json()
    assert (again.status_code, document["id"], document["name"]) == (200, first["id"], "leaves of May")
    assert f"already here as 'leaves of May' ({first['id']})" in document["note"]
    assert f"PATCH /datasets/{first['id']}" in document["note"]


@pytest.mark.parametrize("query", [{"name": "same"}, {"name": " same "}, {}], ids=["same", "spaces", "none"])
def test_a_known_archive_under_its_own_name_or_none_is_the_same_document(
    service: Service, query: dict[str, str]
) -> None:
    first = upload(service, seed=43, name="same")

    assert upload(service, seed=43, **query).json() == first.json()


def test_after_a_rename_a_known_archive_is_told_by_the_new_name(service: Service) -> None:
    first = upload(service, seed=44, name="old").json()

    renamed = patch(service, f"/datasets/{first['id']}", {"name": " new  "})

    assert (renamed.status_code, renamed.json()["name"]) == (200, "new")
    assert "already here as 'new'" in upload(service, seed=44, name="old").json()["note"]


def test_known_weights_under_another_name_keep_theirs_and_are_renamed(service: Service) -> None:
    bytes_ = save({"described": np.ones(3, np.float32)})
    headers = {"Content-Type": "application/octet-stream"}
    first = service.http.post("/weights", params={"name": "one"}, content=bytes_, headers=headers).json()
    path = f"/weights/{first['id']}"

    again = service.http.post("/weights", params={"name": "two"}, content=bytes_, headers=headers)
    unnamed = service.http.post("/weights", content=bytes_, headers=headers)
    renamed = patch(service, path, {"name": "two"})

    assert (again.status_code, again.json()["name"]) == (200, "one")
    assert f"already here as 'one' ({first['id']})" in again.json()["note"]
    assert unnamed.json() == first
    assert renamed.json() == service.http.get(path).json() == first | {"name": "two"}
    assert patch(service, path, {}).json()["name"] == "two"
    for name in (None, "", "a\nb", 3):
        problem_of(patch(service, path, {"name": name}), 422, "invalid_body")
    problem_of(patch(service, "/weights/wt_0000000009", {"name": "x"}), 404, "weights_not_found")


def test_a_dataset_may_have_the_name_of_another(service: Service) -> None:
    ids = [upload(service, seed=45 + number, name=f"twin {number}").json()["id"] for number in range(2)]

    answers = [patch(service, f"/datasets/{each}", {"name": "twin 0"}) for each in ids]

    assert [(answer.status_code, answer.json()["name"]) for answer in answers] == [(200, "twin 0")] * 2


@pytest.mark.parametrize(
    "as_type", ["application/json", "application/merge-patch+json", "application/json; charset=utf-8"]
)
def test_a_patch_sets_what_it_names_and_answers_the_new_document(service: Service, path: str, as_type: str) -> None:
    patch(service, path, {"description": None, "tags": None})

    first = patch(service, path, {"description": "of May\nand June"}, as_type=as_type)
    second = patch(service, path, {"tags": ["field", "ein Blatt \u6a39"]}, as_type=as_type)

    assert (first.status_code, written(first.json())) == (200, {"description": "of May\nand June", "tags": []})
    assert written(second.json()) == {"description": "of May\nand June", "tags": ["field", "ein Blatt \u6a39"]}
    assert service.http.get(path).json() == second.json()


def test_null_clears_and_an_empty_patch_changes_nothing(service: Service, path: str) -> None:
    before = patch(service, path, {"description": "something", "tags": ["a"]}).json()

    unchanged = patch(service, path, {}).json()
    cleared = patch(service, path, {"description": None, "tags": None}).json()

    assert unchanged == before
    assert written(cleared) == EMPTY


@pytest.mark.parametrize(
    ("body", "pointer", "said"),
    [
        ({"descripton": "x"}, "/descripton", "description"),
        ({"id": "ds_0123456789"}, "/id", "is not a key here"),
        ({"tags": "a"}, "/tags", "list"),
        ({"tags": [1]}, "/tags/0", "string"),
        ({"tags": [None]}, "/tags/0", "string"),
        ({"tags": [""]}, "/tags/0", "1"),
        ({"tags": ["  "]}, "/tags/0", "0 characters"),
        ({"tags": ["a\u202eb"]}, "/tags/0", "U+202E"),
        ({"tags": ["x" * 61]}, "/tags/0", "60"),
        ({"tags": ["a", "b", "a"]}, "/tags", "the tag 'a' comes twice; give it once"),
        ({"tags": [str(number) for number in range(21)]}, "/tags", "20"),
        ({"description": 3}, "/description", "string"),
        ({"description": "x" * 2001}, "/description", "2000"),
        ({"description": "a\x00b"}, "/description", "U+0000"),
        ([], "", "object"),
        (None, "", "object"),
        ("x", "", "object"),
    ],
)
def test_what_no_patch_may_set_is_refused_with_its_place(
    service: Service, path: str, body: Any, pointer: str, said: str
) -> None:
    before = service.http.get(path).json()

    problem = problem_of(patch(service, path, body), 422, "invalid_body")

    assert problem["errors"][0]["pointer"] == pointer
    message = problem["errors"][0]["message"]
    assert said in message + str(problem["errors"][0].get("allowed"))
    assert "once, not" not in message
    assert "out, not" not in message
    assert service.http.get(path).json() == before


@pytest.mark.parametrize("name", [None, "", "   ", "a\nb", "x" * 201, 3, ["a"], "a\u202eb"])
def test_a_dataset_is_not_called_what_nothing_may_be_called(service: Service, dataset: str, name: Any) -> None:
    problem = problem_of(patch(service, dataset, {"name": name}), 422, "invalid_body")

    assert problem["errors"][0]["pointer"] == "/name"
    assert service.http.get(dataset).json()["name"] == "described"


@pytest.mark.parametrize("path", [MODEL, VERSION])
def test_a_model_keeps_its_name(service: Service, path: str) -> None:
    problem = problem_of(patch(service, path, {"name": "other"}), 422, "invalid_body")

    assert problem["errors"][0]["pointer"] == "/name"


def test_other_bodies_are_refused(service: Service, path: str) -> None:
    problem_of(patch(service, path, b"{", as_type="application/json"), 400, "malformed_request")
    problem_of(patch(service, path, b'{"tags": [], "tags": []}'), 400, "malformed_request")
    problem_of(patch(service, path, {"tags": []}, as_type="text/plain"), 415, "unsupported_media_type")
    problem_of(patch(service, path, [], as_type="application/json-patch+json"), 415, "unsupported_media_type")
    problem_of(patch(service, path, b" " * 70_000), 413, "body_too_large")


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/datasets/ds_0000000009", "dataset_not_found"),
        ("/models/nobody", "model_not_found"),
        ("/models/colours/versions/9", "model_not_found"),
    ],
)
def test_what_is_not_there_is_not_changed(service: Service, path: str, code: str) -> None:
    problem_of(patch(service, path, {"tags": ["a"]}), 404, code)


def test_lists_are_filtered_by_a_tag(service: Service, dataset: str) -> None:
    for path in (dataset, MODEL):
        patch(service, path, {"tags": ["may", "field"]})

    found = {path: service.http.get(path, params={"tag": "may"}).json()["items"] for path in ("/datasets", "/models")}
    none = [service.http.get(path, params={"tag": "ma"}).json() for path in found]

    assert [f"/datasets/{each['id']}" for each in found["/datasets"]] == [dataset]
    assert [each["name"] for each in found["/models"]] == ["colours"]
    assert none == [{"items": [], "next": None}] * 2


def test_a_tag_is_found_whole_also_behind_quotes_and_commas(service: Service) -> None:
    tags = ['a"b', "c, d", "e\\", '["f', "g"]
    patch(service, MODEL, {"tags": tags})

    found = {
        tag: bool(service.http.get("/models", params={"tag": tag}).json()["items"])
        for tag in [*tags, "b", "c", "d", "e", "f", '"b', ",", "["]
    }

    assert {tag for tag, is_found in found.items() if is_found} == set(tags)


def test_what_is_anothers_is_neither_changed_nor_deleted(tmp_path: Path) -> None:
    keys = "ada:key-of-ada-0123456789,bob:key-of-bob-0123456789"
    with running(samples.quick_settings(tmp_path / "home", api_keys=keys)) as live:
        live.http.headers["Authorization"] = "Bearer key-of-ada-0123456789"
        path = f"/datasets/{live.upload('ada')['id']}"
        live.http.headers["Authorization"] = "Bearer key-of-bob-0123456789"

        problem_of(patch(live, path, {"name": "bob"}), 404, "dataset_not_found")
        problem_of(live.http.delete(path), 404, "dataset_not_found")
        assert live.http.get("/datasets").json()["items"] == []
