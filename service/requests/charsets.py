"""Encoding of a body of text, by the parameter `charset` of its content type."""

from typing import get_args

from fastapi import Request
from python_multipart.multipart import parse_options_header

from models_store.datasets.table_lines import Encoding
from models_store.errors import FieldError
from service.problems import InvalidRequest
from service.requests import bodies

JSON_LINES = ("application/jsonl", "application/x-ndjson")
NAMES: dict[str, Encoding] = {
    "utf8": "utf-8",
    "usascii": "utf-8",
    "ascii": "utf-8",
    "utf16": "utf-16",
    "utf16le": "utf-16",
    "gb18030": "gb18030",
    "gbk": "gb18030",
    "gb2312": "gb18030",
    "big5": "big5",
    "big5hkscs": "big5",
    "shiftjis": "shift_jis",
    "sjis": "shift_jis",
    "windows31j": "shift_jis",
    "cp932": "shift_jis",
    "eucjp": "euc_jp",
    "euckr": "cp949",
    "cp949": "cp949",
    "windows949": "cp949",
    "windows1250": "cp1250",
    "cp1250": "cp1250",
    "windows1251": "cp1251",
    "cp1251": "cp1251",
    "windows1252": "cp1252",
    "cp1252": "cp1252",
    "iso88591": "latin-1",
    "latin1": "latin-1",
}
"""charsets in small letters without signs → the encoding that reads them; some by a larger one, as GBK by GB18030"""


class WrongCharset(bodies.WrongContentType):
    """The body is text in a charset that is not read here."""

    code = "wrong_charset"


def encoding_of(request: Request, *, asked: Encoding | None = None) -> Encoding:
    """Return the encoding of a body of text: what the query asks for, else the charset, else UTF-8.

    Raises:
        WrongCharset: if the charset is not read here.
        InvalidRequest: if the query says something else than the charset.
    """
    kind = bodies.content_type(request)
    header = request.headers.get("content-type", "")
    if ";" not in header or not (kind.startswith("text/") or kind in JSON_LINES):
        return asked or "utf-8"
    given = parse_options_header(header)[1].get(b"charset", b"").decode("latin-1")
    if not given:
        return asked or "utf-8"
    found = NAMES.get("".join(filter(str.isalnum, given[:50].lower())))
    if found is None:
        allowed = get_args(Encoding)
        detail = (
            f"the charset {given[:50]!r} is not read here; send the body in UTF-8, or in one of {', '.join(allowed)}"
        )
        fault = FieldError("header:Content-Type", WrongCharset.code, detail, allowed=[*allowed])
        raise WrongCharset(detail, errors=[fault])
    if asked not in {None, found}:
        message = f"the content type says charset={given[:50]} and the query encoding={asked}; leave one of them out"
        raise InvalidRequest(message, errors=[FieldError("query:encoding", InvalidRequest.code, message, found)])
    return found
