"""HEAD, OPTIONS and `Allow`, at every path of the interface, and the service's own address."""

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests import samples
from tests.service.live_service import Service, problem_of, running
from tests.service.onnx_files import write_colour_net

VARYING = {"date", "server-timing", "x-request-id"}


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, dict[str, str]]]:
    """A service with one thing of each kind, and what stands for each parameter of a path."""
    folder = tmp_path_factory.mktemp("methods")
    settings = samples.quick_settings(folder / "home", cors_origins="https://app.example", event_streams_per_owner=2)
    with running(settings) as live:
        live.publish("colours", write_colour_net(folder / "net.onnx"))
        names = {
            "dataset_id": live.upload()["id"],
            "job_id": live.http.get("/jobs").json()["items"][0]["id"],
            "name": "colours",
            "model": "colours",
            "version": "1",
            "number": "1",
            "variant": "fp32",
            "alias": "default",
            "weights_id": "wt_0123456789",
            "image_id": "img_0",
        }
        yield live, names


def paths_of(service: Service, names: dict[str, str]) -> dict[str, set[str]]:
    """Return each path of the OpenAPI document, with what is there, and its methods."""
    document = service.http.get("/openapi.json").json()
    return {
        path.format_map(names | ({"name": "accuracy.png"} if "/pictures/" in path else {})): {
            method.upper() for method in operations
        }
        for path, operations in document["paths"].items()
    }


def raw(service: Service, request: bytes) -> bytes:
    """Send bytes on a connection of their own and return all that comes back."""
    url = httpx.URL(service.url)
    with socket.create_connection((url.host, url.port or 80), timeout=30) as connection:
        connection.sendall(request)
        received = b""
        while part := connection.recv(1 << 16):
            received += part
    return received


def test_head_answers_as_get_does_without_its_body(known: tuple[Service, dict[str, str]]) -> None:
    service, names = known
    paths = [path for path, methods in paths_of(service, names).items() if "GET" in methods]
    paths += ["/openapi.json", "/docs", "/docs/assets/swagger-ui.css", "/nothing", "/jobs/job_0123456789"]
    assert len(paths) > 25

    for path in paths:
        get, head = (service.http.request(method, path, follow_redirects=False) for method in ("GET", "HEAD"))
        varying = VARYING | ({"content-length"} if path == "/metrics" else set()) | {"transfer-encoding"}
        assert head.status_code == get.status_code, path
        assert head.content == b"", path
        assert {name: value for name, value in head.headers.items() if name not in varying} == {
            name: value for name, value in get.headers.items() if name not in varying
        }, path


def test_head_of_a_stream_answers_at_once_and_holds_no_place(known: tuple[Service, dict[str, str]]) -> None:
    service, names = known
    job = service.http.post(
        "/train", json={"name": "waits", "dataset": names["dataset_id"], "training": {"epochs": 1}}
    ).json()["id"]

    answers = [service.http.head(f"/jobs/{job}/events") for _ in range(6)]

    assert [answer.status_code for answer in answers] == [200] * 6
    assert {answer.headers["content-type"] for answer in answers} == {"text/event-stream; charset=utf-8"}


def test_head_ignores_range(known: tuple[Service, dict[str, str]]) -> None:
    service, _ = known
    path = "/models/colours/versions/1/variants/fp32/download"
    whole = service.http.get(path)

    head = service.http.head(path, headers={"Range": "bytes=0-9"})

    assert (head.status_code, head.headers["content-length"]) == (200, str(len(whole.content)))
    assert head.headers["accept-ranges"] == "bytes"
    assert service.http.head(path, headers={"If-None-Match": whole.headers["etag"]}).status_code == 304


def test_head_is_counted_under_its_route(known: tuple[Service, dict[str, str]]) -> None:
    service, _ = known
    service.http.head("/health/live")

    assert 'method="HEAD",route="/health/live",status="200"' in service.http.get("/metrics").text


def test_head_leaves_the_connection_usable(known: tuple[Service, dict[str, str]]) -> None:
    service, names = known
    head = b"HEAD %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n"
    paths = [b"/openapi.json", f"/jobs/{names['job_id']}/events".encode(), b"/nothing", b"/health/live"]

    received = raw(
        service, b"".join(head % (path, b"Connection: close\r\n" if path == paths[-1] else b"") for path in paths)
    )

    answers = received.split(b"\r\n\r\n")
    assert [answer.split(b"\r\n")[0][:12] for answer in answers if answer] == [
        b"HTTP/1.1 200",
        b"HTTP/1.1 200",
        b"HTTP/1.1 404",
        b"HTTP/1.1 200",
    ]


