"""Inputs by URL: fetched from allowed addresses, and from no others, however they are written."""

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from models_store.errors import EspalierError
from models_store.settings import Settings
from service.answers.predictions import FileAtUrl
from service.requests.bodies_in_flight import BodiesInFlight, TooManyBodies
from service.requests.remote_files import FilesTooLarge, RemoteFiles, UrlNotFetched, UrlRefused, UrlsAreOff
from tests import samples
from tests.service.live_service import a_plain_image, running
from tests.service.onnx_files import write_colour_net
from tests.service.prediction_requests import BLUE, RED, as_text

LOOPBACK = "127.0.0.0/8"


class Files(BaseHTTPRequestHandler):
    """A server of files, redirects and faults."""

    asked: list[tuple[str, str | None]]
    files: ClassVar[dict[str, bytes]] = {}

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers["Host"]))
        name, _, argument = self.path.strip("/").partition("/")
        if name == "to":
            self.send_response(302)
            self.send_header("Location", argument)
            self.end_headers()
        elif name == "loop":
            self.send_response(307)
            self.send_header("Location", "/loop")
            self.end_headers()
        elif name == "file":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(f"content of {argument}".encode())
        elif name == "cookie":
            self.send_response(200)
            self.send_header("Set-Cookie", "owner=ada; Path=/")
            self.end_headers()
            self.wfile.write(str(self.headers["Cookie"]).encode())
        elif name == "stored":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.files[argument])
        elif name == "zeros":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(bytes(int(argument)))
        else:
            self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    Files.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Files) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield serving
        serving.shutdown()


def settings(folder: Path, **changes: Any) -> Settings:
    chosen: dict[str, Any] = {"predict_urls": True, "predict_url_networks": LOOPBACK, **changes}
    return Settings(espalier_home=folder, **chosen)


def fetch(chosen: Settings, *examples: Any, bodies: BodiesInFlight | None = None) -> list[Any]:
    async def fetched() -> list[Any]:
        files = RemoteFiles(chosen, bodies=bodies or BodiesInFlight(chosen.bodies_max_bytes))
        try:
            return await files.fetched(examples, [f"/inputs/{place}" for place in range(len(examples))])
        finally:
            await files.close()

    return asyncio.run(fetched())


def refusal(chosen: Settings, *examples: Any) -> EspalierError:
    with pytest.raises(EspalierError) as caught:
        fetch(chosen, *examples)
    return caught.value


def test_urls_become_the_bytes_of_their_files_and_other_inputs_stay(
    server: ThreadingHTTPServer, tmp_path: Path
) -> None:
    base = f"http://127.0.0.1:{server.server_port}"

    found = fetch(settings(tmp_path), FileAtUrl(url=f"{base}/file/a"), "aGFsbG8=", FileAtUrl(url=f"{base}/file/b?x=1"))

    assert found == [b"content of a", "aGFsbG8=", b"content of b?x=1"]


