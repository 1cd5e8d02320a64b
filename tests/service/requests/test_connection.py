"""The connection itself, spoken to in raw bytes: limits on heads, half-sent requests, requests in a row."""

import gzip
import io
import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPResponse
from typing import Any

import pytest

from tests import samples
from tests.service.live_service import Service, running

KEY = "key-of-ada-0123456789"
HEAD_S, BODY_IDLE_S = 1.0, 2.0
HOST = b"Host: localhost\r\n"
LIVE = b"GET /health/live HTTP/1.1\r\n" + HOST
SPEC = b"POST /train HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\nX-API-Key: " + KEY.encode() + b"\r\n"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One that asks for keys and is impatient."""
    home = tmp_path_factory.mktemp("connection") / "home"
    limits = {"header_timeout_s": HEAD_S, "body_idle_s": BODY_IDLE_S}
    with running(samples.quick_settings(home, api_keys=f"ada:{KEY}", **limits)) as live:
        yield live


class Unclosed(io.BufferedReader):
    """What HTTPResponse reads and closes; the next answer is read from it too."""

    def close(self) -> None:
        pass


class Wire:
    """A TCP connection to a service."""

    def __init__(self, opened: socket.socket) -> None:
        self.opened = opened
        self._answers = Unclosed(socket.SocketIO(opened, "r"))

    def makefile(self, _mode: str) -> Unclosed:
        return self._answers

    def send(self, *packets: bytes) -> None:
        for packet in packets:
            self.opened.sendall(packet)

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        response = HTTPResponse(self)  # it asks for makefile alone
        response.begin()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()

    def problem(self, status: int, code: str) -> dict[str, Any]:
        """Read a problem document that ends the connection."""
        given, headers, body = self.answer()
        assert (given, headers["content-type"]) == (status, "application/problem+json"), body
        assert headers["connection"] == "close"
        document = dict(json.loads(body))
        assert (document["status"], document["code"]) == (status, code)
        assert {"type", "title", "detail", "instance", "errors"} <= document.keys()
        assert self.has_ended()
        return document

    def lines(self, count: int) -> list[bytes]:
        return [self._answers.readline() for _ in range(count)]

    def head(self) -> list[bytes]:
        """Read the head of an answer, whose body depends on the method that was asked."""
        return list(iter(self._answers.readline, b"\r\n"))

    def rest(self) -> bytes:
        """Read until the connection ends."""
        return self._answers.read()

    def has_ended(self) -> bool:
        return self._answers.read(1) == b""


@contextmanager
def wire(service: Service, *, receive_bytes: int | None = None) -> Iterator[Wire]:
    with socket.socket() as opened:
        if receive_bytes is not None:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        opened.settimeout(30)
        opened.connect(("127.0.0.1", int(service.url.rpartition(":")[2])))
        yield Wire(opened)


def headers_of(count: int, *, size: int = 1) -> bytes:
    return b"".join(b"X-%d: %s\r\n" % (index, b"a" * size) for index in range(count))


@pytest.mark.parametrize(
    "flood",
    [
        headers_of(101),
        headers_of(100),  # and Host
        headers_of(70, size=1000),
        b"X: " + b"a" * (65 << 10) + b"\r\n",
        b"a" * (70 << 10) + b": a\r\n",
        b"Authorization: Bearer " + b"a" * (16 << 20) + b"\r\n",
        headers_of(100_000, size=20),
    ],
    ids=["count", "count with Host", "sum", "value", "name", "16 MB key", "3 MB of small ones"],
)
def test_a_head_over_its_limits_is_a_431_whatever_its_key(service: Service, flood: bytes) -> None:
    with wire(service) as connection:
        connection.send(b"GET /jobs HTTP/1.1\r\n" + HOST + flood + b"\r\n")

        connection.problem(431, "headers_too_large")


def test_a_flood_that_never_ends_is_a_431_too(service: Service) -> None:
    with wire(service) as connection:
        connection.send(b"GET /jobs HTTP/1.1\r\n" + HOST + b"X: " + b"a" * (80 << 10))

        connection.problem(431, "headers_too_large")


@pytest.mark.parametrize("size", [1, 100, 1460])
def test_a_flood_in_small_packets_is_a_431(service: Service, size: int) -> None:
    flood = headers_of(101) if size == 1 else headers_of(80, size=900)
    with wire(service) as connection:
        connection.opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.send(b"GET /jobs HTTP/1.1\r\n" + HOST)
        connection.send(*(flood[start : start + size] for start in range(0, len(flood), size)))
        connection.send(b"\r\n")

        connection.problem(431, "headers_too_large")


def test_line_breaks_without_a_request_are_a_431(service: Service) -> None:
    with wire(service) as connection:
        connection.send(b"\r\n" * (40 << 10))

        connection.problem(431, "headers_too_large")


def test_a_head_within_its_limits_is_served(service: Service) -> None:
    with wire(service) as connection:
        connection.send(LIVE + headers_of(99, size=630) + b"\r\n")

        assert connection.answer()[0] == 200


@pytest.mark.parametrize("size", [9 << 10, 1 << 20])
def test_a_url_over_its_limit_is_a_414(service: Service, size: int) -> None:
    with wire(service) as connection:
        connection.send(b"GET /jobs?cursor=" + b"a" * size + b" HTTP/1.1\r\n" + HOST + b"\r\n")

        assert connection.problem(414, "url_too_long")["instance"] == "/jobs"


@pytest.mark.parametrize(
    "bytes_sent",
    [
        b"nonsense\r\n\r\n",
        b"GET /health/live HTTP/9.9\r\n" + HOST + b"\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"CONNECT example.org:443 HTTP/1.1\r\n" + HOST + b"\r\n",
        b"POST /train HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /train HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n",
        b"POST /train HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n{}",
    ],
    ids=["words", "version", "HTTP/2", "TLS", "CONNECT", "two lengths", "negative length", "upgrade with a body"],
)
def test_what_is_not_http_1_is_a_400(service: Service, bytes_sent: bytes) -> None:
    with wire(service) as connection:
        connection.send(bytes_sent)

        connection.problem(400, "malformed_request")


@pytest.mark.parametrize("hosts", [b"", HOST + HOST, HOST + b"Host: evil.example\r\n"], ids=["none", "twice", "two"])
def test_a_request_names_one_host(service: Service, hosts: bytes) -> None:
    with wire(service) as connection:
        connection.send(b"GET /health/live HTTP/1.1\r\n" + hosts + b"\r\n")

        status, _, body = connection.answer()

    assert (status, json.loads(body)["code"]) == (400, "host_not_allowed")


def test_http_1_0_needs_no_host(service: Service) -> None:
    with wire(service) as connection:
        connection.send(b"GET /health/live HTTP/1.0\r\n\r\n")

        assert connection.answer()[0] == 200


@pytest.mark.parametrize("coding", [b"identity", b"gzip"])
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_http_1_0_gets_no_chunks(service: Service, coding: bytes, method: bytes) -> None:
    """A file that is compressed on its way has no length; its end is that of the connection."""
    path = "/docs/assets/swagger-ui.css"
    with wire(service) as connection:
        connection.send(method + b" %b HTTP/1.0\r\nAccept-Encoding: %b\r\n\r\n" % (path.encode(), coding))
        head, body = connection.head(), connection.rest()

    assert not any(line.startswith(b"transfer-encoding") for line in head)
    assert (b"content-encoding: gzip\r\n" in head) == (coding == b"gzip")
    plain = service.http.get(path).content if method == b"GET" else b""
    assert (gzip.decompress(body) if coding == b"gzip" else body) == plain


def test_an_upgrade_that_is_not_spoken_is_ignored(service: Service) -> None:
    with wire(service) as connection:
        connection.send(LIVE + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + LIVE + b"\r\n")

        assert [connection.answer()[0] for _ in range(2)] == [200, 200]


@pytest.mark.parametrize("start", [b"G", b"GET /health/live HT", LIVE, LIVE + b"X: a", b"\r\n"])
def test_a_half_sent_head_is_a_408(service: Service, start: bytes) -> None:
    with wire(service) as connection:
        connection.send(start)

        connection.problem(408, "request_timeout")


def test_a_head_that_trickles_in_is_a_408(service: Service) -> None:
    with wire(service) as connection:
        connection.opened.settimeout(0.2)
        connection.send(LIVE)
        trickled = 0
        while trickled < 100:
            connection.send(b"X-%d: a\r\n" % trickled)
            trickled += 1
            try:
                connection.opened.recv(1, socket.MSG_PEEK)
                break
            except TimeoutError:
                continue
        connection.opened.settimeout(30)

        connection.problem(408, "request_timeout")


def test_a_connection_that_asks_nothing_is_closed_without_an_answer(service: Service) -> None:
    with wire(service) as connection:
        assert connection.has_ended()


def test_a_second_request_that_is_half_sent_is_a_408(service: Service) -> None:
    with wire(service) as connection:
        connection.send(LIVE + b"\r\n" + LIVE)

        assert connection.answer()[0] == 200
        connection.problem(408, "request_timeout")


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 100\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n5\r\n{"], ids=["length", "chunked"]
)
def test_a_half_sent_body_is_a_408(service: Service, framing: bytes) -> None:
    with wire(service) as connection:
        connection.send(SPEC + framing)

        connection.problem(408, "request_timeout")


def test_a_slow_and_steady_body_is_taken(service: Service) -> None:
    with wire(service) as connection:
        connection.send(SPEC + b"Content-Length: 10\r\n\r\n")
        for _ in range(10):
            time.sleep(0.4)  # twice the silence that is allowed, all together
            connection.send(b"{")

        assert connection.answer()[0] == 400  # it is no JSON, and that was seen


def test_silent_connections_keep_nobody_else_waiting(service: Service) -> None:
    with wire(service) as connection:
        port = connection.opened.getpeername()[1]
        silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(300)]
        for each in silent:
            each.sendall(LIVE + b"X: a")

        connection.send(LIVE + b"\r\n")

        assert connection.answer()[0] == 200
        for each in silent:
            each.close()


def test_requests_in_a_row_are_answered_in_their_order(service: Service) -> None:
    paths = [b"/health/live", b"/jobs", b"/nothing", b"/health/live"] * 250
    with wire(service) as connection:
        connection.send(b"".join(b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"\r\n" for path in paths))

        statuses = [connection.answer()[0] for _ in paths]

    assert statuses == [200, 401, 404, 200] * 250


def test_requests_far_ahead_of_their_turn_are_left_to_the_system(service: Service) -> None:
    requests, most_bytes = (LIVE + b"\r\n") * 20_000, 64 << 20
    with wire(service, receive_bytes=4096) as connection:
        connection.opened.setblocking(False)

        taken_bytes, silent_since = 0, time.monotonic()
        while taken_bytes < most_bytes and time.monotonic() - silent_since < 1:
            try:
                taken_bytes += connection.opened.send(requests)
                silent_since = time.monotonic()
            except BlockingIOError:
                time.sleep(0.01)

    assert taken_bytes < most_bytes / 2  # the system keeps some 10 MB for both ends


def test_requests_with_bodies_in_a_row_are_answered_in_their_order(service: Service) -> None:
    body = b'{"name": ' + b" " * 9000
    whole = SPEC + b"Content-Length: %d\r\n\r\n" % len(body) + body
    chunked = SPEC + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"
    with wire(service) as connection:
        connection.send((whole + LIVE + b"\r\n" + chunked + LIVE + b"\r\n") * 20)

        statuses = [connection.answer()[0] for _ in range(80)]

    assert statuses == [400, 200] * 40


@pytest.mark.parametrize(
    ("last", "status", "code"),
    [
        (LIVE + headers_of(101) + b"\r\n", 431, "headers_too_large"),
        (b"nonsense\r\n\r\n", 400, "malformed_request"),
        (
            SPEC + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"a" * (80 << 10),
            431,
            "headers_too_large",
        ),
        (SPEC + b"Transfer-Encoding: chunked\r\n\r\nno number", 400, "malformed_request"),
    ],
    ids=["head", "nonsense", "extension", "chunk"],
)
def test_a_bad_request_after_good_ones_waits_for_its_turn(
    service: Service, last: bytes, status: int, code: str
) -> None:
    with wire(service) as connection:
        connection.send(LIVE + b"\r\n" + LIVE + b"\r\n" + last)

        assert [connection.answer()[0] for _ in range(2)] == [200, 200]
        connection.problem(status, code)


@pytest.mark.parametrize(
    "chunks",
    [
        b"1;" + b"a" * (80 << 10) + b"\r\n{\r\n",
        b"".join(b"1;" + b"a" * 1000 + b"\r\n{\r\n" for _ in range(200)),
        b"1\r\n{\r\n0\r\n" + headers_of(101) + b"\r\n",
        b"1\r\n{\r\n0\r\nX: " + b"a" * (80 << 10) + b"\r\n\r\n",
    ],
    ids=["extension", "extensions", "trailers", "trailer"],
)
def test_what_surrounds_the_chunks_has_the_limits_of_a_head(service: Service, chunks: bytes) -> None:
    with wire(service) as connection:
        connection.send(SPEC + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)

        connection.problem(431, "headers_too_large")


def test_a_body_in_chunks_of_one_byte_is_taken(service: Service) -> None:
    with wire(service) as connection:
        connection.send(SPEC + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\n{\r\n" * 50_000 + b"0\r\n\r\n")

        assert json.loads(connection.answer()[2])["detail"].startswith("the body is not JSON")


def test_a_trailer_is_no_key(service: Service) -> None:
    head = b"POST /train HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    key = b"X-API-Key: " + KEY.encode() + b"\r\n"
    with wire(service) as connection:
        connection.send(head + b"2\r\n{}\r\n0\r\n" + key + b"\r\nGET /jobs HTTP/1.1\r\n" + HOST + b"\r\n")

        assert [connection.answer()[0] for _ in range(2)] == [401, 401]


def test_a_client_that_waits_is_told_to_go_on(service: Service) -> None:
    with wire(service) as connection:
        connection.send(SPEC + b"Content-Length: 1\r\nExpect: 100-continue\r\n\r\n")
        told = connection.lines(2)
        connection.send(b"{")

        assert told == [b"HTTP/1.1 100 Continue\r\n", b"\r\n"]
        assert connection.answer()[0] == 400


def test_a_body_that_was_not_asked_for_ends_the_connection(service: Service) -> None:
    with wire(service) as connection:
        connection.send(b"POST /train HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nExpect: 100-continue\r\n\r\n")

        status, headers, _ = connection.answer()
        assert (status, headers["connection"]) == (401, "close")
        assert connection.has_ended()


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS", b"POST", b"PUT"])
@pytest.mark.parametrize("framing", [b"Content-Length: 5000000", b"Transfer-Encoding: chunked"])
def test_an_answer_that_leaves_a_body_unread_says_that_it_ends_the_connection(
    service: Service, method: bytes, framing: bytes
) -> None:
    with wire(service) as connection:
        connection.send(method + b" /train HTTP/1.1\r\n" + HOST + framing + b"\r\n\r\n")
        ending = connection.head()

        assert b"connection: close\r\n" in ending


def test_a_body_that_is_not_asked_for_yet_waits_behind_another_request(service: Service) -> None:
    with wire(service) as connection:
        connection.send(LIVE + b"\r\n" + SPEC + b"Content-Length: 1\r\nExpect: 100-continue\r\n\r\n")
        assert connection.answer()[0] == 200
        assert connection.lines(2) == [b"HTTP/1.1 100 Continue\r\n", b"\r\n"]
        connection.send(b"{")

        assert connection.answer()[0] == 400


def test_a_refused_body_without_an_end_ends_the_connection(service: Service) -> None:
    chunk = b"%x\r\n" % (1 << 20) + b"a" * (1 << 20) + b"\r\n"
    sent = 0
    with wire(service) as connection:
        connection.send(b"POST /train HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n")
        with suppress(OSError):
            while sent < 100_000:  # 100 GB
                connection.send(chunk)
                sent += 1

        assert connection.answer()[0] == 401
    assert sent < 100_000


@pytest.mark.parametrize("start", [SPEC + b"Connection: close\r\n", SPEC.replace(b"HTTP/1.1", b"HTTP/1.0")])
def test_a_client_that_sends_all_of_a_refused_body_reads_why(service: Service, start: bytes) -> None:
    body = b" " * (32 << 20)
    with wire(service) as connection:
        connection.send(start + b"Content-Length: %d\r\n\r\n" % len(body), body)

        connection.problem(413, "body_too_large")


def test_the_rest_of_a_refused_body_keeps_the_connection_when_it_is_short(service: Service) -> None:
    with wire(service) as connection:
        connection.send(b"POST /train HTTP/1.1\r\n" + HOST + b"Content-Length: 500000\r\n\r\n")
        status, headers, _ = connection.answer()
        assert (status, headers.get("connection")) == (401, None)
        connection.send(b"a" * 500_000 + LIVE + b"\r\n")

        assert connection.answer()[0] == 200


def test_a_client_may_read_slowly(service: Service) -> None:
    with wire(service, receive_bytes=4096) as connection:
        connection.send(b"GET /docs/assets/swagger-ui-bundle.js HTTP/1.1\r\n" + HOST + b"\r\n")
        time.sleep(HEAD_S + BODY_IDLE_S)  # the limits are for what a client sends

        status, headers, body = connection.answer()

    assert (status, int(headers["content-length"])) == (200, len(body))
    assert len(body) > 1 << 20