def test_options_names_the_methods_of_every_path_and_405_names_the_same(known: tuple[Service, dict[str, str]]) -> None:
    service, names = known
    for path, methods in paths_of(service, names).items():
        expected = ", ".join(sorted(methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())))

        options = service.http.request("OPTIONS", path)
        refused = service.http.request("TRACE", path)

        assert (options.status_code, options.headers["allow"], options.content) == (204, expected, b""), path
        if path.startswith("/v2"):
            assert (refused.status_code, list(refused.json())) == (405, ["error"]), path
        else:
            problem_of(refused, 405, "method_not_allowed")
        assert refused.headers["allow"] == expected, path


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", "/docs/assets/swagger-ui.css"])
def test_options_knows_what_the_openapi_document_leaves_out(known: tuple[Service, dict[str, str]], path: str) -> None:
    assert known[0].http.request("OPTIONS", path).headers["allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize("path", ["/nothing", "/jobs/", "//jobs", "/jobs/job_0123456789:nothing"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST"])
def test_no_method_is_served_at_an_unknown_path(known: tuple[Service, dict[str, str]], method: str, path: str) -> None:
    answer = known[0].http.request(method, f"{known[0].url}{path}")

    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert "allow" not in answer.headers


@pytest.mark.parametrize(
    ("path", "meant"), [("/jobs/", "/jobs"), ("//jobs", "/jobs"), ("/health//live/", "/health/live")]
)
def test_a_path_with_stray_slashes_names_the_one_that_is_meant(
    known: tuple[Service, dict[str, str]], path: str, meant: str
) -> None:
    answer = known[0].http.get(f"{known[0].url}{path}")

    assert problem_of(answer, 404, "route_not_found")["detail"].endswith(f"did you mean {meant}?")


def test_head_where_there_is_no_get_is_refused(known: tuple[Service, dict[str, str]]) -> None:
    answer = known[0].http.head("/predict")

    assert (answer.status_code, answer.headers["allow"]) == (405, "OPTIONS, POST")


def test_a_preflight_and_a_foreign_page_are_answered_as_before(known: tuple[Service, dict[str, str]]) -> None:
    service, _ = known
    asked = {"Access-Control-Request-Method": "POST"}

    preflight = service.http.request("OPTIONS", "/predict", headers={"Origin": "https://app.example", **asked})
    plain = service.http.request("OPTIONS", "/predict", headers={"Origin": "https://app.example"})
    foreign = service.http.request("OPTIONS", "/predict", headers={"Origin": "https://evil.example", **asked})

    assert (preflight.status_code, plain.status_code) == (200, 204)
    assert {preflight.headers["access-control-allow-origin"], plain.headers["access-control-allow-origin"]} == {
        "https://app.example"
    }
    problem_of(foreign, 403, "origin_not_allowed")


def test_options_of_the_whole_server_names_every_method(known: tuple[Service, dict[str, str]]) -> None:
    received = raw(known[0], b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")

    assert received.startswith(b"HTTP/1.1 204")
    assert b"allow: DELETE, GET, HEAD, OPTIONS," in received


@pytest.mark.parametrize(
    "target", [b"http://localhost/health/live", b"http://localhost/health/live?", b"http://localhost"]
)
def test_a_target_in_absolute_form_is_read(known: tuple[Service, dict[str, str]], target: bytes) -> None:
    received = raw(known[0], b"GET " + target + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")

    assert received.startswith(b"HTTP/1.1 200")


def test_the_root_names_where_to_start(known: tuple[Service, dict[str, str]]) -> None:
    service, _ = known

    found = service.http.get("/").raise_for_status()

    addresses = found.json()
    assert addresses["name"] == "Espalier"
    assert found.headers["vary"].startswith("Accept")
    for name in ("docs", "openapi", "schema_train", "health", "metrics"):
        assert service.http.get(addresses[name]).status_code == 200


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", 307),
        ("TEXT/HTML", 307),
        ("*/*", 200),
        ("application/json, text/html;q=0.5", 200),
        ("text/html;q=0", 200),
        ("image/png", 200),
    ],
)
def test_the_root_sends_a_browser_to_the_docs(known: tuple[Service, dict[str, str]], accept: str, status: int) -> None:
    answer = known[0].http.get("/", headers={"Accept": accept})

    assert (answer.status_code, answer.headers.get("location")) == (status, "/docs" if status == 307 else None)


def test_the_root_needs_no_key(tmp_path: Path) -> None:
    with running(samples.quick_settings(tmp_path / "home", api_keys="somebody:not-a-secret-key")) as live:
        answer = live.http.get("/").raise_for_status()

        assert "somebody" not in answer.text
        assert live.http.request("OPTIONS", "/jobs").status_code == 204
        assert live.http.head("/jobs").status_code == 401


@pytest.mark.parametrize("path", ["/docs/assets/swagger-ui.css", "/docs/assets/favicon-32x32.png"])
def test_a_stored_file_that_the_client_has_is_not_sent_again(known: tuple[Service, dict[str, str]], path: str) -> None:
    tag = known[0].http.get(path).headers["etag"]

    again = known[0].http.get(path, headers={"If-None-Match": f'"other", W/{tag.removeprefix("W/")}'})

    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"].removeprefix("W/") == tag.removeprefix("W/")
    assert again.headers["cache-control"] == "public, max-age=86400"


@pytest.mark.parametrize("coding", [b"gzip, chunked", b"chunked, chunked", b"xchunked, chunked"])
def test_a_transfer_coding_besides_chunked_is_refused(known: tuple[Service, dict[str, str]], coding: bytes) -> None:
    head = b"POST /train HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: "

    received = raw(known[0], head + coding + b"\r\n\r\n2\r\n{}\r\n0\r\n\r\n")

    assert received.startswith((b"HTTP/1.1 501", b"HTTP/1.1 400"))
    assert b'"code":"transfer_coding_unknown"' in received or b'"code":"malformed_request"' in received


def test_chunked_is_read_however_it_is_written(known: tuple[Service, dict[str, str]]) -> None:
    head = b"POST /train HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"

    received = raw(
        known[0], head + b"TE: trailers\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\n{}\r\n0\r\nX-Sum: 1\r\n\r\n"
    )

    assert received.startswith(b"HTTP/1.1 422")