def test_the_other_server_sees_the_name_that_was_asked_for(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    fetch(
        settings(tmp_path, predict_url_networks=f"{LOOPBACK},::1"),
        FileAtUrl(url=f"http://localhost:{server.server_port}/file/a"),
    )

    assert Files.asked == [("/file/a", f"localhost:{server.server_port}")]


def test_nothing_is_fetched_unless_it_is_switched_on(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{server.server_port}/file/a"

    found = refusal(settings(tmp_path, predict_urls=False), "aGFsbG8=", FileAtUrl(url=url))

    assert isinstance(found, UrlsAreOff)
    assert found.errors[0].pointer == "/inputs/1"
    assert Files.asked == []


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "0.0.0.0", "10.0.0.1", "172.16.3.4", "192.168.1.1",  # noqa: S104
        "169.254.169.254", "100.64.0.1", "198.18.0.1", "224.0.0.1", "255.255.255.255", "[::1]", "[::]",
        "[::ffff:10.0.0.1]", "[::ffff:a9fe:a9fe]", "[64:ff9b::a00:1]", "[2002:a00:1::]", "[fe80::1]", "[fc00::1]",
        "[ff02::1]", "[::7f00:1]", "[::ffff:0:7f00:1]", "[fec0::1]", "[5f00::1]", "[3fff::1]", "192.88.99.1",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public_are_refused(host: str, tmp_path: Path) -> None:
    found = refusal(settings(tmp_path, predict_url_networks=""), FileAtUrl(url=f"http://{host}/file"))

    assert isinstance(found, UrlRefused | UrlNotFetched)
    assert isinstance(found, UrlRefused) or "has no address" in found.detail
    assert found.errors[0].pointer == "/inputs/0/url"


@pytest.mark.parametrize(
    "target",
    [
        "http://10.0.0.1/",
        "http://[::ffff:192.168.0.1]/",
        "ftp://127.0.0.1/",
        "file:///etc/hosts",
        "http://a[b@127.0.0.1/",
    ],
)
def test_a_redirect_is_checked_like_the_first_url(target: str, server: ThreadingHTTPServer, tmp_path: Path) -> None:
    found = refusal(settings(tmp_path), FileAtUrl(url=f"http://127.0.0.1:{server.server_port}/to/{target}"))

    assert isinstance(found, UrlRefused)


def test_redirects_are_followed_a_few_times(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    base = f"http://127.0.0.1:{server.server_port}"

    assert fetch(settings(tmp_path), FileAtUrl(url=f"{base}/to//file/a")) == [b"content of a"]
    assert isinstance(refusal(settings(tmp_path), FileAtUrl(url=f"{base}/loop")), UrlNotFetched)
    assert len(Files.asked) == 2 + 4


@pytest.mark.parametrize(
    "url",
    [
        "", "file", "file:///etc/passwd", "gopher://example.org/", "http://", "http://user:secret@example.org/",
        "http://example.org:0/", "http://example.org:99999/", "http://exa mple.org/", "http://example.org/\r\nX: y",
        "http://[::1/", "http://ex\u00e4mple.org/", "http://example.org/" + "a" * 2048,
    ],
)  # fmt: skip
def test_what_is_no_plain_url_is_refused(url: str, tmp_path: Path) -> None:
    found = refusal(settings(tmp_path), FileAtUrl(url=url))

    assert isinstance(found, UrlRefused)
    assert "secret" not in found.detail


def test_a_file_that_is_not_there_is_named(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    base = f"http://127.0.0.1:{server.server_port}"

    found = refusal(settings(tmp_path), FileAtUrl(url=f"{base}/file/a"), FileAtUrl(url=f"{base}/missing"))

    assert isinstance(found, UrlNotFetched)
    assert found.errors[0].pointer == "/inputs/1/url"
    assert "404" in found.detail


def test_files_are_together_no_larger_than_a_body(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{server.server_port}/zeros/600"

    assert len(fetch(settings(tmp_path, predict_max_bytes=1000), FileAtUrl(url=url))[0]) == 600
    found = refusal(settings(tmp_path, predict_max_bytes=1000), FileAtUrl(url=url), FileAtUrl(url=url))
    assert isinstance(found, FilesTooLarge)


def test_files_that_arrive_count_among_the_bodies_in_flight(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{server.server_port}/zeros/600"
    bodies = BodiesInFlight(1000)
    others: dict[str, Any] = {}
    bodies.hold(others, 500)

    with pytest.raises(TooManyBodies):
        fetch(settings(tmp_path), FileAtUrl(url=url), bodies=bodies)
    bodies.release(others)

    assert len(fetch(settings(tmp_path), FileAtUrl(url=url), bodies=bodies)[0]) == 600
    assert bodies.held_bytes == 0


def test_no_cookie_of_one_answer_comes_with_the_next_request(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    url = FileAtUrl(url=f"http://127.0.0.1:{server.server_port}/cookie")

    async def one_after_the_other() -> list[Any]:
        files = RemoteFiles(settings(tmp_path), bodies=BodiesInFlight(1 << 20))
        try:
            return [(await files.fetched([url], ["/inputs/0"]))[0] for _ in range(2)]
        finally:
            await files.close()

    assert asyncio.run(one_after_the_other()) == [b"None", b"None"]


def test_a_server_that_is_silent_is_given_up(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Files) as silent:  # it listens, and nobody answers
        url = f"http://127.0.0.1:{silent.server_port}/file/a"

        found = refusal(settings(tmp_path, predict_timeout_s=0.3), FileAtUrl(url=url))

    assert isinstance(found, UrlNotFetched)
    assert "0.3 s" in found.detail


def test_a_network_that_is_none_is_named_at_start(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"PREDICT_URL_NETWORKS: '10\.0\.0\.1/8'"):
        settings(tmp_path, predict_url_networks="10.0.0.1/8")


def test_a_prediction_takes_a_url_among_its_inputs(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    chosen = samples.quick_settings(tmp_path / "home").model_copy(
        update={"predict_urls": True, "predict_url_networks": LOOPBACK}
    )
    image = a_plain_image(RED)
    Files.files["red.png"] = image
    url = f"http://127.0.0.1:{server.server_port}/stored/red.png"

    with running(chosen) as service:
        service.publish("colours", write_colour_net(tmp_path / "net.onnx"))
        body = {"model": "colours", "inputs": [{"url": url}, as_text(a_plain_image(BLUE))]}
        answer = service.http.post("/predict", json=body)
        refused = service.http.post("/predict", json=body | {"inputs": [{"url": "http://10.0.0.1/"}]})

    assert [each["label"] for each in answer.json()["predictions"]] == ["red", "blue"]
    assert refused.status_code == 422
    assert refused.json()["code"] == "url_refused"
