"""First directory of a TIFF: the kind of its pixels' values, to name those that are not read.

After TIFF 6.0 and the DNG specification; only values that stand in the entries themselves, or numbers behind them.
"""

import struct

from models_store.tasks.image.limits import MOST_PARTS

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, SAMPLES, ROWS, TILE_WIDTH, TILE_HEIGHT = (
    *(256, 257, 258, 259, 262, 277, 278),
    *(322, 323),
)
SUBFILE, SUB_DIRECTORIES, SAMPLE_FORMAT, DNG_VERSION = 254, 330, 339, 50706
SIZES = {1: "B", 3: "H", 4: "L", 16: "Q", 13: "L", 18: "Q"}  # types of whole numbers → as `struct` has them
MOST_VALUES = 8  # of one entry: a pixel has few samples
CIELAB, ICCLAB, ITULAB, SENSOR, LINEAR_RAW = 8, 9, 10, 32803, 34892
UNSIGNED, SIGNED, FLOATING, COMPLEX = 1, 2, 3, (5, 6)
CANON = b"CR\x02"  # behind the header of a CR2
BITS_READ = (1, 2, 4, 8, 12, 16)


def first_directory(data: bytes) -> dict[int, tuple[int, ...]]:
    """Return tag → whole numbers of the first directory; tags of other types have none."""
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in {b"+\0", b"\0+"}
    word, entry = ("Q", struct.Struct(f"{order}HHQ8s")) if big else ("L", struct.Struct(f"{order}HHL4s"))
    tags: dict[int, tuple[int, ...]] = {}
    try:
        (at,) = struct.unpack_from(order + word, data, 8 if big else 4)
        (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, at)
        at += 8 if big else 2
        for number in range(min(count, MOST_PARTS)):
            tag, kind, length, value = entry.unpack_from(data, at + number * entry.size)
            tags.setdefault(tag, _numbers(data, order, kind, length=length, value=value))
    except struct.error:  # what stands outside of the file; the decoder says so
        pass
    return tags


def _numbers(data: bytes, order: str, kind: int, *, length: int, value: bytes) -> tuple[int, ...]:
    if kind not in SIZES:
        return ()
    layout = struct.Struct(f"{order}{min(length, MOST_VALUES)}{SIZES[kind]}")
    if layout.size <= len(value) and length <= MOST_VALUES:
        return layout.unpack_from(value)
    (at,) = struct.unpack(order + ("L" if len(value) == 4 else "Q"), value)  # noqa: PLR2004  an offset's bytes
    return layout.unpack_from(data, at) if at + layout.size <= len(data) else ()


def is_white_at_zero(data: bytes) -> bool:
    """Return whether 0 is white and the largest value black, as in many X-ray images."""
    return first_directory(data).get(PHOTOMETRIC) == (0,)


def not_read(data: bytes) -> str | None:
    """Return the kind of a TIFF's pixels if they can't be read, else None."""
    tags = first_directory(data)
    bits, photometric = tags.get(BITS) or (1,), (tags.get(PHOTOMETRIC) or (1,))[0]
    sample_format = (tags.get(SAMPLE_FORMAT) or (UNSIGNED,))[0]
    width = bits[0]
    no_white = "which have no agreed white; save it with 8 or 16 bits, unsigned"
    kinds = (
        (data[8:11] == CANON, "a camera's raw file (CR2), of which only the preview could be read; save it as JPEG"),
        (DNG_VERSION in tags or photometric in {SENSOR, LINEAR_RAW}, "a camera's raw file (DNG); save it as JPEG"),
        (
            bool((tags.get(SUBFILE) or (0,))[0] & 1) and SUB_DIRECTORIES in tags,
            "a camera's raw file (NEF or the like), of which only the preview could be read; save it as JPEG",
        ),
        (photometric in {CIELAB, ICCLAB, ITULAB}, "a TIFF in CIELAB colours; save it as RGB"),
        (sample_format in COMPLEX, f"a TIFF of complex numbers of {width} bits, {no_white}"),
        (sample_format == FLOATING, f"a TIFF of {width}-bit floating-point numbers, {no_white}"),
        (sample_format == SIGNED, f"a TIFF of signed {width}-bit integers, {no_white}"),
        (width > 16, f"a TIFF of {width}-bit integers, {no_white}"),  # noqa: PLR2004  bits
        (
            width not in BITS_READ or (width == 12 and len(bits) > 1),  # noqa: PLR2004  bits
            f"a TIFF of {width} bits for each value; save it with 8 or 16 bits",
        ),
    )
    return next((name for holds, name in kinds if holds), None)
