"""Decoding of image files: bytes → values of 8 bits, with limits on the cost of decoding.

An image that costs far more than its bytes suggest is refused by its header: too many pixels, scans, chunks, segments,
strips or frames.
"""

import functools
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import AvifImagePlugin, Image, UnidentifiedImageError

from models_store.errors import Invalid
from models_store.tasks.image import (
    avif_structure,
    decoder_noise,
    jpeg2000_structure,
    netpbm,
    orientation,
    structure,
    tiff_tags,
)
from models_store.tasks.image.formats import format_of, what_it_is
from models_store.tasks.image.pixel_budget import PixelBudget
from models_store.wording import counted

MOST_JPEG_SCANS = 200
MOST_PASSES = 16
"""A progressive JPEG has about ten scans, and each costs a pass over all pixels, however few bytes it takes. The largest image may have this number of scans; a smaller one may have as many as take no longer, up to MOST_JPEG_SCANS."""
MOST_SLOW_PIXELS = 1 << 22
"""Pixels of an image that Pillow decodes in Python, a microsecond each."""
DECODED_IN_PYTHON = {"QOI", "DDS"}
OFTEN_WITHOUT_ALPHA = {"TGA", "BMP", "ICO", "DDS"}
"""Formats whose fourth channel many programs leave at 0 everywhere: it is then ignored, as in browsers."""
TGA_DESCRIPTOR_AT, ALPHA_BITS = 17, 0x0F
SUN_DEPTH_AT = 15
GREY_MODES = ("1", "L", "LA", "I;16", "I;16B", "I;16L", "I;16N")
LARGEST_VALUE = 65535
TWELVE_BITS = 4095
OPAQUE = 255
EXIF_ORIENTATION = 0x0112
PNG_DEPTH_AT, SGI_DEPTH_AT = 24, 3


class UndecodableImage(Invalid):
    """The bytes are not an image that can be read, or only a part of one."""

    code = "image_undecodable"
    title = "The image can't be read"


@dataclass(frozen=True)
class Decoded:
    """An image as it is stored: 8 bits for each value, and its orientation (EXIF).

    `peak` is the largest value of an image with 16 bits, unless the file defines its white; for colour, it is known
    only to the upper 8 bits.
    """

    image: Image.Image
    format: str
    turn: int
    is_grey: bool
    peak: int | None = None


def decode_file(
    data: bytes, *, max_pixels: int, budget: PixelBudget | None = None, white_level: int | None = None
) -> Decoded:
    """Return the image; `white_level` is the value that is white where values have 16 bits, null 65535.

    Raises:
        UndecodableImage: if the bytes are no image that is read, a damaged one, or one of more than `max_pixels`.
        TooManyPixels: if it has more pixels than the rest of the `budget`.
    """
    if format_of(data) == "PNM":
        return _decode_netpbm(data, max_pixels=max_pixels, budget=budget, white_level=white_level)
    image = opened(data, max_pixels)
    spend(budget, image.size)
    format_ = "JPEG" if image.format == "MPO" else str(image.format)  # MPO: a JPEG with more pictures behind it
    try:
        image.load()
        image = _opaque_without_alpha(image, data)
        turn = _orientation(image, data)  # after loading: Pillow turns a TIFF by itself, and takes the tag away
        is_grey = image.mode in GREY_MODES
        eight_bits, peak = _to_8_bits(image, data, white_level)
    except UndecodableImage:
        raise
    except Exception as error:  # Pillow's decoders fail on damaged pixels in any way
        raise _cut_off(format_, error) from error
    return Decoded(eight_bits, format_, turn, is_grey, peak)


