"""Names of a zip's members: UTF-8 if the zip marks them or they are valid UTF-8, else one code page for all.

A zip holds bytes. UTF-8 is marked by a flag (APPNOTE 6.3.10, 4.4.4) or given beside the bytes in the Unicode Path field
(0x7075, 4.6.9); macOS writes it unmarked. Other systems write their own code page and don't say which: it is guessed
from all names together, and the guess is in `NameReading.guessed`.
"""

import struct
import unicodedata
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args
from zipfile import ZipInfo

from models_store.archives.rules import MemberNameRefused

NameEncoding = Literal[
    "auto", "utf-8", "gbk", "big5", "shift_jis", "cp949", "cp1251", "cp866", "cp1252", "cp850", "cp437"
]
CODECS = {"shift_jis": "cp932", "gbk": "gb18030"}
"""names that people know → the codec, which reads what Windows and later standards have added"""
FOUND_AS = {"gb18030": "gbk", "gb2312": "gbk", "cp932": "shift_jis", "euc-kr": "cp949", "big5hkscs": "big5"}
"""how the detector's answer is named here, where it isn't by the same name"""
UNICODE_PATH = 0x7075
UTF8_FLAG = 0x800
MOST_SAMPLED_BYTES = 1 << 16


@dataclass
class NameReading:
    """How names are to be read, and what came of it: the code page that was guessed, and a name that it gave."""

    encoding: NameEncoding = "auto"
    guessed: str | None = None
    example: str = ""


def names_of(entries: Sequence[ZipInfo], reading: NameReading) -> list[str]:
    """Return each entry's name as it was meant; notes in `reading` what had to be guessed.

    Raises:
        MemberNameRefused: if a name can't be read in the encoding that was asked for.
    """
    raws = [_raw(entry) for entry in entries]
    names = [_certain(entry, raw) for entry, raw in zip(entries, raws, strict=True)]
    open_raws = [raw for raw, name in zip(raws, names, strict=True) if name is None]
    if not open_raws:
        return [name for name in names if name is not None]
    encoding = reading.encoding if reading.encoding != "auto" else _guessed(open_raws)
    decoded = [_decoded(raw, encoding) if name is None else name for raw, name in zip(raws, names, strict=True)]
    if reading.encoding == "auto" and encoding != "utf-8":
        reading.guessed = encoding
        reading.example = next(name for name, known in zip(decoded, names, strict=True) if known is None)
    return decoded


def _raw(entry: ZipInfo) -> bytes:
    """Return the name's bytes, which zipfile has decoded; it keeps those after a NUL in `orig_filename` alone."""
    return entry.orig_filename.encode("utf-8" if entry.flag_bits & UTF8_FLAG else "cp437")


def _certain(entry: ZipInfo, raw: bytes) -> str | None:
    """Return the name where nothing has to be guessed."""
    if entry.flag_bits & UTF8_FLAG:
        return entry.orig_filename
    return _unicode_path(entry.extra, raw) or (raw.decode("ascii") if raw.isascii() else None)


def _unicode_path(extra: bytes, raw: bytes) -> str | None:
    """Return the name in the Unicode Path field; None where there is none, or one of another name."""
    position = 0
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, position)
        field = extra[position + 4 : position + 4 + length]
        if kind == UNICODE_PATH and len(field) > 5 and field[0] == 1:  # noqa: PLR2004  version, checksum, name
            is_of_this_name = struct.unpack_from("<I", field, 1)[0] == zlib.crc32(raw)
            try:
                return field[5:].decode("utf-8") if is_of_this_name else None
            except UnicodeDecodeError:
                return None
        position += 4 + length
    return None


def _guessed(raws: Sequence[bytes]) -> str:
    """Return the encoding in which all the names make the most sense together."""
    candidates = [each for each in get_args(NameEncoding) if each != "auto" and _reads(each, raws)]
    if candidates[:1] == ["utf-8"]:
        return "utf-8"
    if len(candidates) < 2:  # noqa: PLR2004  nothing to choose from
        return candidates[0] if candidates else "cp437"
    from chardet import detect  # noqa: PLC0415  0.1 s that archives of usual names are spared

    sample = b"\n".join(dict.fromkeys(raws))[:MOST_SAMPLED_BYTES]
    codecs = [CODECS.get(each, each) for each in candidates]
    found = (detect(sample, include_encodings=codecs, no_match_encoding=codecs[0])["encoding"] or "").lower()
    found = found.replace("windows-", "cp").replace("ibm", "cp")
    found = FOUND_AS.get(found, found)
    return found if found in candidates else candidates[0]


def _reads(encoding: str, raws: Sequence[bytes]) -> bool:
    """Return whether all the names are letters, digits and punctuation in an encoding."""
    try:
        text = "".join(raw.decode(CODECS.get(encoding, encoding)) for raw in raws)
    except UnicodeDecodeError:
        return False
    others = {character for character in text if not character.isascii()}
    return all(unicodedata.category(each)[0] in "LMNP" and not 0xFF61 <= ord(each) <= 0xFF9F for each in others)  # noqa: PLR2004  half-width katakana: bytes of something else


def _decoded(raw: bytes, encoding: str) -> str:
    try:
        return raw.decode(CODECS.get(encoding, encoding))
    except UnicodeDecodeError as error:
        shown = ascii(raw)[2:-1][:80]
        raise MemberNameRefused(
            f"the member name {shown} is not {encoding} (byte {error.start}); send another `names`, or pack the "
            "archive again with names in UTF-8",
            member=shown,
        ) from error
