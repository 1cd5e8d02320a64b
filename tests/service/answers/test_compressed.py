"""Answers that come compressed where the client asks for it, and those that never do."""

import gzip
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import brotli
import httpx
import pytest
from backports import zstd

from service.problems import MEDIA_TYPE
from tests import samples
from tests.service.live_service import Service, a_plain_image, problem_of, running
from tests.service.onnx_files import write_colour_net
from tests.service.prediction_requests import RED, as_text

DOCUMENT = "/openapi.json"
STYLE = "/docs/assets/swagger-ui.css"
SCRIPT = "/docs/assets/swagger-ui-bundle.js"
DOWNLOAD = "/models/colours/versions/1/variants/fp32/download"
UNPACK: dict[str | None, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
    "br": brotli.decompress,
    "zstd": zstd.decompress,
    None: bytes,
}


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("compressed")
    with running(samples.quick_settings(folder / "home")) as service:
        service.publish("colours", write_colour_net(folder / "net.onnx"))
        yield service


def fetch(service: Service, path: str, accept: str | None, method: str = "GET", **headers: str) -> httpx.Response:
    """Return an answer whose body is as it came."""
    sent = {b"Accept-Encoding": accept.encode()} if accept is not None else {}
    with httpx.Client(base_url=service.url) as client:  # without the service's hooks, which would unpack it
        request = client.build_request(method, path, headers=headers)
        del request.headers["Accept-Encoding"]
        request.headers.update(sent)
        answer = client.send(request, stream=True)
        answer._content = b"".join(answer.iter_raw())  # noqa: SLF001  httpx has no other way to leave it packed
    return answer


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        (None, None),
        ("", None),
        ("identity", None),
        ("gzip", "gzip"),
        ("X-GZIP", "gzip"),
        ("deflate", "deflate"),
        ("br", "br"),
        ("zstd", "zstd"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, deflate, br", "br"),
        ("gzip;q=1.0, br;q=0.5", "gzip"),
        ("gzip; Q=0.001", "gzip"),
        ("gzip;q=0", None),
        ("gzip;q=0, *", "zstd"),
        ("*", "zstd"),
        ("*;q=0.5, zstd;q=0, br;q=0", "gzip"),
        ("identity;q=1, gzip;q=0.5", None),
        ("identity;q=0.5, gzip;q=0.5", "gzip"),
        ("identity;q=0, gzip", "gzip"),
        ("*;q=0, identity", None),
        ("*;q=0, gzip", "gzip"),
        ("compress, lzma", None),
        ("gzip;q=2", None),
        ("gzip;q=abc", None),
        (",,gzip,,", "gzip"),
        ("x" * 5000 + ", gzip", None),
    ],
)
def test_the_coding_is_what_the_client_prefers(live: Service, accept: str | None, coding: str | None) -> None:
    plain = fetch(live, DOCUMENT, None)

    answer = fetch(live, DOCUMENT, accept)

    assert (answer.status_code, answer.headers.get("content-encoding")) == (200, coding)
    assert UNPACK[coding](answer.content) == plain.content
    assert answer.headers["vary"] == "Accept-Encoding"
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert coding is None or len(answer.content) < len(plain.content) / 5


@pytest.mark.parametrize("accept", ["identity;q=0", "*;q=0", "identity;q=0, gzip;q=0, *;q=0", "*;q=0, compress"])
@pytest.mark.parametrize("path", [DOCUMENT, "/health/live", "/nothing"])
def test_a_client_that_takes_no_form_at_all_is_told_so(live: Service, accept: str, path: str) -> None:
    problem_of(fetch(live, path, accept), 406, "encoding_not_acceptable")


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
@pytest.mark.parametrize("path", [STYLE, SCRIPT, "/schema/train", "/metrics"])
def test_pages_scripts_schemas_and_counters_are_compressed(live: Service, path: str, coding: str) -> None:
    answer = fetch(live, path, coding)

    assert (answer.headers["content-encoding"], answer.headers["vary"]) == (coding, "Accept-Encoding")
    unpacked = UNPACK[coding](answer.content)
    if path != "/metrics":
        assert unpacked == fetch(live, path, None).content


def test_a_small_answer_is_left_as_it_is(live: Service) -> None:
    image = as_text(a_plain_image(RED))

    answers = [
        fetch(live, "/health/live", "gzip"),
        live.http.post("/predict", json={"model": "colours", "inputs": [image]}),
    ]

    for answer in answers:
        assert answer.status_code == 200
        assert not {"content-encoding", "vary"} & answer.headers.keys()


