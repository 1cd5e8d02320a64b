"""Work of decoding an AVIF, counted before it is decoded: frames, and their sizes, in its AV1 data.

The container only announces a size. Its AV1 data has a size of its own, and may contain any number of frames that are
never shown. After ISO/IEC 14496-12 and 23008-12 (boxes), and the AV1 bitstream specification, sections 5.3 to 5.5.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from models_store.tasks.image.limits import MOST_PARTS
from models_store.wording import counted

MOST_WORK = 16  # pixels decoded for each pixel of the image: alpha, tiles over the edge, layers
FREE_WORK = 1 << 22
LARGEST_FRAME = 1 << 28  # libavif refuses more
CONTAINERS = {
    b"meta": 4,
    b"iprp": 0,
    b"moov": 0,
    b"trak": 0,
    b"mdia": 0,
    b"minf": 0,
    b"stbl": 0,
}  # bytes before the boxes
DEEPEST = 8
SEQUENCE_HEADER, FRAME_HEADER, FRAME = 1, 3, 6


class _Damaged(Exception):
    """A box or a field ends too early."""


@dataclass(frozen=True)
class _Box:
    kind: bytes
    start: int
    end: int


def excess(data: bytes, pixels: int) -> str | None:
    """Return why decoding an AVIF of so many pixels would take too long, or None."""
    try:
        boxes = list(_boxes(data, 0, len(data), depth=0))
        work = 0
        for sample in _samples(data, boxes):
            work += _work(sample)
            if work > MOST_WORK * pixels + FREE_WORK:
                return f"the AVIF holds frames of more than {MOST_WORK} times its {counted(pixels, 'pixel')}"
    except (_Damaged, struct.error, IndexError) as error:
        return f"the AVIF's structure is damaged ({error or 'cut off'})"
    return None


def count_excess(data: bytes) -> str | None:
    """Return why even opening the AVIF would take too long, or None; the number of announced parts decides."""
    try:
        for number, box in enumerate(_boxes(data, 0, len(data), depth=0)):
            if number > MOST_PARTS:
                return f"an AVIF of more than {MOST_PARTS} boxes is not read"
            if box.kind in {b"stsz", b"stts", b"stco", b"co64", b"stsc", b"iloc"} and _count(data, box) > MOST_PARTS:
                return f"an AVIF of more than {MOST_PARTS} frames or parts is not read"
    except (_Damaged, struct.error, IndexError) as error:
        return f"the AVIF's structure is damaged ({error or 'cut off'})"
    return None


def _count(data: bytes, box: _Box) -> int:
    if box.kind == b"iloc":
        return int(_location(data, box)[1])
    at = box.start + (8 if box.kind == b"stsz" else 4)
    return int.from_bytes(data[at : at + 4], "big")


def _boxes(data: bytes, start: int, end: int, *, depth: int) -> Iterator[_Box]:
    at = start
    while at + 8 <= end:
        size, kind, header = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], 8
        if size == 1:
            size, header = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        stop = end if size == 0 else at + size
        if stop < at + header or stop > end:
            if depth == 0 and kind == b"mdat":
                stop = end  # cut off; the decoder says so
            else:
                raise _Damaged(f"box {ascii(kind)[2:-1]} of {counted(size, 'byte')}")
        yield _Box(kind, at + header, stop)
        if kind in CONTAINERS and depth < DEEPEST:
            yield from _boxes(data, at + header + CONTAINERS[kind], stop, depth=depth + 1)
        at = stop


def _samples(data: bytes, boxes: list[_Box]) -> Iterator[bytes]:
    """Yield the data of each item of the file, and of each track's first picture."""
    idat = next((box for box in boxes if box.kind == b"idat"), None)
    for box in boxes:
        if box.kind == b"iloc":
            yield from _items(data, box, idat)
    offsets = [box for box in boxes if box.kind in {b"stco", b"co64"}]
    sizes = [box for box in boxes if box.kind == b"stsz"]
    for chunk, size in zip(offsets, sizes, strict=False):
        width = 4 if chunk.kind == b"stco" else 8
        at = int.from_bytes(data[chunk.start + 8 : chunk.start + 8 + width], "big")
        common, _, first = struct.unpack_from(">LLL", data[size.start + 4 : size.end].ljust(12, b"\0"))
        yield data[at : at + (common or first)]