def opened(data: bytes, max_pixels: int) -> Image.Image:
    """Return the image with its header read and its size checked, no pixel decoded yet.

    Raises:
        UndecodableImage: as `decode_file`.
    """
    _prepare_pillow()
    if not data:
        raise UndecodableImage("the image is empty (0 bytes); send the file's bytes")
    if (format_ := format_of(data)) is None:
        raise UndecodableImage(what_it_is(data))
    if format_ == "TIFF" and (kind := tiff_tags.not_read(data)) is not None:
        raise UndecodableImage(f"this is {kind}")
    if (excess := structure.excess(data, format_)) is not None:
        raise UndecodableImage(f"{excess}; save it again")
    try:
        image = Image.open(BytesIO(data), formats=[format_])
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UndecodableImage(f"the image is too large ({error}); at most {max_pixels} pixels are allowed") from error
    except UnidentifiedImageError as error:
        raise UndecodableImage(f"the {format_} image's header is damaged, or is of a kind that is not read") from error
    except Exception as error:  # Pillow's parsers fail on damaged headers in any way
        raise UndecodableImage(f"the {format_} image's header is damaged ({_said(error)}); save it again") from error
    check_size(*image.size, max_pixels)
    _check_work(image, data, max_pixels)
    return image


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Refuse an image without pixels, or with too many.

    Raises:
        UndecodableImage: if it is one.
    """
    if width < 1 or height < 1:
        raise UndecodableImage(f"the image is {width} x {height}: it has no pixels")
    if width * height > max_pixels:
        raise UndecodableImage(
            f"the image is {width} x {height}; at most {counted(max_pixels, 'pixel is', 'pixels are')} allowed: make it smaller"
        )


def check_scans(scans: int, pixels: int, max_pixels: int) -> None:
    """Refuse a JPEG whose scans would take too long.

    Raises:
        UndecodableImage: if it is one.
    """
    most = min(MOST_JPEG_SCANS, max(1, MOST_PASSES * max_pixels // pixels))
    if scans > most:
        raise UndecodableImage(
            f"the image has more than {most} JPEG scans, the most that are allowed for {counted(pixels, 'pixel')}; "
            "save it again"
        )


def spend(budget: PixelBudget | None, size: tuple[int, int]) -> None:
    """Count an image that is about to be decoded.

    Raises:
        TooManyPixels: if it has more pixels than the rest of the `budget`.
    """
    if budget is not None:
        budget.spend(size[0] * size[1])


def _check_work(image: Image.Image, data: bytes, max_pixels: int) -> None:
    """Refuse an image that takes longer to decode than its pixels suggest."""
    pixels = image.width * image.height
    if image.format in {"JPEG", "MPO"}:
        check_scans(structure.jpeg_scans(data), pixels, max_pixels)
    elif image.info.get("compression") in {"jpeg", "tiff_jpeg"}:
        check_scans(data.count(b"\xff\xda") // _tiff_parts(image), pixels, max_pixels)
    elif image.format in DECODED_IN_PYTHON and pixels > MOST_SLOW_PIXELS:
        raise UndecodableImage(
            f"a {image.format} image of {pixels} pixels is not read; at most {MOST_SLOW_PIXELS} are; save it as PNG"
        )
    elif image.format == "SUN" and data[SUN_DEPTH_AT] == 32:  # noqa: PLR2004  bits
        raise UndecodableImage(
            "a Sun raster of 32 bits is not read: programs disagree on the order of its colours; save it with 24 bits"
        )
    elif image.format == "AVIF" and (excess := avif_structure.excess(data, pixels)) is not None:
        raise UndecodableImage(f"{excess}; save it again")
    elif image.format == "JPEG2000":
        inner = jpeg2000_structure.codestream_of(data)
        if inner is None or (inner.width, inner.height) != image.size:
            raise UndecodableImage("the JPEG 2000 file gives two sizes for its image; save it again")


def _tiff_parts(image: Any) -> int:  # noqa: ANN401  Pillow's TiffImageFile
    """Return the number of strips or tiles of a TIFF's image."""
    tags = image.tag_v2
    width, height = int(tags.get(322, image.width)), int(tags.get(323, tags.get(278, image.height)))
    return max(1, -(-int(image.width) // max(1, width)) * -(-int(image.height) // max(1, height)))


def _opaque_without_alpha(image: Image.Image, data: bytes) -> Image.Image:
    """Return the image without a fourth channel that is no alpha, by the header of a TGA or because all of it is 0."""
    if image.format not in OFTEN_WITHOUT_ALPHA or not image.has_transparency_data:
        return image
    shown = image if "A" in image.getbands() else image.convert("RGBA")
    is_meant = image.format != "TGA" or data[TGA_DESCRIPTOR_AT] & ALPHA_BITS
    if is_meant and shown.getchannel("A").getbbox() is not None:
        return image
    opaque = shown.convert(shown.mode.removesuffix("A"))
    opaque.format = image.format
    return opaque


def _orientation(image: Image.Image, data: bytes) -> int:
    """Return the EXIF orientation of an image that Pillow has opened."""
    if image.format in {"JPEG", "MPO"}:
        return orientation.of_jpeg(data)
    try:
        value = image.getexif().get(EXIF_ORIENTATION, 1)
    except Exception:  # noqa: BLE001  damaged metadata can fail in any way, and is no reason to lose the image
        return 1
    return value if isinstance(value, int) else 1


def _decode_netpbm(data: bytes, *, max_pixels: int, budget: PixelBudget | None, white_level: int | None) -> Decoded:
    try:
        header = netpbm.header_of(data)
        check_size(header.width, header.height, max_pixels)
        spend(budget, (header.width, header.height))
        values = netpbm.pixels_of(data, header)
    except netpbm.NetpbmDamaged as error:
        raise _cut_off("PNM", error) from error
    peak = None
    if values.dtype == np.uint16:
        is_declared = header.largest != LARGEST_VALUE
        colours = header.channels - (header.channels + 1) % 2  # of two or four channels the last is alpha
        peak = None if is_declared else int(values[:, :, :colours].max())
        deep = values.astype(np.uint16)
        shown = _scaled(deep[:, :, :colours], header.largest if is_declared else white_level)
        values = np.concatenate([shown, _scaled(deep[:, :, colours:], header.largest)], axis=2)
    pixels = values[:, :, 0] if header.channels == 1 else values
    return Decoded(Image.fromarray(pixels), "PNM", 1, header.channels < 3, peak)  # noqa: PLR2004  with alpha


def _to_8_bits(image: Image.Image, data: bytes, white_level: int | None) -> tuple[Image.Image, int | None]:
    """Return the image with 8 bits for each value, and the largest value of 16 bits."""
    if image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.uint16)
        reported = _declared_white(image, data)
        shown = _scaled(values, white_level if reported is None else reported)
        if image.format == "TIFF" and tiff_tags.is_white_at_zero(data):
            shown = 255 - shown
        return Image.fromarray(shown), int(values.max()) if reported is None else None
    if image.mode in {"I", "F"}:
        kind = "integer" if image.mode == "I" else "floating-point"
        raise UndecodableImage(f"a 32-bit {kind} image has no agreed white; save it with 8 or 16 bits")
    if not _is_deep_colour(image, data):
        return image, None
    colours = [band for band in image.getbands() if band != "A"]
    highest = max(int(np.asarray(image.getchannel(band)).max()) for band in colours)
    if white_level is not None:
        table = np.clip(np.round((np.arange(256) * 256 + 128) * 255 / white_level), 0, 255).astype(int).tolist()
        image = image.point(
            [*(table * len(colours)), *(list(range(256)) if len(image.getbands()) > len(colours) else [])]
        )
    return image, 256 * highest + 255


def _declared_white(image: Image.Image, data: bytes) -> int | None:
    """Return the white of 16-bit grey that the file itself defines."""
    if image.format == "TIFF" and (tiff_tags.first_directory(data).get(tiff_tags.BITS) or (1,))[0] == 12:  # noqa: PLR2004  bits
        return TWELVE_BITS
    if image.format == "JPEG2000":  # OpenJPEG has scaled fewer bits to 16
        found = jpeg2000_structure.codestream_of(data)
        return LARGEST_VALUE if found is not None and found.bits < 16 else None  # noqa: PLR2004  bits
    return None


def _is_deep_colour(image: Image.Image, data: bytes) -> bool:
    """Return whether the colours have 16 bits, of which Pillow keeps the upper 8."""
    if image.format == "PNG":
        return data[PNG_DEPTH_AT] == 16  # noqa: PLR2004  bits
    if image.format == "TIFF":
        return (tiff_tags.first_directory(data).get(tiff_tags.BITS) or (1,))[0] == 16  # noqa: PLR2004  bits
    return image.format == "SGI" and data[SGI_DEPTH_AT] == 2  # noqa: PLR2004  bytes


def _scaled(values: NDArray[np.uint16], white: int | None) -> NDArray[np.uint8]:
    if white is None or white == LARGEST_VALUE:
        return (values >> 8).astype(np.uint8)
    whole = values.astype(np.uint32)
    whole *= 255  # in place: of the largest image each copy takes 256 MB
    whole += white // 2
    whole //= white
    return np.minimum(whole, 255, out=whole).astype(np.uint8)


def _cut_off(format_: str, error: Exception) -> UndecodableImage:
    return UndecodableImage(f"the {format_} image is damaged or cut off ({_said(error)}); save it again")


def _said(error: BaseException) -> str:
    return str(error)[:200] or type(error).__name__


@functools.cache
def _prepare_pillow() -> None:
    decoder_noise.silence()
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # images are decoded in threads of ours
