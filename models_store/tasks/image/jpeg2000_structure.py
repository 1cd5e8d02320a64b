"""Parts of a JPEG 2000 image, counted before decoding: OpenJPEG reserves memory for each, however few bytes it has.

After ITU-T T.800, annexes A (codestream) and I (JP2 file).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

MOST_PIXELS = 1 << 24  # each channel is kept as 32-bit numbers, twice
MOST_TILES = 4096
MOST_TILE_PARTS = 1 << 14
SMALLEST_BLOCK = 4  # its side is 2 to the power of it
MOST_CHANNELS = 4
START, SIZE, CODING, COMPONENT_CODING, TILE_PART, DATA, END = 0xFF4F, 0xFF51, 0xFF52, 0xFF53, 0xFF90, 0xFF93, 0xFFD9
HAS_PRECINCTS = 1


@dataclass(frozen=True)
class Codestream:
    """Size in pixels, channels, and bits of the deepest one, of the pixels themselves."""

    width: int
    height: int
    channels: int
    bits: int


def codestream_of(data: bytes) -> Codestream | None:
    """Return the content of the pixels' own header; None if there is none."""
    at = _codestream_at(data)
    if at is None or data[at + 2 : at + 4] != b"\xff\x51":
        return None
    try:
        x1, y1, x0, y0 = struct.unpack_from(">4L", data, at + 8)
        (channels,) = struct.unpack_from(">H", data, at + 40)
    except struct.error:
        return None
    depths = data[at + 42 : at + 42 + 3 * min(channels, MOST_CHANNELS) : 3]
    return Codestream(x1 - x0, y1 - y0, channels, max(((depth & 127) + 1 for depth in depths), default=0))


def excess(data: bytes) -> str | None:
    """Return why the image would take too much time or memory, or None."""
    try:
        return next(_faults(data), None)
    except (struct.error, IndexError):
        return "the JPEG 2000 image's header is cut off"


def _faults(data: bytes) -> Iterator[str]:
    found, at = codestream_of(data), _codestream_at(data)
    if found is None or at is None:
        yield "the JPEG 2000 file holds no image that can be read"
        return
    pixels = found.width * found.height
    if pixels > MOST_PIXELS:
        yield f"a JPEG 2000 image of {pixels} pixels is not read; at most {MOST_PIXELS} are allowed"
    if not 1 <= found.channels <= MOST_CHANNELS:
        yield f"a JPEG 2000 image of {found.channels} channels is not read; at most {MOST_CHANNELS} are allowed"
    x1, y1, _, _, tile_width, tile_height, tile_x, tile_y = struct.unpack_from(">8L", data, at + 8)
    tiles = -(-(x1 - tile_x) // max(1, tile_width)) * -(-(y1 - tile_y) // max(1, tile_height))
    if tiles > MOST_TILES:
        yield f"a JPEG 2000 image of {tiles} tiles is not read; at most {MOST_TILES} are allowed"
    for number, (marker, segment) in enumerate(_segments(data, at)):
        # what stands before the levels: of all channels the style, progression, layers and colours; of one its number
        where = {CODING: (0, 5), COMPONENT_CODING: (1, 2)}.get(marker)
        if where is not None and _is_fine(segment, at=where[1], has_precincts=segment[where[0]] & HAS_PRECINCTS):
            yield "the JPEG 2000 image is cut into smaller blocks than 16 x 16"
        if number > MOST_TILE_PARTS:
            yield f"a JPEG 2000 image of more than {MOST_TILE_PARTS} parts is not read"


def _is_fine(segment: bytes, *, at: int, has_precincts: int) -> bool:
    """Return whether code blocks or precincts (behind the levels, at `at`) have sides below 16."""
    blocks = segment[at + 1 : at + 3]
    precincts = segment[at + 5 : at + 6 + segment[at]] if has_precincts else b""
    small = any((size & 15) + 2 < SMALLEST_BLOCK for size in blocks)
    return small or any(min(size & 15, size >> 4) < SMALLEST_BLOCK for size in precincts[1:])


def _codestream_at(data: bytes) -> int | None:
    if data[:2] == b"\xff\x4f":
        return 0
    at = 0
    for _ in range(MOST_TILE_PARTS):
        size, header = int.from_bytes(data[at : at + 4], "big"), 8
        if size == 1:
            size, header = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        if data[at + 4 : at + 8] == b"jp2c":
            return at + header
        if size < header or at + size >= len(data):
            return None
        at += size
    return None


def _segments(data: bytes, start: int) -> Iterator[tuple[int, bytes]]:
    """Yield marker and content of each segment of the main header and of the headers of all tile parts."""
    at, part_at, part_length = start + 2, 0, 0
    while at + 4 <= len(data):
        marker, length = struct.unpack_from(">HH", data, at)
        if marker == END:
            return
        if marker == DATA:
            if not part_length:
                return  # the last part goes on to the end
            at = part_at + part_length
            continue
        if marker == TILE_PART:
            part_at, part_length = at, struct.unpack_from(">L", data, at + 6)[0]
            if part_length and part_length < 14:  # noqa: PLR2004  shorter than its own header
                return
        yield marker, data[at + 4 : at + 2 + length]
        at += 2 + max(length, 2)
