"""bytes → RGB, RGBA or grey uint8 at a size: the one implementation that training and serving share.

The same bytes give the same pixels on every call. What is decided here, and why:

- **Formats**: JPEG, PNG, WebP, BMP, GIF and TIFF, by content; the first frame of an animation.
- **Turned upright** by the EXIF orientation, as every viewer does.
- **Transparency** is laid on white, the page that cut-out images are made for. With 4 channels the first three are
  those very pixels, and the fourth says how opaque each was: 255 everywhere for an image without transparency.
- **16-bit grey** is scaled to 8 bits. 32-bit and floating-point images have no agreed white, and are refused.
- **One resampling**, bilinear with antialiasing (Pillow's `resize` widens its filter as it shrinks), straight from the
  source box: `crop` takes the centred square of the short side, `stretch` all of it. It is what pretrained weights were
  made with (torchvision's `Resize` and `CenterCrop`), and half the time of scaling everything and cutting.
- **JPEG** by simplejpeg (libjpeg-turbo), which scales by n/8 while it decodes, never below twice the size; what its
  strict mode refuses (stray bytes between markers, as old cameras write them) and CMYK is Pillow's to decode.
- **What costs far more than its bytes** is refused by its header: too many pixels, scans, chunks, segments or strips.
"""

import functools
import warnings
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Literal

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from models_store import image_structure, orientation
from models_store.errors import Invalid
from models_store.pixel_budget import PixelBudget

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
MOST_JPEG_SCANS = 200
MOST_PASSES = 16
"""A progressive JPEG has about ten scans, and each costs a pass over all pixels, however few bytes it takes: of the
largest image so many are allowed, of a smaller one as many as take no longer, up to MOST_JPEG_SCANS."""
GREY, RGB, RGBA = 1, 3, 4  # channels
MODES: dict[int, Literal["L", "RGB", "RGBA"]] = {GREY: "L", RGB: "RGB", RGBA: "RGBA"}
OPAQUE = 255
GREY_MODES = ("1", "L", "LA", "I;16", "I;16B", "I;16L", "I;16N")
DETAIL = 2
"""A JPEG is decoded at this multiple of the size asked for, or above: nearer, the two scalings blur each other (a mean
difference of 3 grey levels against a full decode; at 2 it is 1). Pillow recommends the same `reducing_gap`."""
EXIF_ORIENTATION = 0x0112
UPRIGHT = {  # EXIF orientation → how a stored array becomes upright: transposed?, rows reversed?, columns reversed?
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}
Box = tuple[float, float, float, float]
Pixels = NDArray[np.uint8]


class UndecodableImage(Invalid):
    """The bytes are no image that is read here, or only a part of one."""

    code = "image_undecodable"
    title = "The image can't be read"


@dataclass(frozen=True)
class ImageFacts:
    """What an image is: size in pixels as it is seen (upright), one of FORMATS, and whether it is stored as grey."""

    width: int
    height: int
    format: str
    grey: bool = False


def decode(
    data: bytes,
    *,
    size: int,
    channels: int,
    fit: Literal["crop", "stretch"],
    max_pixels: int = 64_000_000,
    budget: PixelBudget | None = None,
) -> Pixels:
    """Return the image as uint8 (size, size, channels): grey (ITU-R 601) for 1, RGB for 3, with alpha for 4.

    Raises:
        UndecodableImage: if the bytes are no image, a damaged one, or one of more than `max_pixels`.
        TooManyPixels: if it is more than is left of the `budget`.
    """
    assert channels in {GREY, RGB, RGBA}, channels
    if _is_jpeg(data):
        colours = min(channels, RGB)
        image, turn = _decode_jpeg(
            data, smallest_side=DETAIL * size, channels=colours, max_pixels=max_pixels, budget=budget
        )
    else:
        image, turn, _ = _decode_by_pillow(data, channels=channels, max_pixels=max_pixels, budget=budget)
    pixels = _scaled(image, size=size, fit=fit)
    if pixels.shape[2] < channels:
        pixels = np.concatenate([pixels, np.full((size, size, 1), OPAQUE, np.uint8)], axis=2)
    return np.ascontiguousarray(_upright(pixels, turn))


def decode_whole(data: bytes, *, channels: int, max_pixels: int = 64_000_000) -> Pixels:
    """Return the image as uint8 (height, width, channels) at its own size, upright: for graphs that resize.

    Raises:
        UndecodableImage: as `decode`.
    """
    image, turn, _ = _decode_by_pillow(data, channels=channels, max_pixels=max_pixels, budget=None)
    pixels = np.asarray(image).reshape(image.height, image.width, channels)
    return np.ascontiguousarray(_upright(pixels, turn))


