"""Heads of requests by their bytes: only requests with the same meaning have the same one."""

import pytest

from service.hot.heads import MOST_HEADS, Heads, split

START = b"POST /predict?model=a HTTP/1.1\r\nHost: localhost\r\n"


def request(*, length: bytes = b"3", body: bytes = b"abc", name: bytes = b"Content-Length", more: bytes = b"") -> bytes:
    return START + name + b": " + length + b"\r\n" + more + b"\r\n" + body


def head_of(data: bytes) -> bytes:
    found = split(data)
    assert found is not None
    return found[0]


@pytest.mark.parametrize("name", [b"Content-Length", b"content-length"])
def test_requests_that_differ_in_the_length_of_their_body_have_the_same_head(name: bytes) -> None:
    short, long = request(name=name), request(name=name, length=b"5", body=b"abcde")

    assert head_of(short) == head_of(long)
    assert [data[split(data).body_at :] for data in (short, long)] == [b"abc", b"abcde"]  # type: ignore[union-attr]


@pytest.mark.parametrize("name", [b"X-Request-ID", b"x-request-id", b"X-Request-Id", b"traceparent", b"Traceparent"])
@pytest.mark.parametrize("before", [b"", b"Accept: */*\r\n"])
@pytest.mark.parametrize("behind", [b"", b"Accept: */*\r\n"])
def test_requests_that_differ_in_what_names_them_have_the_same_head(name: bytes, before: bytes, behind: bytes) -> None:
    plain, one, other = (
        split(request(more=before + own + behind)) for own in (b"", name + b": one\r\n", name + b": the/other:2\r\n")
    )

    assert plain is not None
    assert one is not None
    assert other is not None
    assert one.known_by == other.known_by == plain.known_by
    assert (plain.own, one.own, other.own) == ([], [(name.lower(), b"one")], [(name.lower(), b"the/other:2")])


@pytest.mark.parametrize(
    "own", [b"X-Request-ID: \r\n", b"X-Request-ID: a b\r\n", b"X-Request-ID: a\r\n b\r\n", b"X-Request-ID:  a\r\n"]
)
def test_a_name_that_is_not_well_formed_stays_in_the_head(own: bytes) -> None:
    found = split(request(more=own))

    assert found is not None
    assert (found.own, own.strip() in found.known_by) == ([], True)


@pytest.mark.parametrize(("body", "missing"), [(b"abc", 0), (b"a", 2), (b"", 3)])
def test_the_bytes_that_are_still_to_come_are_counted(body: bytes, missing: int) -> None:
    assert split(request(body=body)) == (head_of(request()), [], len(request(body=b"")), missing)


@pytest.mark.parametrize(
    "other",
    [
        request(more=b"X-API-Key: another\r\n"),
        request(more=b"Content-Length: 3\r\n"),
        request(more=b"Transfer-Encoding: chunked\r\n"),
        request().replace(b"model=a", b"model=b"),
        request().replace(b"localhost", b"example.org"),
        request().replace(b"HTTP/1.1", b"HTTP/1.0"),
    ],
)
def test_requests_that_differ_elsewhere_have_other_heads(other: bytes) -> None:
    assert head_of(other) != head_of(request())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        START,
        START + b"\r\n",
        request(body=b"abcd"),
        request(body=b"abc" + START),
        request(length=b"+3"),
        request(length=b" 3"),
        request(length=b"3 "),
        request(length=b"3, 3"),
        request(length=b""),
        request(length="\u0663".encode()),
        request(length=b"3\r\n "),
        request(length=b"3\r\n\t5"),
        request(name=b"X-Content-Length"),
        request(name=b" Content-Length"),
        request(more=b"X: " + b"a" * 5000 + b"\r\n"),
    ],
)
def test_what_is_not_one_whole_plain_request_has_no_head(data: bytes) -> None:
    assert split(data) is None


def test_only_so_many_heads_are_remembered() -> None:
    heads: Heads[int] = Heads()

    for number in range(MOST_HEADS + 1):
        heads.learn(b"%d" % number, number)

    assert heads.get(b"0") is None
    assert heads.get(b"%d" % MOST_HEADS) == MOST_HEADS