def _location(data: bytes, box: _Box) -> tuple[int, int, int]:
    """Return the version of an item location box, how many items it has, and where they begin."""
    version = data[box.start]
    at = box.start + 6
    return (
        (version, struct.unpack_from(">H", data, at)[0], at + 2)
        if version < 2  # noqa: PLR2004  a wider count
        else (version, struct.unpack_from(">L", data, at)[0], at + 4)
    )


def _items(data: bytes, box: _Box, idat: _Box | None) -> Iterator[bytes]:
    version, count, at = _location(data, box)
    sizes = int.from_bytes(data[box.start + 4 : box.start + 6], "big")
    offset_size, length_size, base_size = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
    index_size = sizes & 15 if version else 0

    def number(size: int) -> int:
        nonlocal at
        at += size
        if at > box.end:
            raise _Damaged("item locations")
        return int.from_bytes(data[at - size : at], "big")

    parts = 0
    for _ in range(count):
        number(2 if version < 2 else 4)  # noqa: PLR2004  a wider id
        is_inside = bool(version and number(2) & 15)
        number(2)
        base, content = number(base_size), b""
        for _ in range(number(2)):
            number(index_size)
            start, length = base + number(offset_size), number(length_size)
            parts += 1
            if parts > MOST_PARTS:
                raise _Damaged("too many parts")
            if is_inside and idat is not None:
                start += idat.start
            if len(content) < len(data):  # overlapping parts: no more than the file itself
                content += data[start : start + length] if length else data[start:]
        yield content


def _work(sample: bytes) -> int:
    """Return how many pixels a decoder fills for AV1 data; 0 for anything else."""
    at, pixels, work = 0, 0, 0
    for _ in range(MOST_PARTS):
        if at >= len(sample) or sample[at] & 0x80:
            break
        kind, has_extension, has_size = sample[at] >> 3 & 15, sample[at] >> 2 & 1, sample[at] >> 1 & 1
        at += 1 + has_extension
        size, at = _leb128(sample, at) if has_size else (len(sample) - at, at)
        if kind == SEQUENCE_HEADER:
            pixels = max(pixels, _frame_pixels(sample[at : at + size]))
        elif kind in {FRAME_HEADER, FRAME}:
            work += pixels
        at += size
    else:
        return LARGEST_FRAME * MOST_PARTS
    return work


def _leb128(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(8):
        if at >= len(data):
            break
        byte = data[at]
        value |= (byte & 127) << (7 * place)
        at += 1
        if not byte & 128:
            break
    return value, at


class _Bits:
    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data[:1024], "big")
        self._left = 8 * min(len(data), 1024)

    def take(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise _Damaged("an AV1 header")
        return self._value >> self._left & ((1 << count) - 1)


def _frame_pixels(header: bytes) -> int:
    """Return the largest number of pixels of a frame by its sequence header (AV1, 5.5.1)."""
    bits = _Bits(header)
    bits.take(4)  # profile, still picture
    is_reduced = bool(bits.take(1))
    if is_reduced:
        bits.take(5)
    else:
        _skip_operating_points(bits)
    width_bits, height_bits = bits.take(4) + 1, bits.take(4) + 1
    width, height = bits.take(width_bits) + 1, bits.take(height_bits) + 1
    if not is_reduced:  # each frame may have another size, as large as its bits allow
        width, height = 1 << width_bits, 1 << height_bits
    return min(width * height, LARGEST_FRAME)


def _skip_operating_points(bits: _Bits) -> None:
    delay_bits = 0
    if bits.take(1):  # timing
        bits.take(64)
        if bits.take(1):
            zeros = 0
            while not bits.take(1):
                zeros += 1
            bits.take(zeros)
        if bits.take(1):
            delay_bits = bits.take(5) + 1
            bits.take(42)
    has_display_delay = bits.take(1)
    for _ in range(bits.take(5) + 1):
        bits.take(12)
        if bits.take(5) > 7:  # noqa: PLR2004  levels that have tiers
            bits.take(1)
        if delay_bits and bits.take(1):
            bits.take(2 * delay_bits + 1)
        if has_display_delay and bits.take(1):
            bits.take(4)
