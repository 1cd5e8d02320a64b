"""Image files that no library here writes: TIFFs of any kind of number, Netpbm files, hostile AVIFs."""

import io
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def a_picture(width: int = 40, height: int = 30) -> Image.Image:
    """Return a colour picture that is not the same any way it is turned."""
    rows, columns = np.mgrid[:height, :width]
    colours = [rows * 255 // height, columns * 255 // width, (rows * columns) % 256]
    return Image.fromarray(np.stack(colours, axis=2).astype(np.uint8))


def encoded(image: Image.Image, format_: str, **how: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, **how)
    return buffer.getvalue()


def a_tiff(
    values: NDArray[Any] | bytes = bytes(64), *, bits: int = 8, kind: int = 1, photometric: int = 1, **tags: int
) -> bytes:
    """Return an uncompressed grey TIFF of 4 x 4 pixels; `kind` is its SampleFormat, `tags` more entries as t330=1."""
    pixels = values if isinstance(values, bytes) else values.tobytes()
    entries = {256: 4, 257: 4, 258: bits, 259: 1, 262: photometric, 273: 0, 277: 1, 278: 4, 279: len(pixels), 339: kind}
    entries |= {int(name[1:]): value for name, value in tags.items()}
    entries[273] = 8 + 2 + 12 * len(entries) + 4
    directory = b"".join(struct.pack("<HHLL", tag, 4, 1, value) for tag, value in sorted(entries.items()))
    return b"II*\x00" + struct.pack("<LH", 8, len(entries)) + directory + bytes(4) + pixels


def a_pgm(values: NDArray[Any], largest: int) -> bytes:
    """Return a binary PGM of the values (H, W)."""
    height, width = values.shape
    kind = "u1" if largest < 256 else ">u2"
    return b"P5\n%d %d\n%d\n" % (width, height, largest) + values.astype(kind).tobytes()
