"""Uploads of large files: streamed in constant memory to a scratch file, which is always removed again."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from models_store import names
from models_store.archives.rules import SEND
from models_store.datasets.row_sources import Table
from models_store.datasets.table_formats import MEDIA_TYPES, Format, format_of
from models_store.errors import FieldError, Invalid, StorageFull
from models_store.storage import disk, scratch
from models_store.tasks.rooms import TASKS
from service.problems import nearest
from service.requests import bodies, multipart

BUFFER_BYTES = 1 << 20
FORM_OVERHEAD_BYTES = 64 << 10
"""Largest size of a form's boundaries and part headers, added to the archive's own."""
DOCUMENTED_TYPES = (
    "application/octet-stream",
    "application/zip",
    "application/x-zip-compressed",
    "application/x-tar",
    "application/gzip",
    "application/x-gzip",
    "application/x-bzip2",
    "application/x-xz",
    "application/zstd",
)
TABLE_TYPES = MEDIA_TYPES if any(contract.column is not None for contract in TASKS) else {}
"""of tables whose rows are examples, where a task has such"""
OTHER_TYPES = frozenset(
    [
        "application/bzip2",
        "application/gzip-compressed",
        "application/lzma",
        "application/tar",
        "application/tar+gzip",
        "application/x-bz2",
        "application/x-bzip",
        "application/x-bzip-compressed-tar",
        "application/x-bzip2-compressed-tar",
        "application/x-compressed",
        "application/x-compressed-tar",
        "application/x-gtar",
        "application/x-gtar-compressed",
        "application/x-gunzip",
        "application/x-gzip-compressed",
        "application/x-lzma",
        "application/x-lzma-compressed-tar",
        "application/x-tar-gz",
        "application/x-targz",
        "application/x-tgz",
        "application/x-ustar",
        "application/x-xz-compressed-tar",
        "application/x-zip",
        "application/x-zst",
        "application/x-zstd",
        "application/x-zstd-compressed-tar",
        "application/xz",
        "application/zst",
        "binary/octet-stream",  # what object stores say of a file that nothing was said of
    ]
)
"""Other content types that clients use for the same formats; the bytes decide the format."""


class NoArchive(Invalid):
    """The request contains no archive."""

    code = "no_archive"
    title = "The archive is missing"


class NoTable(Invalid):
    """The request contains no table of examples."""

    code = "no_table"
    title = "The table is missing"


class UploadStorageFull(StorageFull):
    """The disk became full during the upload."""

    code = "storage_full"


class Arriving:
    """A sink that writes to a file, up to a limit."""

    def __init__(self, file: BinaryIO, *, max_bytes: int) -> None:
        self._file = file
        self._max_bytes = max_bytes
        self.size_bytes = 0
        self.name: str | None = None

    def write(self, data: bytes) -> None:
        """Take the next bytes.

        Raises:
            BodyTooLarge: beyond the limit.
            UploadStorageFull: if the disk is full.
        """
        self.size_bytes += len(data)
        if self.size_bytes > self._max_bytes:
            raise bodies.too_large(self._max_bytes)
        with reporting_full_disk():
            self._file.write(data)

    def flush(self) -> None:
        """Flush everything to the system.

        Raises:
            UploadStorageFull: if the disk is full.
        """
        with reporting_full_disk():
            self._file.flush()


@contextmanager
def scratch_file(folder: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """Yield a new file in the scratch folder, open for writing; it is removed at the end unless it was moved away."""
    descriptor, path = scratch.new_file(folder, "upload", pid=os.getpid())
    file = os.fdopen(descriptor, "wb", buffering=BUFFER_BYTES)
    try:
        yield path, file
    finally:
        with suppress(OSError):  # a full disk was reported before
            file.close()
        path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Arrived:
    """An upload on the disk: the name of its file, if one came, and its format if it is a table of examples."""

    name: str | None
    table: Format | None

    def as_table(self, stem: str) -> Table | None:
        """Return the table that it is, None for an archive; its rows go by the file's name, or by `stem`."""
        if self.table is None:
            return None
        file = PurePosixPath((self.name or "").replace("\\", "/")).name
        return Table(names.without_refused(file)[: names.LONGEST] or f"{stem}.{self.table}", self.table)