def inspect(data: bytes, *, max_pixels: int = 64_000_000, budget: PixelBudget | None = None) -> ImageFacts:
    """Return what the image is, after decoding all of it: a truncated one is seen here.

    Raises:
        UndecodableImage, TooManyPixels: as `decode`, on the same bytes.
    """
    if _is_jpeg(data):
        width, height = _jpeg_size(data, max_pixels) or _pillow_size(data, max_pixels)
        _, turn = _decode_jpeg(data, smallest_side=1, channels=GREY, max_pixels=max_pixels, budget=budget)
        format_ = "JPEG"
    else:
        image, turn, format_ = _decode_by_pillow(data, channels=RGB, max_pixels=max_pixels, budget=budget)
        width, height = image.size
    if turn in UPRIGHT and UPRIGHT[turn][0]:
        width, height = height, width
    return ImageFacts(width, height, format_, grey=_is_grey(data, max_pixels))


def looks_like_image(head: bytes) -> bool:
    """Tell whether the first bytes of a file (32 are enough) are those of one of FORMATS."""
    return head.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\x00", b"MM\x00*")) or (
        (head[:4] == b"RIFF" and head[8:12] == b"WEBP") or (head[:2] == b"BM" and head[14:18] == b"\x28\x00\x00\x00")
    )


def _is_jpeg(data: bytes) -> bool:
    return data[:3] == b"\xff\xd8\xff"


def _is_grey(data: bytes, max_pixels: int) -> bool:
    if not _is_jpeg(data):
        return _opened(data, max_pixels).mode in GREY_MODES
    try:
        return str(simplejpeg.decode_jpeg_header(data)[2]) == "Gray"
    except ValueError:
        return False


def _box(stored: tuple[int, int], fit: Literal["crop", "stretch"]) -> Box:
    width, height = stored
    if fit == "stretch":
        return (0, 0, width, height)
    side = min(stored)
    left, top = (width - side) / 2, (height - side) / 2
    return (left, top, left + side, top + side)


def _scaled(image: Image.Image, *, size: int, fit: Literal["crop", "stretch"]) -> Pixels:
    if image.mode == "RGBA":  # Pillow would weigh the colours by the alpha, and they lie on white already
        planes = [image.convert("RGB"), image.getchannel("A")]
        return np.concatenate([_scaled(plane, size=size, fit=fit) for plane in planes], axis=2)
    if image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BILINEAR, box=_box(image.size, fit))
    return np.asarray(image).reshape(size, size, -1)


def _upright(pixels: Pixels, turn: int) -> Pixels:
    """Turn the pixels; a centre crop is the same square before and after."""
    if turn not in UPRIGHT:
        return pixels
    transposed, rows, columns = UPRIGHT[turn]
    turned = pixels.transpose(1, 0, 2) if transposed else pixels
    return turned[:: -1 if rows else 1, :: -1 if columns else 1]


def _decode_jpeg(
    data: bytes, *, smallest_side: int, channels: int, max_pixels: int, budget: PixelBudget | None
) -> tuple[Image.Image, int]:
    """Return the image, scaled by n/8 where that leaves both sides at `smallest_side` or more; and its orientation."""
    if (size := _jpeg_size(data, max_pixels)) is not None:
        _spend(budget, size)
        try:
            pixels = simplejpeg.decode_jpeg(
                data,
                "RGB" if channels == RGB else "GRAY",
                min_height=smallest_side,
                min_width=smallest_side,
            )
        except (ValueError, MemoryError):
            budget = None  # it was counted; Pillow tolerates more, and says what is wrong
        else:
            image = Image.fromarray(pixels if channels == RGB else pixels[:, :, 0])
            return image, orientation.of_jpeg(data)
    image, turn, _ = _decode_by_pillow(data, channels=channels, max_pixels=max_pixels, budget=budget)
    return image, turn


def _jpeg_size(data: bytes, max_pixels: int) -> tuple[int, int] | None:
    """Return (width, height) when simplejpeg can decode the image, None when it is Pillow's."""
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    _check_size(width, height, max_pixels)
    _check_scans(image_structure.jpeg_scans(data), width * height, max_pixels)
    return (width, height) if colours in {"YCbCr", "Gray", "RGB"} else None


