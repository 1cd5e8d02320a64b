"""EXIF orientation of a JPEG, read from its segments: the one reader for every path that turns an image upright.

EXIF (CIPA DC-008, tag 0x0112 of the first directory) comes before XMP (`tiff:Orientation`), as in Pillow. All
application segments before the first scan are read, in any order and at any distance: a camera's preview or a colour
profile of some hundred kilobytes may come before them.
"""

import re
import struct
from collections.abc import Iterator

from models_store.tasks.image.limits import MOST_PARTS

UPRIGHT = 1
TAG = 0x0112
EXIF, XMP = b"Exif\x00", b"http://ns.adobe.com/xap/1.0/\x00"
XMP_ORIENTATION = re.compile(rb"tiff:Orientation\s*(?:=\s*[\"']|>)\s*([1-8])\s*[\"'<]")
APP1, SCAN, END = 0xE1, 0xDA, 0xD9
WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}
NUMBERS = {1: "B", 3: "H", 4: "I"}  # types of a TIFF entry that may hold an orientation → as `struct` has them


def of_jpeg(data: bytes) -> int:
    """Return the orientation, 1 to 8; 1 if there is none, or if it is damaged."""
    if EXIF not in data and XMP not in data:  # nearly all small images: their segments need not be walked through
        return UPRIGHT
    described = 0
    for segment in _app1_segments(data):
        if segment.startswith(EXIF):
            found = _of_tiff(segment[len(EXIF) + 1 :])
            if found:
                return found
        elif segment.startswith(XMP) and (match := XMP_ORIENTATION.search(segment)):
            described = int(match[1])  # the last of several, as in Pillow
    return described or UPRIGHT


def _app1_segments(data: bytes) -> Iterator[bytes]:
    """Yield the contents of the APP1 segments before the first scan; stray bytes between segments are passed over."""
    position = 2
    for _ in range(MOST_PARTS):
        position = data.find(b"\xff", position)
        if position < 0 or position + 1 >= len(data):
            return
        marker = data[position + 1]
        if marker in {SCAN, END}:
            return
        if marker in {0x00, 0xFF} or marker in WITHOUT_LENGTH:  # stuffing, padding, markers that stand alone
            position += 1 if marker == 0xFF else 2  # noqa: PLR2004  a padding byte may begin a marker
            continue
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        if marker == APP1:
            yield data[position + 4 : position + 2 + length]
        position += 2 + max(length, 2)


def _of_tiff(tiff: bytes) -> int:
    """Return the orientation in the first directory of a TIFF header; 0 if there is none that can be read."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 0
    try:
        (offset,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, offset)
        for entry in range(offset + 2, offset + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(f"{order}HH", tiff, entry)
            if tag == TAG and kind in NUMBERS:
                (value,) = struct.unpack_from(f"{order}{NUMBERS[kind]}", tiff, entry + 8)
                return value if UPRIGHT <= value <= 8 else 0  # noqa: PLR2004  the standard's values
    except struct.error:  # an offset that points outside
        pass
    return 0
