"""JSON bodies above 1 MB, which are parsed in pieces: as a whole parser would, and holding nobody up."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.problems import MalformedRequest
from service.requests.strict_json import TooManyValues, parse
from tests import samples
from tests.service.live_service import Service, problem_of, running
from tests.service.onnx_files import write_colour_net

PADDING = "x" * (1 << 20)
LONG = st.text(st.sampled_from('a"\\\n/ä€😀\u2028 {[:,'), min_size=600, max_size=700)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.text(max_size=5), LONG)
KEYS = st.one_of(st.text(max_size=5), st.text(st.sampled_from('k"\\ä😀'), min_size=600, max_size=900))
DOCUMENTS = st.recursive(
    SCALARS,
    lambda below: st.one_of(st.lists(below, max_size=4), st.dictionaries(KEYS, below, max_size=4)),
    max_leaves=8,
)


def a_large(text: bytes) -> bytes:
    """Return a document that holds another, in JSON, behind a string that makes it large."""
    return b'{"padding": "' + PADDING.encode() + b'", "found": ' + text + b"}"


@settings(max_examples=60, deadline=None)
@given(document=DOCUMENTS, spaced=st.booleans(), escaped=st.booleans())
def test_a_large_document_is_read_as_it_was_written(document: Any, *, spaced: bool, escaped: bool) -> None:
    text = json.dumps(document, indent=1 if spaced else None, ensure_ascii=escaped).encode()

    assert parse(a_large(text))["found"] == document


@settings(max_examples=60, deadline=None)
@given(document=DOCUMENTS, data=st.data())
def test_a_large_document_is_refused_where_a_whole_parser_refuses_it(document: Any, data: st.DataObject) -> None:
    damaged = bytearray(a_large(orjson.dumps(document)))
    place = data.draw(st.integers(len(PADDING), len(damaged) - 1))
    damaged[place] = data.draw(st.sampled_from(b'"\\\xff\x80\x01{}[],:0'))
    try:
        expected = orjson.loads(damaged)
    except orjson.JSONDecodeError:
        expected = None

    if expected is None:
        with pytest.raises(MalformedRequest):
            parse(bytes(damaged))
    else:
        try:
            assert parse(bytes(damaged)) == expected
        except MalformedRequest as refusal:
            assert "twice" in refusal.detail  # noqa: PT017  orjson keeps the last of two keys


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b'{"a": 1, "a": 2}', "'a' is given twice"),
        (b'{"%b": 1, "%b": 2}' % (b"k" * 700, b"k" * 700), "is given twice"),
        (b'{"%b": 1}' % (b"k" * 1001), "key of 1001 characters"),
        (b"[" * 64 + b"]" * 64, "nested deeper"),
        (b"NaN", "JSON has no NaN"),
        (b'"\xff"', "not JSON"),
        (b'"' + b"y" * 5000 + b'\x01"', "at byte 1053602"),
        (b'"' + b"y" * 5000 + b"\xff" + b'"', "at byte 1048601"),
        (b'"' + b"y" * 5000, "byte 1053603 is wrong"),
        (b'"' + b'\\"' * 50_000 + b'"', "quotation marks"),
    ],
)
def test_what_is_wrong_in_a_large_document_is_named(text: bytes, said: str) -> None:
    with pytest.raises(MalformedRequest, match=said):
        parse(a_large(text))


def test_a_large_document_of_many_values_is_refused() -> None:
    with pytest.raises(TooManyValues):
        parse(a_large(b"[" + b"1," * 10_000 + b"1]"))


@pytest.mark.parametrize(
    "text", [b'"' + "€".encode() * (1 << 20) + b'"', b'"' + b"\\\\" * (1 << 20) + b'"', b'"\\\\\\""']
)
def test_a_very_long_string_is_whole(text: bytes) -> None:
    assert parse(a_large(text))["found"] == orjson.loads(text)


@pytest.mark.parametrize("unit", [rb"\\/", rb"\u00e9", rb"\ud83d\ude00", rb"\\\\ud83d", "😀\\\\".encode()])
def test_a_very_long_string_is_whole_wherever_its_escapes_stand(unit: bytes) -> None:
    for shift in range(12):
        text = b'"' + b"a" * shift + unit * ((2 << 20) // len(unit)) + b'"'

        assert parse(a_large(text))["found"] == orjson.loads(text)


@pytest.mark.parametrize("text", [rb'"%b\ud83d%b"', rb'"%b\ude00\ud83d%b"', rb'"%b\x%b"', rb'"%b\u12-%b"'])
def test_a_very_long_string_with_half_an_escape_is_refused(text: bytes) -> None:
    for shift in range(12):
        with pytest.raises(MalformedRequest):
            parse(a_large(text % (b"a" * ((1 << 20) - shift), b"a" * (1 << 20))))


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Service]:
    with running(samples.quick_settings(tmp_path / "home")) as service:
        service.publish("colours", write_colour_net(tmp_path / "net.onnx"))
        yield service


@pytest.mark.parametrize("sign", [b"AA", rb"\/", rb"\u002B"])
def test_a_large_body_is_parsed_beside_the_event_loop_and_in_small_pieces(
    live: Service, monkeypatch: pytest.MonkeyPatch, sign: bytes
) -> None:
    """Whatever its base64 looks like: PHP escapes each slash, and .NET each plus."""
    parsed: list[tuple[bool, int]] = []
    loads = orjson.loads

    def recorded(text: bytes | memoryview) -> Any:
        if len(text) > 100_000:  # and not a row of the database
            parsed.append((threading.current_thread().name.startswith("AnyIO"), len(text)))
        return loads(text)

    inputs = [b'"%b"' % (sign * (size // len(sign))) for size in [5_000_000] + [700_000] * 20]
    body = b'{"model": "colours", "inputs": [%b]}' % b",".join(inputs)
    monkeypatch.setattr(orjson, "loads", recorded)
    answer = live.http.post("/predict", content=body, headers={"Content-Type": "application/json"})

    problem_of(answer, 422, "bad_input")
    assert len(body) > 18_000_000
    assert all(is_in_a_thread and size_bytes <= (1 << 20) + 2 for is_in_a_thread, size_bytes in parsed)
    assert sum(size_bytes for _, size_bytes in parsed) > 18_000_000