def test_a_small_answer_is_compressed_for_a_client_that_refuses_it_plain(live: Service) -> None:
    answer = fetch(live, "/health/live", "identity;q=0, gzip")

    assert answer.headers["content-encoding"] == "gzip"
    assert gzip.decompress(answer.content) == b'{"status":"ok"}'


def test_a_large_prediction_and_a_large_problem_are_compressed(live: Service) -> None:
    image = as_text(a_plain_image(RED))
    wrong = {"model": "colours", "inputs": [""] * 100}
    right = {"model": "colours", "inputs": [image] * 60}

    answers = [live.http.post("/predict", json=body, headers={"Accept-Encoding": "br"}) for body in (right, wrong)]

    assert [(answer.status_code, answer.headers["content-encoding"]) for answer in answers] == [
        (200, "br"),
        (422, "br"),
    ]
    assert len(answers[0].json()["predictions"]) == 60
    assert answers[1].headers["content-type"] == MEDIA_TYPE


def test_what_is_packed_already_and_a_model_are_never_compressed(live: Service) -> None:
    for path in (DOWNLOAD, "/docs/assets/favicon-32x32.png"):
        packed, plain = fetch(live, path, "gzip, br, zstd"), fetch(live, path, None)

        assert (packed.status_code, packed.content) == (200, plain.content)
        assert "content-encoding" not in packed.headers
        assert "vary" not in packed.headers
        assert packed.headers["etag"] == plain.headers["etag"]
        assert not plain.headers["etag"].startswith("W/")


def test_events_are_never_compressed(live: Service) -> None:
    job = live.http.get("/jobs").json()["items"][0]["id"]

    answer = fetch(live, f"/jobs/{job}/events", "gzip", "HEAD")

    assert "content-encoding" not in answer.headers


def test_a_compressed_file_has_a_weak_tag_that_is_known_again(live: Service) -> None:
    plain, packed = fetch(live, STYLE, None), fetch(live, STYLE, "gzip")
    tag = plain.headers["etag"]

    again = {
        sent: fetch(live, STYLE, "gzip", **{"If-None-Match": sent}) for sent in (f"W/{tag}", tag, f'"x", W/{tag}', "*")
    }
    other = fetch(live, STYLE, "gzip", **{"If-None-Match": '"other"'})

    assert packed.headers["etag"] == f"W/{tag}"
    assert {answer.status_code for answer in again.values()} == {304}
    assert [answer.headers["etag"] for answer in again.values()] == [f"W/{tag}", tag, f"W/{tag}", tag]
    assert all(not answer.content and "content-encoding" not in answer.headers for answer in again.values())
    assert (other.status_code, other.headers["content-encoding"]) == (200, "gzip")


def test_a_part_of_a_file_is_never_compressed(live: Service) -> None:
    plain = fetch(live, STYLE, None)

    part = fetch(live, STYLE, "gzip", Range="bytes=100-4999")
    ignored = fetch(live, STYLE, "gzip", Range="bytes=x")
    stale = fetch(
        live, STYLE, "gzip", Range="bytes=100-4999", **{"If-Range": fetch(live, STYLE, "gzip").headers["etag"]}
    )

    assert (part.status_code, part.content) == (206, plain.content[100:5000])
    assert "content-encoding" not in part.headers
    assert [(answer.status_code, answer.content) for answer in (ignored, stale)] == [(200, plain.content)] * 2
    assert "accept-ranges" not in fetch(live, STYLE, "gzip").headers


@pytest.mark.parametrize("path", [DOCUMENT, STYLE, "/docs", "/health/live", "/schema/train", "/nothing"])
@pytest.mark.parametrize("accept", ["gzip", "br", "identity", "identity;q=0, zstd"])
def test_head_has_the_headers_of_the_compressed_answer(live: Service, path: str, accept: str) -> None:
    get, head = (fetch(live, path, accept, method) for method in ("GET", "HEAD"))

    ignored = {"date", "transfer-encoding", "x-request-id"}
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert {name: value for name, value in head.headers.items() if name not in ignored} == {
        name: value for name, value in get.headers.items() if name not in ignored
    }


def test_several_headers_count_as_one_list(tmp_path: Path) -> None:
    with running(samples.quick_settings(tmp_path / "home")) as service:
        request = service.http.build_request("GET", DOCUMENT)
        del request.headers["Accept-Encoding"]
        headers = [*request.headers.raw, (b"Accept-Encoding", b"lzma"), (b"Accept-Encoding", b"gzip")]

        answer = service.http.send(httpx.Request("GET", request.url, headers=headers))

        assert answer.headers["content-encoding"] == "gzip"
        assert answer.json()["info"]["title"] == "Espalier"
