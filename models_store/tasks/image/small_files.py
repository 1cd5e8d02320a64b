"""Small image files, recognised by their heads: decoding one surely takes a fraction of a millisecond.

A few bytes of another format, or of a JPEG or PNG with a large head, may be a huge image.
"""

import simplejpeg

from models_store.errors import EspalierError
from models_store.tasks.file_examples import bytes_of
from models_store.tasks.image import structure

MOST_BYTES = 8192
MOST_PIXELS = 128 * 128
"""Files of so many bytes and pixels take about 0.1 ms, and a few at the worst."""
JPEG = b"\xff\xd8\xff"
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"


def is_small(given: bytes | str) -> bool:
    """Return whether a file, or base64 of one, is a small JPEG or PNG."""
    if len(given) > MOST_BYTES:
        return False
    try:
        return 0 < _pixels(bytes_of(given, example="image", known="", max_bytes=MOST_BYTES)) <= MOST_PIXELS
    except (EspalierError, ValueError):
        return False


def _pixels(data: bytes) -> int:
    """Return the pixels of a JPEG, once for each scan, or of a PNG, by their heads; 0 for anything else."""
    if data.startswith(JPEG):
        height, width, *_ = simplejpeg.decode_jpeg_header(data)
        return int(height) * int(width) * structure.jpeg_scans(data)
    if data.startswith(PNG):
        at = len(PNG)
        return int.from_bytes(data[at : at + 4]) * int.from_bytes(data[at + 4 : at + 8])
    return 0