def check_type(request: Request) -> str:
    """Return the content type of a body that is an archive, a table of examples, or a form.

    Raises:
        WrongContentType: if it is neither.
    """
    given = bodies.content_type(request)
    known = ["multipart/form-data", *DOCUMENTED_TYPES, *TABLE_TYPES, *sorted(OTHER_TYPES)]
    if given not in known:
        types = ", ".join((*DOCUMENTED_TYPES, *TABLE_TYPES))
        detail = f"{bodies.what_came(given)}; send multipart/form-data, or one of {types}"
        fault = FieldError("header:Content-Type", bodies.WrongContentType.code, detail, allowed=known)
        raise bodies.WrongContentType(detail, errors=[fault])
    return given


async def receive(request: Request, file: BinaryIO, *, max_bytes: int) -> Arrived:
    """Write the request's archive or table (a raw body, or the form field `file`) to `file`; return what came.

    A table is known by its content type, or in a form by its name.

    Raises:
        WrongContentType: if the body is neither an archive nor a form.
        BodyTooLarge: as soon as more than `max_bytes` came.
        NoArchive: if the body is empty, or the form has no field `file`.
        NoTable: if it is an empty table.
        UploadStorageFull: if the disk is full.
    """
    given = check_type(request)
    arriving = Arriving(file, max_bytes=max_bytes)
    if given == "multipart/form-data":
        bodies.check_length(request, max_bytes=max_bytes + FORM_OVERHEAD_BYTES)
        await _receive_form(request, arriving, max_bytes=max_bytes + FORM_OVERHEAD_BYTES)
    else:
        await _receive_raw(request, arriving, max_bytes=max_bytes)
    arrived = Arrived(arriving.name, TABLE_TYPES.get(given) or format_of(arriving.name or ""))
    if arriving.size_bytes == 0 and arrived.table is not None:
        raise NoTable("the table is empty: it has no line; send one with a line for each example")
    if arriving.size_bytes == 0:
        raise NoArchive(f"no archive came; {SEND} as the body, or as the form field `file`")
    await run_in_threadpool(arriving.flush)
    return arrived


async def receive_bytes(request: Request, file: BinaryIO, *, max_bytes: int) -> None:
    """Write the request's raw body, `application/octet-stream`, to `file`.

    Raises:
        WrongContentType: if it has another content type.
        BodyTooLarge: as soon as more than `max_bytes` came.
        UploadStorageFull: if the disk is full.
    """
    given = bodies.content_type(request)
    if given != "application/octet-stream":
        raise bodies.WrongContentType(f"{bodies.what_came(given)}; send application/octet-stream")
    await _receive_raw(request, Arriving(file, max_bytes=max_bytes), max_bytes=max_bytes)


async def _receive_raw(request: Request, arriving: Arriving, *, max_bytes: int) -> None:
    bodies.check_length(request, max_bytes=max_bytes)
    async for chunk in request.stream():
        if chunk:
            await run_in_threadpool(arriving.write, chunk)
    await run_in_threadpool(arriving.flush)


async def _receive_form(request: Request, arriving: Arriving, *, max_bytes: int) -> None:
    def opener(field: str, file_name: str | None) -> multipart.Sink:
        if field != "file":
            raise NoArchive(f"the form has a field {field!r}; {nearest(field, ['file'])}")
        if arriving.name is not None or arriving.size_bytes:
            raise NoArchive("the form has two fields `file`; send one archive")
        arriving.name = file_name
        return arriving

    async def capped() -> AsyncIterator[bytes]:
        size_bytes = 0
        async for chunk in request.stream():
            size_bytes += len(chunk)
            if size_bytes > max_bytes:
                raise bodies.too_large(max_bytes)
            yield chunk

    await multipart.receive(capped(), content_type=request.headers["content-type"], opener=opener)


@contextmanager
def reporting_full_disk() -> Iterator[None]:
    """Raise `UploadStorageFull` for the system's errors of a full disk.

    Raises:
        UploadStorageFull: for the system's errors that mean it.
    """
    try:
        yield
    except OSError as error:
        if disk.is_full(error):
            raise UploadStorageFull(
                "the disk is full; free some space on the service's host and upload again"
            ) from error
        raise
