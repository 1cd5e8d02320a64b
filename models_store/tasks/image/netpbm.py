"""Netpbm files (PBM, PGM, PPM, PAM) → arrays: binary and plain text, 1 to 16 bits, scaled by the largest value they declare.

After the manual pages of Netpbm (pbm, pgm, ppm, pam). Pillow reads most of them value by value in Python, and 16-bit
grey as 32-bit numbers; numpy takes all of a file at once. Of several images in one file the first is read.
"""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LONGEST_HEADER_BYTES = 1 << 16
LARGEST_VALUE = 65535
ONE_BYTE = 255
SPACES = b" \t\n\v\f\r"
TOKEN = re.compile(rb"(?:[ \t\n\v\f\r]|#[^\r\n]*[\r\n])*([0-9]{1,10})")
COMMENT = re.compile(rb"#[^\r\n]*")
PAM_LINE = re.compile(rb"[ \t]*(?:#[^\n]*|([A-Z]+)[ \t]*([^\n]*?)[ \t\r]*|[ \t\r]*)\n")
CHANNELS = {b"1": 1, b"2": 1, b"3": 3, b"4": 1, b"5": 1, b"6": 3}
PLAIN = b"123"
MOST_COMMENTS = 10_000  # among the pixels, where hardly any program writes one
BITS = b"14"


class NetpbmDamaged(Exception):
    """The file is not a Netpbm image, or only a part of one."""


@dataclass(frozen=True)
class Header:
    """The header before the pixels. `largest` is the value that is white (or full), 1 for black and white."""

    kind: bytes  # the digit of its first two bytes
    width: int
    height: int
    channels: int
    largest: int
    data_at: int


def header_of(data: bytes) -> Header:
    """Return the header.

    Raises:
        NetpbmDamaged: if there is none that makes sense.
    """
    kind = data[1:2]
    head = data[:LONGEST_HEADER_BYTES]
    if kind == b"7":
        header = _pam_header(head)
    else:
        numbers, at = [], 2
        for _ in range(2 if kind in BITS else 3):
            if (found := TOKEN.match(head, at)) is None:
                raise NetpbmDamaged("its header lacks width, height or largest value")
            numbers.append(int(found[1]))
            at = found.end()
        width, height, largest = (*numbers, 1)[:3]
        header = Header(kind, width, height, CHANNELS[kind], largest, at + 1)  # one space, and then the pixels
    if not 0 < header.largest <= LARGEST_VALUE:
        raise NetpbmDamaged(f"its largest value is given as {header.largest}; 1 to {LARGEST_VALUE} are allowed")
    return header


def pixels_of(data: bytes, header: Header) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Return the values (H, W, C): uint8 of 0 to 255, or for a `largest` above 255 uint16 as they are.

    Raises:
        NetpbmDamaged: if values are missing or too large.
    """
    shape = header.height, header.width, header.channels
    count = header.height * header.width * header.channels
    if header.kind in BITS:
        return _bits(data, header).reshape(shape)
    if header.kind in PLAIN:
        values: NDArray[Any] = _plain_numbers(data, header, count)
    else:
        size = 1 if header.largest <= ONE_BYTE else 2
        _check_length(len(data) - header.data_at, count * size)
        values = np.frombuffer(data, "u1" if size == 1 else ">u2", count, header.data_at)
    if header.largest > ONE_BYTE:
        deep: NDArray[np.uint16] = np.minimum(values, header.largest).astype(np.uint16)
        return deep.reshape(shape)
    if header.largest < ONE_BYTE:
        table = np.minimum(np.round(np.arange(ONE_BYTE + 1) * ONE_BYTE / header.largest), ONE_BYTE).astype(np.uint8)
        values = table[values.astype(np.uint8)]
    eight_bits: NDArray[np.uint8] = values.astype(np.uint8)
    return eight_bits.reshape(shape)


def _pam_header(head: bytes) -> Header:
    fields: dict[bytes, bytes] = {}
    at = head.find(b"\n") + 1
    while (line := PAM_LINE.match(head, at)) is not None and line[1] != b"ENDHDR":
        if line[1]:
            fields[line[1]] = line[2]
        at = line.end()
    names = (b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL")
    if line is None or not all(fields.get(name, b"").isdigit() and len(fields[name]) <= 10 for name in names):  # noqa: PLR2004  digits
        raise NetpbmDamaged("its header lacks WIDTH, HEIGHT, DEPTH, MAXVAL or ENDHDR")
    width, height, depth, largest = (int(fields[name]) for name in names)
    if not 1 <= depth <= 4:  # noqa: PLR2004  grey, with alpha, colour, with alpha
        raise NetpbmDamaged(f"it has {depth} channels; 1 to 4 are allowed")
    return Header(b"7", width, height, depth, largest, line.end())


def _bits(data: bytes, header: Header) -> NDArray[np.uint8]:
    """Return black and white, where 1 is black."""
    width, height = header.width, header.height
    if header.kind in PLAIN:
        text = _without_comments(data, header, b"").translate(None, SPACES)
        _check_length(len(text), width * height)
        digits = np.frombuffer(text, np.uint8, width * height)
        if not np.isin(digits, (48, 49)).all():
            raise NetpbmDamaged("one of its pixels is neither 0 nor 1")
        white = digits == ord("0")
    else:
        row_bytes = -(-width // 8)
        _check_length(len(data) - header.data_at, row_bytes * height)
        packed = np.frombuffer(data, np.uint8, row_bytes * height, header.data_at).reshape(height, row_bytes)
        white = np.unpackbits(packed, axis=1, count=width) == 0
    pixels: NDArray[np.uint8] = white.astype(np.uint8) * np.uint8(ONE_BYTE)
    return pixels


def _without_comments(data: bytes, header: Header, instead: bytes) -> bytes:
    """Return the text behind the header. While it is read, each comment takes a hundred bytes of memory."""
    if data.count(b"#", header.data_at) > MOST_COMMENTS:
        raise NetpbmDamaged(f"it has more than {MOST_COMMENTS} comments among its pixels")
    return COMMENT.sub(instead, data[header.data_at - 1 :])


def _plain_numbers(data: bytes, header: Header, count: int) -> NDArray[np.int64]:
    text = _without_comments(data, header, b" ")
    if text.translate(None, b"0123456789" + SPACES):
        raise NetpbmDamaged("its pixels are not plain numbers")
    _check_length(len(text), count)
    values = np.fromstring(text, np.int64, sep=" ")[:count] if text.strip() else np.empty(0, np.int64)
    _check_length(len(values), count)
    if not ((values >= 0) & (values <= header.largest)).all():
        raise NetpbmDamaged(f"one of its values is above {header.largest}, the largest value that it declares")
    return values


def _check_length(given: int, needed: int) -> None:
    if given < needed:
        raise NetpbmDamaged(f"its pixels end after {given} of {needed} values or bytes")
