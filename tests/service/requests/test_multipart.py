"""Forms that arrive in pieces: wherever they are cut, the same bytes reach the same fields."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models_store.errors import TooLarge
from service.requests import multipart

BOUNDARY = "tree"
NAMES = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=8)


def a_form(parts: list[tuple[str, bytes]]) -> bytes:
    head = '--{}\r\nContent-Disposition: form-data; name="{}"; filename="x"\r\n\r\n'
    body = b"".join(head.format(BOUNDARY, name).encode() + data + b"\r\n" for name, data in parts)
    return body + f"--{BOUNDARY}--\r\n".encode()


async def in_pieces(body: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


class Collected:
    def __init__(self) -> None:
        self.parts: list[tuple[str, bytearray]] = []

    def __call__(self, name: str, _file_name: str | None) -> "Field":
        self.parts.append((name, bytearray()))
        return Field(self.parts[-1][1])


class Field:
    def __init__(self, data: bytearray) -> None:
        self._data = data

    def write(self, data: bytes) -> None:
        self._data += data


@settings(deadline=None, max_examples=60)
@given(
    parts=st.lists(
        st.tuples(NAMES, st.binary(max_size=60).filter(lambda data: BOUNDARY.encode() not in data)), max_size=4
    ),
    size=st.integers(1, 50),
)
def test_a_form_means_the_same_however_it_is_cut(parts: list[tuple[str, bytes]], size: int) -> None:
    collected = Collected()
    content_type = f"multipart/form-data; boundary={BOUNDARY}"

    asyncio.run(multipart.receive(in_pieces(a_form(parts), size), content_type=content_type, opener=collected))

    assert [(name, bytes(data)) for name, data in collected.parts] == parts


def test_endless_part_headers_are_refused() -> None:
    body = f"--{BOUNDARY}\r\nX-Long: ".encode() + b"x" * 100_000

    with pytest.raises(multipart.BadMultipart):
        asyncio.run(
            multipart.receive(
                in_pieces(body, 1000), content_type=f"multipart/form-data; boundary={BOUNDARY}", opener=Collected()
            )
        )


def test_a_text_field_has_a_cap() -> None:
    field = multipart.TextField("model", max_bytes=10)

    with pytest.raises(TooLarge):
        field.write(b"x" * 11)
