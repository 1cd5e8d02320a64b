"""Content-Encoding of requests: unpacked within the caps of each call, or refused with the reason."""

import gzip
import json
import socket
import threading
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import brotli
import httpx
import pytest
from backports import zstd

from tests import samples
from tests.samples import WEIGHTS
from tests.service.live_service import Service, a_plain_image, an_archive, problem_of, running
from tests.service.onnx_files import write_colour_net
from tests.service.prediction_requests import RED, as_text

Compress = Callable[[bytes], bytes]
READ = "gzip, deflate, br, zstd"


def raw_deflate(content: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush()


CODINGS: dict[str, tuple[str, Compress]] = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("X-GZip", gzip.compress),
    "gzip in members": ("gzip", lambda content: gzip.compress(content[:9]) + gzip.compress(content[9:])),
    "deflate": ("deflate", zlib.compress),
    "raw deflate": ("deflate", raw_deflate),
    "br": ("br", brotli.compress),
    "zstd": ("zstd", zstd.compress),
    "zstd in frames": ("zstd", lambda content: zstd.compress(content[:9]) + zstd.compress(content[9:])),
    "identity": ("identity", bytes),
    "gzip and identity": ("gzip, identity", gzip.compress),
    "nothing": ("", bytes),
}


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with a small model and tight caps."""
    folder = tmp_path_factory.mktemp("codings")
    caps = {"predict_max_bytes": 1 << 20, "upload_max_bytes": 30 << 20, "weights_max_bytes": 1 << 20}
    with running(samples.quick_settings(folder / "home", **caps)) as service:
        service.publish("colours", write_colour_net(folder / "net.onnx"))
        yield service


def post(
    service: Service, path: str, content: Any, coding: str, content_type: str = "application/json"
) -> httpx.Response:
    headers = {"Content-Type": content_type, "Content-Encoding": coding, "Connection": "close"}  # some refuse early
    return service.http.post(path, content=content, headers=headers)


def a_request() -> bytes:
    return json.dumps({"model": "colours", "inputs": [as_text(a_plain_image(RED))]}).encode()


@pytest.mark.parametrize("name", CODINGS)
def test_every_kind_of_body_is_read_in_every_coding(live: Service, name: str) -> None:
    coding, compress = CODINGS[name]
    image, archive = a_plain_image(RED), an_archive(seed=77)
    spec = json.dumps({"name": "coded", "dataset": live.upload()["id"]}).encode()
    form = httpx.Request("POST", "http://x", data={"model": "colours"}, files={"files": image})

    answers = [
        post(live, "/predict", compress(a_request()), coding),
        post(live, "/predict?model=colours", compress(image), coding, "image/png"),
        post(live, "/predict", compress(form.read()), coding, form.headers["content-type"]),
        post(live, "/datasets?name=coded", compress(archive), coding, "application/zip"),
        post(live, "/weights", compress(WEIGHTS), coding, "application/octet-stream"),
        post(live, "/train?dry_run=true", compress(spec), coding),
        live.http.put(
            "/models/colours/aliases/stable",
            content=compress(b'{"version": 1}'),
            headers={"Content-Type": "application/json", "Content-Encoding": coding},
        ),
    ]

    assert [answer.status_code // 100 for answer in answers] == [2] * 7, [answer.text for answer in answers]
    assert answers[0].json()["predictions"][0]["label"] == "red"


@pytest.mark.parametrize(
    ("coding", "compress"), [CODINGS[name] for name in CODINGS if name not in {"identity", "nothing"}]
)
def test_a_body_in_single_bytes_is_read(live: Service, coding: str, compress: Compress) -> None:
    packed = compress(a_request())

    answer = post(live, "/predict", (packed[at : at + 1] for at in range(len(packed))), coding)

    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("coding", ["lzma", "compress", "gzip, gzip", "br, gzip", "zstd;q=1", "aes128gcm", "*", "ä"])
@pytest.mark.parametrize("path", ["/predict", "/train", "/datasets"])
def test_a_coding_that_is_not_read_is_named_with_those_that_are(live: Service, coding: str, path: str) -> None:
    content_type = "application/zip" if path == "/datasets" else "application/json"
    headers = {b"Content-Type": content_type.encode(), b"Content-Encoding": coding.encode()}

    answer = live.http.post(path, content=gzip.compress(a_request()), headers=headers)

    problem = problem_of(answer, 415, "unsupported_content_encoding")
    assert answer.headers["accept-encoding"] == READ
    assert "Content-Encoding" in problem["detail"]
    assert problem["errors"][0]["allowed"] == [*READ.split(", "), "identity"]


@pytest.mark.parametrize("name", ["gzip", "deflate", "raw deflate", "br", "zstd"])
@pytest.mark.parametrize("damage", ["cut", "cut at once", "changed", "garbage behind", "not packed"])
@pytest.mark.parametrize("path", ["/predict", "/datasets", "/train"])
def test_a_damaged_body_is_refused(live: Service, name: str, damage: str, path: str) -> None:
    coding, compress = CODINGS[name]
    whole = bytearray(compress(a_request() * 3))
    damaged = {
        "cut": whole[:-3],
        "cut at once": whole[:1],
        "changed": whole[:2] + bytes(byte ^ 0xFF for byte in whole[2:30]) + whole[30:],
        "garbage behind": whole + b"garbage",
        "not packed": bytearray(b"\xff\xff\xff" + a_request()),
    }[damage]

    answer = post(live, path, bytes(damaged), coding, "application/zip" if path == "/datasets" else "application/json")

    problem_of(answer, 400, "content_encoding_broken")


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
@pytest.mark.parametrize("path", ["/predict", "/datasets"])
def test_no_byte_is_an_empty_body_in_every_coding(live: Service, coding: str, path: str) -> None:
    content_type = "application/zip" if path == "/datasets" else "application/json"

    coded, plain = (post(live, path, b"", each, content_type) for each in (coding, ""))

    assert (coded.status_code, coded.json()) == (plain.status_code, plain.json())


@pytest.mark.parametrize("name", ["gzip", "deflate", "raw deflate", "br", "zstd"])
@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/predict", "application/json"),
        ("/predict?model=colours", "image/png"),
        ("/train", "application/json"),
        ("/weights", "application/octet-stream"),
    ],
)
def test_a_bomb_is_stopped_at_the_cap_of_the_call(live: Service, name: str, path: str, content_type: str) -> None:
    coding, compress = CODINGS[name]
    bomb = compress(bytes(16 << 20))

    tracemalloc.start()
    answer = post(live, path, bomb, coding, content_type)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    problem_of(answer, 413, "body_too_large")
    assert peak_bytes < 8 << 20, "it was unpacked beyond the cap of 1 MiB"
    assert live.context.bodies.held_bytes == 0


@pytest.mark.parametrize("name", ["gzip", "br", "zstd"])
def test_a_body_far_larger_than_what_came_is_refused(live: Service, name: str) -> None:
    coding, compress = CODINGS[name]

    answer = post(live, "/datasets", compress(bytes(29 << 20)), coding, "application/zip")

    problem_of(answer, 413, "content_encoding_ratio")


def test_a_window_that_takes_too_much_memory_is_refused(live: Service) -> None:
    frame = b"\x28\xb5\x2f\xfd\x00" + bytes([14 << 3]) + bytes(600)  # a window of 16 MiB

    assert "8 MiB" in problem_of(post(live, "/predict", frame, "zstd"), 400, "content_encoding_broken")["detail"]


@pytest.mark.parametrize(
    "endless",
    [
        b"\x1f\x8b\x08\x08" + bytes(6) + b"a" * (5 << 20),
        gzip.compress(b"")[:10] + b"\0\0\0\xff\xff" * (1 << 20),
        gzip.compress(b"") * 20_000,
    ],
    ids=["name", "empty blocks", "empty members"],
)
def test_what_unpacks_to_nothing_without_end_is_refused(live: Service, endless: bytes) -> None:
    problem_of(post(live, "/datasets", endless, "gzip", "application/zip"), 400, "content_encoding_broken")


def test_what_a_body_unpacks_to_is_counted_among_the_bodies_in_memory(live: Service) -> None:
    packed, seen = gzip.compress(b"[" + b" " * 900_000), []
    url = httpx.URL(live.url)
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n"
    with socket.create_connection((url.host, url.port or 80), timeout=30) as connection:
        connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(packed) + packed[:-9])
        waiting = threading.Event()
        for _ in range(3000):
            seen.append(live.context.bodies.held_bytes)
            if seen[-1] > 800_000:
                break
            waiting.wait(0.01)
    assert seen[-1] > 800_000, f"{len(packed)} bytes came, {seen[-1]} are counted"


def test_a_call_without_a_key_is_refused_before_its_body_is_looked_at(tmp_path: Path) -> None:
    with running(samples.quick_settings(tmp_path / "home", api_keys="somebody:not-a-secret-key")) as service:
        problem_of(post(service, "/train", b"{}", "lzma"), 401, "unauthorized")


def test_expect_100_continue_is_not_answered_with_continue_for_an_unknown_coding(live: Service) -> None:
    url = httpx.URL(live.url)
    head = b"POST /train HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n"
    for coding, expected in ((b"lzma", b"HTTP/1.1 415"), (b"gzip", b"HTTP/1.1 100")):
        with socket.create_connection((url.host, url.port or 80), timeout=30) as connection:
            connection.sendall(head + b"Content-Encoding: " + coding + b"\r\nContent-Length: 100\r\n\r\n")
            assert connection.recv(12) == expected


def test_a_call_without_a_body_ignores_the_header(live: Service) -> None:
    job = live.http.get("/jobs").json()["items"][0]["id"]

    assert live.http.get("/jobs", headers={"Content-Encoding": "lzma"}).status_code == 200
    problem_of(post(live, f"/jobs/{job}:cancel", b"", "lzma"), 409, "job_finished")
