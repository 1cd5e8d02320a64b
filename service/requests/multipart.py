"""Streaming reader of multipart/form-data: each part's bytes go directly to their place, without a temporary file.

Starlette's own form parser would write an archive to the system's temporary folder first (often memory), and we would
copy it from there.
"""

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Protocol

import python_multipart
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.concurrency import run_in_threadpool

from models_store.errors import TooLarge
from service.problems import MalformedRequest

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MOST_HEADER_BYTES = 16 << 10


class BadMultipart(MalformedRequest):
    """The body is not the multipart form of its content type."""

    code = "bad_multipart"
    title = "The form can't be read"


class FieldTooLarge(TooLarge):
    """A text field of a form is over its limit."""

    code = "field_too_large"


class Sink(Protocol):
    """Destination of the bytes of one part."""

    def write(self, data: bytes) -> object:
        """Take the next bytes of the part."""


class TextField:
    """A sink for a short text field."""

    def __init__(self, name: str, *, max_bytes: int = 10_000) -> None:
        self._name = name
        self._max_bytes = max_bytes
        self._data = bytearray()

    def write(self, data: bytes) -> None:
        """Take the next bytes.

        Raises:
            FieldTooLarge: beyond the limit.
        """
        self._data += data
        if len(self._data) > self._max_bytes:
            raise FieldTooLarge(f"the field {self._name!r} may have {self._max_bytes} bytes")

    @property
    def text(self) -> str:
        """Return the text.

        Raises:
            BadMultipart: if it is not UTF-8.
        """
        try:
            return self._data.decode()
        except UnicodeDecodeError as error:
            raise BadMultipart(f"the field {self._name!r} is not UTF-8 text") from error


Opener = Callable[[str, str | None], Sink]
"""(field's name, file's name or None) → its sink; raises for parts that are not accepted."""


async def receive(chunks: AsyncIterator[bytes], *, content_type: str, opener: Opener) -> None:
    """Feed the form in `chunks` to the sinks of `opener`, in a thread, because they may write to a disk.

    Raises:
        BadMultipart: if the form is broken, or ends too early.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise BadMultipart("the content type names no boundary; let your HTTP client set it")
    reader = _Reader(opener)
    try:
        parser = python_multipart.MultipartParser(boundary, reader.callbacks)
        async for chunk in chunks:
            if chunk:
                await run_in_threadpool(parser.write, chunk)
        parser.finalize()
    except FormParserError as error:
        raise BadMultipart("the form is broken: its parts do not follow RFC 7578") from error
    if not reader.ended:
        raise BadMultipart("the form ends before its last boundary")


class _Reader:
    """The parser's callbacks: collects a part's headers, then passes its bytes on."""

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._sink: Sink | None = None
        self._headers: dict[bytes, bytes] = {}
        self._name = b""
        self._value = b""
        self._header_bytes = 0
        self.ended = False

    @property
    def callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._open,
            "on_part_data": self._data,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        self._headers.clear()
        self._header_bytes = 0

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]
        self._count_header(end - start)

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        self._count_header(end - start)

    def _count_header(self, size_bytes: int) -> None:
        self._header_bytes += size_bytes
        if self._header_bytes > MOST_HEADER_BYTES:
            raise BadMultipart(f"the headers of a part are longer than {MOST_HEADER_BYTES} bytes")

    def _header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def _open(self) -> None:
        options = parse_options_header(self._headers.get(b"content-disposition", b""))[1]
        if b"name" not in options:
            raise BadMultipart("a part has no name; each needs `Content-Disposition: form-data; name=…`")
        file_name = options.get(b"filename")
        self._sink = self._opener(
            options[b"name"].decode(errors="replace"), None if file_name is None else file_name.decode(errors="replace")
        )

    def _data(self, data: bytes, start: int, end: int) -> None:
        assert self._sink is not None
        self._sink.write(data[start:end])

    def _end(self) -> None:
        self.ended = True
