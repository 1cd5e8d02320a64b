"""Models over HTTP: what was made and measured, the files, and aliases that move while predictions go on."""

import base64
import hashlib
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.service.live_service import Service, a_plain_image, problem_of
from tests.service.onnx_files import write_colour_net

DOWNLOAD = "/models/colours/versions/1/variants/int8/download"


@pytest.fixture(scope="module", autouse=True)
def colours(service: Service, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Publish two versions of one model; return the first one's file."""
    folder = tmp_path_factory.mktemp("onnx")
    file = write_colour_net(folder / "first.onnx").read_bytes()
    service.publish("colours", folder / "first.onnx", variants=("fp32", "int8"))
    service.publish("colours", write_colour_net(folder / "second.onnx", name="second"))
    return file


def predict(service: Service, reference: str) -> httpx.Response:
    image = base64.b64encode(a_plain_image((250, 0, 0))).decode()
    return service.http.post("/predict", json={"model": reference, "inputs": [image]})


def version_that_answers(service: Service, reference: str) -> tuple[int, str]:
    document = predict(service, reference).raise_for_status().json()
    return document["version"], document["variant"]


def test_a_model_lists_its_versions_newest_first(service: Service) -> None:
    model = service.http.get("/models/colours").json()

    assert [each["version"] for each in model["versions"]] == [2, 1]
    assert model["name"] in [each["name"] for each in service.http.get("/models").json()["items"]]


def test_a_version_tells_what_was_measured_of_each_variant(service: Service) -> None:
    version = service.http.get("/models/colours/versions/1").json()

    assert (version["labels"], version["input"]["size"]) == (["red", "green", "blue"], 16)
    assert [(each["name"], each["default"], each["accepted"]) for each in version["variants"]] == [
        ("fp32", True, True),
        ("int8", False, True),
    ]
    assert version["metrics"] == {"test": {"accuracy": 0.9}}


def test_a_download_is_the_file_and_its_etag_the_digest(service: Service, colours: bytes) -> None:
    answer = service.http.get(DOWNLOAD)

    assert answer.content == colours
    assert answer.headers["etag"] == f'"{hashlib.sha256(colours).hexdigest()}"'
    assert "colours-1-int8.onnx" in answer.headers["content-disposition"]
    assert service.http.head(DOWNLOAD).headers["etag"] == answer.headers["etag"]


@pytest.mark.parametrize("form", ['"{}"', 'W/"{}"', '"other", "{}"', "*"])
def test_a_file_that_is_known_already_is_not_sent_again(service: Service, colours: bytes, form: str) -> None:
    tag = form.format(hashlib.sha256(colours).hexdigest())

    answer = service.http.get(DOWNLOAD, headers={"If-None-Match": tag})

    assert (answer.status_code, answer.content) == (304, b"")


def test_a_range_is_a_part_of_the_file(service: Service, colours: bytes) -> None:
    part = service.http.get(DOWNLOAD, headers={"Range": "bytes=10-19"})
    beyond = service.http.get(DOWNLOAD, headers={"Range": f"bytes={len(colours)}-"})

    assert (part.status_code, part.content) == (206, colours[10:20])
    assert problem_of(beyond, 416, "range_not_satisfiable")


@pytest.mark.parametrize(
    ("given", "first", "end"),
    [
        ("bytes=-5", -5, None),
        ("bytes=0-0", 0, 1),
        ("bytes=10-", 10, None),
        ("BYTES=10-19", 10, 20),
        ("bytes= 10-19 ,", 10, 20),
        ("bytes=10-99999999999999999999999999", 10, None),
        (f"bytes=10-{'9' * 5000}", 10, None),
        ("bytes=-99999999999999999999999999", 0, None),
        (f"bytes={'0' * 5000}10-19", 10, 20),
        ("bytes=10-19, 12-15, 19-29", 10, 30),
        ("bytes=10-19, 99999999-, -0", 10, 20),
    ],
)
def test_one_part_is_sent_for_ranges_that_are_one(
    service: Service, colours: bytes, given: str, first: int, end: int | None
) -> None:
    part = service.http.get(DOWNLOAD, headers={"Range": given})

    begin = len(colours) + first if first < 0 else first
    assert (part.status_code, part.content) == (206, colours[first:end])
    assert part.headers["content-range"] == f"bytes {begin}-{(end or len(colours)) - 1}/{len(colours)}"


@pytest.mark.parametrize(
    "given", ["bytes=-0", "bytes=-000", "bytes=99999999-", f"bytes={'9' * 5000}-", "bytes=-0, 99999999-"]
)
def test_a_range_outside_of_the_file_is_not_satisfiable(service: Service, colours: bytes, given: str) -> None:
    answer = service.http.get(DOWNLOAD, headers={"Range": given})

    problem_of(answer, 416, "range_not_satisfiable")
    assert answer.headers["content-range"] == f"bytes */{len(colours)}"


def test_a_file_of_the_docs_page_has_ranges_too(service: Service) -> None:
    path = "/docs/assets/favicon-32x32.png"

    assert service.http.get(path, headers={"Range": "bytes=1-3"}).content == b"PNG"
    assert service.http.get(path, headers={"Range": "bytes=x"}).status_code == 200
    problem_of(service.http.get(path, headers={"Range": "bytes=-0"}), 416, "range_not_satisfiable")


def test_a_range_of_another_state_of_the_file_is_ignored(service: Service) -> None:
    seen = service.http.head(DOWNLOAD).headers

    answers = {
        form: service.http.get(DOWNLOAD, headers={"Range": given, "If-Range": form}).status_code
        for form, given in [
            (seen["etag"], "bytes=1-2"),
            (seen["last-modified"], "bytes=1-2"),
            ('"other"', "bytes=1-2"),
            (f"W/{seen['etag']}", "bytes=1-2"),
            ("Thu, 01 Jan 1970 00:00:00 GMT", "bytes=99999999-"),
        ]
    }

    assert list(answers.values()) == [206, 206, 200, 200, 200]


def test_a_range_means_nothing_where_the_file_is_not_asked_for(service: Service, colours: bytes) -> None:
    answer = service.http.head(DOWNLOAD, headers={"Range": "bytes=1-2"})

    assert (answer.status_code, answer.headers["content-length"]) == (200, str(len(colours)))


@pytest.mark.parametrize(
    "given",
    [
        "lines=1",
        "bytes=x",
        "bytes=5-2",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=--5",
        "bytes=1-2-3",
        "bytes=0x1-2",
        "bytes=\u0661-2".encode(),
        "bytes=1-2, x",
        "bytes=0-1,5-2",
        "bytes=" + ",".join(["0-0"] * 101),
        "bytes",
        "0-5",
    ],
)
def test_what_is_no_range_of_bytes_is_ignored(service: Service, colours: bytes, given: str | bytes) -> None:
    whole = service.http.get(DOWNLOAD, headers={"Range": given})

    assert (whole.status_code, whole.content) == (200, colours)


def test_an_alias_moves_at_once(service: Service) -> None:
    service.http.put("/models/colours/aliases/live", json={"version": 1}).raise_for_status()
    before = version_that_answers(service, "colours@live")

    service.http.put("/models/colours/aliases/live", json={"version": 2}).raise_for_status()
    after = version_that_answers(service, "colours@live")

    assert (before, after) == ((1, "fp32"), (2, "fp32"))
    assert service.http.get("/models/colours").json()["aliases"]["live"]["version"] == 2


def test_an_alias_may_name_a_variant_and_default_answers_the_bare_name(service: Service) -> None:
    service.http.put("/models/colours/aliases/default", json={"version": 1, "variant": "int8"}).raise_for_status()
    with_default = version_that_answers(service, "colours")

    assert service.http.delete("/models/colours/aliases/default").status_code == 204
    without = version_that_answers(service, "colours")

    assert (with_default, without) == ((1, "int8"), (2, "fp32"))
    problem_of(service.http.delete("/models/colours/aliases/default"), 404, "model_not_found")


def test_an_alias_does_not_move_to_a_file_that_can_not_be_loaded(service: Service, tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"never a model")
    service.publish("breaking", write_colour_net(tmp_path / "net.onnx", name="breaking"))
    service.publish("breaking", broken)
    service.http.put("/models/breaking/aliases/default", json={"version": 1}).raise_for_status()

    problem_of(service.http.put("/models/breaking/aliases/default", json={"version": 2}), 503, "model_unusable")

    assert version_that_answers(service, "breaking") == (1, "fp32")


@pytest.mark.parametrize(
    ("body", "status", "pointer"),
    [
        ({}, 422, ""),
        ({"version": 1, "targets": [{"version": 2, "weight": 1}]}, 422, ""),
        ({"variant": "int8", "targets": [{"version": 2, "weight": 1}]}, 422, ""),
        ({"targets": [{"version": 2, "weight": 0}]}, 422, "/targets/0/weight"),
        ({"version": 1, "shadow": {"version": 2, "share": 1.5}}, 422, "/shadow/share"),
        ({"version": 1, "shadow": {"version": 9, "share": 1.0}}, 404, None),
        ({"version": 0}, 422, "/version"),
        ({"version": "1"}, 422, "/version"),
        ({"version": 10**12}, 422, "/version"),
        ({"version": 1, "varient": "int8"}, 422, "/varient"),
        ({"version": 9}, 404, None),
        ({"version": 1, "variant": "fp16"}, 404, None),
        ({"version": 1, "variant": "a\0"}, 404, None),
    ],
)
def test_an_alias_to_nowhere_is_refused(
    service: Service, body: dict[str, Any], status: int, pointer: str | None
) -> None:
    problem = service.http.put("/models/colours/aliases/lost", json=body).json()

    assert (problem["status"], [error["pointer"] for error in problem["errors"]]) == (
        status,
        [pointer] if pointer is not None else [],
    )
    assert "lost" not in service.http.get("/models/colours").json()["aliases"]


@pytest.mark.parametrize(
    "path",
    [
        "/models/nobody",
        "/models/colours/versions/9",
        "/models/colours/versions/1/variants/fp16/download",
        "/models/..%2f/versions/1",
        "/models/colours/versions/99999999999999999999",
        "/models/colours/versions/one",
        "/models/a%00b",
    ],
)
def test_what_is_not_there_is_not_found(service: Service, path: str) -> None:
    answer = service.http.get(path)

    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def test_a_download_whose_file_is_gone_says_so(service: Service, tmp_path: Path) -> None:
    service.publish("vanished", write_colour_net(tmp_path / "net.onnx", name="vanished"))
    served = service.context.references.resolve("vanished", owner="local")
    service.context.blobs.delete(served.blob)

    problem_of(service.http.get("/models/vanished/versions/1/variants/fp32/download"), 503, "model_unusable")


@pytest.fixture(scope="module")
def elsewhere(service: Service, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Publish a model with a variant that was measured on CUDA alone, and a file for use elsewhere."""
    file = write_colour_net(tmp_path_factory.mktemp("onnx") / "net.onnx", name="elsewhere")
    cards = {
        "fp16": {"kind": "fp16", "parent": "fp32", "measured": {"cuda": {"accepted": True, "speedup": 2.0}}},
        "any-size": {"kind": "any-size", "parent": "fp32", "standalone": True},
    }
    service.publish("elsewhere", file, variants=("int8", "fp32"), variant_cards=cards)
    return "elsewhere"


@pytest.mark.parametrize(
    ("variant", "why"),
    [
        (
            "fp16",
            "never measured on cpu, which serves here; name one of int8, fp32, or no variant, or measure it",
        ),
        ("any-size", "is a file for use elsewhere"),
    ],
)
def test_a_variant_that_is_not_served_here_is_refused_by_name_and_by_alias(
    service: Service, elsewhere: str, variant: str, why: str
) -> None:
    by_name = predict(service, f"{elsewhere}:1/{variant}")
    by_alias = service.http.put(f"/models/{elsewhere}/aliases/live", json={"version": 1, "variant": variant})

    for answer in (by_name, by_alias):
        assert why in problem_of(answer, 409, "variant_not_served_here")["detail"]
    assert service.http.get(f"/models/{elsewhere}").json()["aliases"] == {}
    assert service.http.get(f"/models/{elsewhere}/versions/1/variants/{variant}/download").status_code == 200


def test_a_bare_name_means_the_default_of_the_provider_that_serves(service: Service, elsewhere: str) -> None:
    assert version_that_answers(service, elsewhere) == (1, "int8")


def test_a_version_tells_its_defaults_and_what_was_measured_by_provider(service: Service, elsewhere: str) -> None:
    version = service.http.get(f"/models/{elsewhere}/versions/1").json()

    variants = {each["name"]: each for each in version["variants"]}
    assert version["defaults"] == {"cpu": "int8"}
    assert version["not_made"] == {}
    assert variants["fp16"]["measured"]["cuda"]["speedup"] == 2.0
    assert variants["any-size"]["standalone"]
    assert variants["any-size"]["measured"] == {}