def _check_scans(scans: int, pixels: int, max_pixels: int) -> None:
    most = min(MOST_JPEG_SCANS, max(1, MOST_PASSES * max_pixels // pixels))
    if scans > most:
        raise UndecodableImage(
            f"the image has more than {most} JPEG scans, the most that are allowed for {pixels} pixels; save it anew"
        )


def _orientation(image: Image.Image, data: bytes) -> int:
    """Return the EXIF orientation of an image that Pillow has opened."""
    if _is_jpeg(data):
        return orientation.of_jpeg(data)
    try:
        value = image.getexif().get(EXIF_ORIENTATION, 1)
    except Exception:  # noqa: BLE001  damaged metadata can fail in any way, and is no reason to lose the image
        return 1
    return value if isinstance(value, int) else 1


def _pillow_size(data: bytes, max_pixels: int) -> tuple[int, int]:
    image = _opened(data, max_pixels)
    return image.size


def _opened(data: bytes, max_pixels: int) -> Image.Image:
    """Return the image with its header read and its size checked, no pixel decoded yet."""
    _quieten_pillow()
    if not data:
        raise UndecodableImage("the image is empty (0 bytes); send the file's bytes")
    if (excess := image_structure.excess(data)) is not None:
        raise UndecodableImage(f"{excess}; save it anew")
    try:
        image = Image.open(BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UndecodableImage(f"the image is too large ({error}); at most {max_pixels} pixels are allowed") from error
    except UnidentifiedImageError as error:
        raise UndecodableImage(_what_it_is_instead(data)) from error
    except Exception as error:  # Pillow's parsers fail on damaged headers in any way
        raise UndecodableImage(f"the image's header is damaged ({_said(error)}); save it anew") from error
    _check_size(*image.size, max_pixels)
    if image.format in {"JPEG", "MPO"}:
        _check_scans(image_structure.jpeg_scans(data), image.width * image.height, max_pixels)
    elif image.info.get("compression") in {"jpeg", "tiff_jpeg"}:
        _check_scans(data.count(b"\xff\xda") // _tiff_parts(image), image.width * image.height, max_pixels)
    return image


def _tiff_parts(image: Any) -> int:  # noqa: ANN401  Pillow's TiffImageFile
    """Return how many strips or tiles a TIFF's image is in."""
    tags = image.tag_v2
    width, height = int(tags.get(322, image.width)), int(tags.get(323, tags.get(278, image.height)))
    return max(1, -(-int(image.width) // max(1, width)) * -(-int(image.height) // max(1, height)))


def _decode_by_pillow(
    data: bytes, *, channels: int, max_pixels: int, budget: PixelBudget | None
) -> tuple[Image.Image, int, str]:
    image = _opened(data, max_pixels)
    _spend(budget, image.size)
    format_ = "JPEG" if image.format == "MPO" else str(image.format)  # MPO: a JPEG with more pictures behind it
    try:
        image.load()
        turn = _orientation(image, data)  # after loading: Pillow turns a TIFF by itself, and takes the tag away
        converted = _converted(image, MODES[channels])
    except UndecodableImage:
        raise
    except Exception as error:  # Pillow's decoders fail on damaged pixels in any way
        raise UndecodableImage(f"the {format_} image is damaged or cut off ({_said(error)}); save it anew") from error
    return converted, turn, format_


def _converted(image: Image.Image, mode: Literal["L", "RGB", "RGBA"]) -> Image.Image:
    alpha: Image.Image | int = OPAQUE
    if image.mode.startswith("I;16"):
        high_bytes = np.asarray(image).astype(np.uint16) >> 8
        image = Image.fromarray(high_bytes.astype(np.uint8))
    elif image.mode in {"I", "F"}:
        kind = "integer" if image.mode == "I" else "floating-point"
        raise UndecodableImage(f"a 32-bit {kind} image has no agreed white; save it with 8 or 16 bits")
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        page = Image.new("RGBA", image.size, "white")
        page.alpha_composite(image)
        alpha, image = image.getchannel("A"), page
    if mode == "RGBA":
        image = image.convert("RGB")
        image.putalpha(alpha)
    return image if image.mode == mode else image.convert("RGB").convert(mode)


def _spend(budget: PixelBudget | None, size: tuple[int, int]) -> None:
    if budget is not None:
        budget.spend(size[0] * size[1])


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width < 1 or height < 1:
        raise UndecodableImage(f"the image is {width} x {height}: it has no pixels")
    if width * height > max_pixels:
        raise UndecodableImage(
            f"the image is {width} x {height}; at most {max_pixels} pixels are allowed: make it smaller"
        )


def _what_it_is_instead(data: bytes) -> str:
    start = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    allowed = ", ".join(FORMATS)
    if start.startswith((b"<!doctype", b"<html", b"<head", b"<body")):
        return f"this is an HTML page, not an image (a download that failed?); allowed are {allowed}"
    if start.startswith((b"<svg", b"<?xml")):
        return f"this is SVG or other XML, not a picture of pixels; export it as one of {allowed}"
    if data[4:8] == b"ftyp":
        return f"this is HEIC, AVIF or a film; convert it to one of {allowed}"
    if data[:4096].isascii() and b"\x00" not in data[:4096]:
        return f"this is text, not an image; allowed are {allowed}"
    return f"this is no image, or its header is damaged; allowed are {allowed}"


def _said(error: BaseException) -> str:
    return str(error)[:200] or type(error).__name__


@functools.cache
def _quieten_pillow() -> None:
    """Pillow warns of odd metadata line by line; who reads the images' names is told what matters."""
    filters: dict[str, Any] = {"action": "ignore", "module": r"PIL(\.|$)"}
    warnings.filterwarnings(**filters)
