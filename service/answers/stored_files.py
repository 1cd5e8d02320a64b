"""Stored files as answers, whole or in the parts of a `Range` (RFC 9110, section 14)."""

import os
import re
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any, Literal
from urllib.parse import quote

from fastapi.responses import FileResponse, Response
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from models_store.errors import EspalierError
from models_store.wording import counted

MOST_RANGES = 100
LARGEST = 10**18  # no file has so many bytes
UNCHANGED_HEADERS = {"etag", "cache-control", "vary", "content-location", "expires"}
RANGE = re.compile(r"(?P<first>[0-9]+)-(?P<last>[0-9]*)|-(?P<suffix>[0-9]+)")


class RangeOutside(EspalierError):
    """The requested part of the file does not exist."""

    status = 416
    code = "range_not_satisfiable"
    title = "The file is shorter than the requested range"

    def __init__(self, detail: str, *, size_bytes: int) -> None:
        super().__init__(detail)
        self.headers = {"Content-Range": f"bytes */{size_bytes}"}


class StoredFile(FileResponse):
    """A file, sent from the disk."""

    def __init__(self, path: str | os.PathLike[str], **response: Any) -> None:  # noqa: ANN401  FileResponse's own
        super().__init__(path, stat_result=os.stat(path), **response)  # noqa: PTH116  a Path or not

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file, or its parts, or the answer that the client already has it.

        Raises:
            RangeOutside: if it has none of them.
        """
        assert self.stat_result is not None
        headers = Headers(scope=scope)
        if is_named(headers.get("if-none-match", ""), self.headers["etag"]):
            await unchanged(self.headers)(scope, receive, send)
            return
        ranges = headers.getlist("range")
        asked = None
        if scope["method"] == "GET" and len(ranges) == 1 and self._is_still(headers.get("if-range")):
            asked = satisfiable(ranges[0], size_bytes=self.stat_result.st_size)
        kept = [pair for pair in scope["headers"] if pair[0] not in {b"range", b"if-range"}]
        if asked is not None:
            kept.append((b"range", asked.encode()))
        await super().__call__({**scope, "headers": kept}, receive, send)

    def _is_still(self, if_range: str | None) -> bool:
        """Return whether the client has a part of this very file."""
        assert self.stat_result is not None
        modified = formatdate(self.stat_result.st_mtime, usegmt=True)
        return if_range is None or if_range in {self.headers["etag"], modified}


def is_named(if_none_match: str, etag: str) -> bool:
    """Return whether an `If-None-Match` header names an entity tag, weak or not (RFC 9110, section 13.1.2)."""
    tags = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return etag.removeprefix("W/") in tags or "*" in tags


def unchanged(headers: Mapping[str, str]) -> Response:
    """Return the answer to a client that has the content already, with those of `headers` that belong to it."""
    kept = {name: headers[name] for name in headers if name.lower() in UNCHANGED_HEADERS}
    return Response(status_code=304, headers=kept)


def attachment(file_name: str, *, kind: Literal["attachment", "inline"] = "attachment") -> str:
    """Return the Content-Disposition for a file of this name (RFC 6266), whatever characters it has (RFC 8187)."""
    name = file_name.replace("/", "_").replace("\\", "_")
    plain = "".join(sign if " " <= sign <= "~" and sign not in '"%' else "_" for sign in name)
    extended = "" if plain == name else f"; filename*=UTF-8''{quote(name, safe='')}"
    return f'{kind}; filename="{plain}"{extended}'


def satisfiable(given: str, *, size_bytes: int) -> str | None:
    """Return the ranges of a `Range` that the file has, all with both ends; None if it must be ignored.

    A header is ignored if it is no list of ranges of bytes, or asks for more than MOST_RANGES.

    Raises:
        RangeOutside: if the file has none of the ranges.
    """
    unit, _, listed = given.partition("=")
    parts = [part for part in (part.strip(" \t") for part in listed.split(",")) if part]
    matches = [match for match in map(RANGE.fullmatch, parts) if match]
    if unit.strip().lower() != "bytes" or not parts or len(matches) < len(parts) or len(parts) > MOST_RANGES:
        return None
    there = []
    for match in matches:
        if match["suffix"]:
            first, last = size_bytes - _number(match["suffix"]), size_bytes - 1
        else:
            first, last = _number(match["first"]), _number(match["last"]) if match["last"] else LARGEST
            if last < first:
                return None
        if first < size_bytes:
            there.append(f"{max(first, 0)}-{min(last, size_bytes - 1)}")
    if not there:
        detail = (
            f"Range is {given[:100]!r} and the file has {counted(size_bytes, 'byte')}; ask for less, or leave it out"
        )
        raise RangeOutside(detail, size_bytes=size_bytes)
    return "bytes=" + ",".join(there)


def _number(digits: str) -> int:
    significant = digits.lstrip("0")
    return LARGEST if len(significant) > len(str(LARGEST)) else int(significant or "0")
