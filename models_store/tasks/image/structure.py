"""Parts of an image file, counted before decoding: each costs the decoder time, however few bytes it has.

Pillow reads chunks, segments, strips and run lengths one by one in Python, and a JPEG decoder passes over all pixels
once for each scan.
"""

import re
import struct
from collections.abc import Callable, Iterator

from models_store.tasks.image import avif_structure, jpeg2000_structure
from models_store.tasks.image.limits import MOST_PARTS
from models_store.wording import counted

MOST_STRAY_BYTES = 1 << 16
"""Largest number of bytes between a JPEG's segments that belong to none of them."""
MOST_RUN_LENGTH_PIXELS = 1 << 23
"""Pixels of a run-length encoded BMP, which is decoded in Python: a screen of 3840 x 2160 fits."""
MOST_ICONS, MOST_ICON_PIXELS = 256, 1 << 20
"""of one ICO; Pillow decodes the largest while it opens the file"""

JPEG_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")  # neither a stuffed zero nor a restart
START, END, SCAN, TEMPORARY = 0xD8, 0xD9, 0xDA, 0x01
GIF_HAS_PALETTE, GIF_EXTENSION, GIF_ENDS = 0x80, 0x21, {0x2C, 0x3B}  # a frame, and the end of the file
RUN_LENGTHS = {1, 2}  # a BMP's `biCompression`
TILES_AND_STRIPS = {273, 324}  # a TIFF's StripOffsets, TileOffsets


def jpeg_scans(data: bytes) -> int:
    """Return how many scans the JPEG has, up to its end mark; never more than MOST_PARTS.

    What lies inside segments (a thumbnail) or behind the end mark (a film, a second picture) does not count.
    """
    if data.count(b"\xff\xda") < 2:  # noqa: PLR2004  nearly every photograph: nothing to walk through
        return 1
    scans = 0
    for number, (_, marker) in enumerate(_jpeg_segments(data)):
        scans += marker == SCAN
        if number == MOST_PARTS:
            return MOST_PARTS
    return scans


def excess(data: bytes, format_: str) -> str | None:
    """Return why opening or decoding the image would take Pillow too long, or fail without an error; or None."""
    looks: dict[str, Callable[[bytes], str | None]] = {
        "JPEG": _jpeg_excess,
        "PNG": _png_excess,
        "GIF": _gif_excess,
        "BMP": _bmp_excess,
        "TIFF": _tiff_excess,
        "ICO": _icon_excess,
        "PCX": _pcx_fault,
        "AVIF": avif_structure.count_excess,
        "JPEG2000": jpeg2000_structure.excess,
    }
    return looks[format_](data) if format_ in looks else None


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield each segment of a JPEG up to its end: the bytes before it that belong to none, and its marker."""
    at = 2
    while found := JPEG_MARKER.search(data, at):
        marker = found[1][0]
        yield found.start() - at, marker
        if marker == END:
            return
        at = found.end()
        if marker not in {START, TEMPORARY}:
            at += int.from_bytes(data[at : at + 2], "big")
    yield len(data) - at, END


def _jpeg_excess(data: bytes) -> str | None:
    """Check the segments before the first scan; the rest is read in C."""
    stray_bytes = 0
    for number, (stray, marker) in enumerate(_jpeg_segments(data)):
        if marker == SCAN:
            break
        stray_bytes += stray
        if stray_bytes > MOST_STRAY_BYTES:
            return f"the JPEG has more than {MOST_STRAY_BYTES} bytes between its segments"
        if number == MOST_PARTS:
            return f"a JPEG of more than {MOST_PARTS} segments is not read"
    return None


def _png_excess(data: bytes) -> str | None:
    at, count = 8, 0
    while at < len(data):
        at += 12 + int.from_bytes(data[at : at + 4], "big")
        count += 1
        if count > MOST_PARTS:
            return f"a PNG of more than {MOST_PARTS} chunks is not read"
    return None


def _gif_excess(data: bytes) -> str | None:
    """Check the blocks before the first frame, which is the one that is read: comments, extensions, stray bytes."""
    at, count = 13, 0
    if len(data) >= at and data[10] & GIF_HAS_PALETTE:
        at += 3 * (2 << (data[10] & 7))
    while at < len(data) and data[at] not in GIF_ENDS and count <= MOST_PARTS:
        count += 1
        if data[at] == GIF_EXTENSION:
            at += 2
            while at < len(data) and data[at] and count <= MOST_PARTS:
                at += 1 + data[at]
                count += 1
        at += 1
    return f"a GIF of more than {MOST_PARTS} blocks before its first frame is not read" if count > MOST_PARTS else None


def _bmp_excess(data: bytes) -> str | None:
    if len(data) < 34 or int.from_bytes(data[30:34], "little") not in RUN_LENGTHS:  # noqa: PLR2004  the field's end
        return None
    width, height = struct.unpack_from("<ll", data, 18)
    pixels = abs(width * height)
    if pixels > MOST_RUN_LENGTH_PIXELS:
        return f"a run-length encoded BMP of {pixels} pixels is not read; at most {MOST_RUN_LENGTH_PIXELS} are allowed"
    if len(data) > 3 * pixels + MOST_PARTS:  # two bytes for a run, and every run is of a pixel at least
        return f"the BMP has {len(data)} bytes of run lengths for {counted(pixels, 'pixel')}"
    return None


def _tiff_excess(data: bytes) -> str | None:
    """Check only the first directory: it describes the image that is read."""
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in {b"+\0", b"\0+"}
    entry = struct.Struct(order + ("HHQ8x" if big else "HHL4x"))
    at = int.from_bytes(data[8:16] if big else data[4:8], "little" if order == "<" else "big")
    size = 8 if big else 2
    entries = int.from_bytes(data[at : at + size], "little" if order == "<" else "big")
    table = data[at + size : at + size + min(entries, MOST_PARTS) * entry.size]
    for tag, _kind, count in entry.iter_unpack(table[: len(table) // entry.size * entry.size]):
        if tag in TILES_AND_STRIPS and count > MOST_PARTS:
            return f"a TIFF of {count} strips or tiles is not read; at most {MOST_PARTS} are allowed"
    return None


def _pcx_fault(data: bytes) -> str | None:
    """Find a PCX that was cut off by its missing palette: without one, its numbers would be read as grey."""
    is_palette = data[1:2] == b"\x05" and data[3:4] == b"\x08" and data[65:66] == b"\x01"
    return "the PCX has no palette at its end: it was cut off" if is_palette and data[-769:-768] != b"\x0c" else None


def _icon_excess(data: bytes) -> str | None:
    """Check each picture's own header, because the directory's sizes don't decide what is decoded."""
    count = int.from_bytes(data[4:6], "little")
    if count > MOST_ICONS:
        return f"an ICO of {count} pictures is not read; at most {MOST_ICONS} are allowed"
    for entry in range(6, 6 + 16 * count, 16):
        at = int.from_bytes(data[entry + 12 : entry + 16], "little")
        if data[at : at + 8] == b"\x89PNG\r\n\x1a\n":
            width, height = (int.from_bytes(data[at + place : at + place + 4], "big") for place in (16, 20))
            fault = _png_excess(data[at:])
        else:
            width, height = (int.from_bytes(data[at + place : at + place + 4], "little") for place in (4, 8))
            fault = None
        if width * height > 2 * MOST_ICON_PIXELS:  # a bitmap's height counts its mask too
            return f"an ICO with a picture of {width} x {height} is not read; at most {MOST_ICON_PIXELS} are allowed"
        if fault is not None:
            return fault
    return None
