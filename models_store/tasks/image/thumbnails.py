"""Thumbnails: small JPEGs of images in their own proportions, for lists."""

from io import BytesIO

from PIL import Image

from models_store.tasks.image import codec

QUALITY = 88


def thumbnail(
    data: bytes, *, width: int, height: int, longest_side: int, max_pixels: int, white_level: int | None = None
) -> bytes:
    """Return a JPEG with no side above `longest_side`; `width` and `height` are the image's own, upright.

    A smaller image keeps its size. `white_level` as in `codec.decode`. Transparency is laid on white.

    Raises:
        UndecodableImage: if it can't be decoded.
    """
    longest = min(longest_side, max(width, height))
    square = codec.decode(
        data, size=longest, channels=codec.RGB, fit="stretch", max_pixels=max_pixels, white_level=white_level
    )
    size = (max(1, round(longest * width / max(width, height))), max(1, round(longest * height / max(width, height))))
    image = Image.fromarray(square)
    made = BytesIO()
    (image if image.size == size else image.resize(size, Image.Resampling.BILINEAR)).save(made, "JPEG", quality=QUALITY)
    return made.getvalue()
