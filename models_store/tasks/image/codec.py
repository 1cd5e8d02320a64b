"""Codec of images: bytes → RGB, RGBA or grey uint8 at a size, in one implementation for training and serving.

The same bytes give the same pixels on every call. The decisions, with reasons:

- **Formats** are recognised by content, see `formats`; of an animation, the first frame is read.
- **Turned upright** by the EXIF orientation, as every viewer does.
- **Transparency** is blended onto white, the background for which cut-out images are usually made. With 4 channels, the
  first three are these pixels, and the fourth is the opacity: 255 everywhere for an image without transparency. In TGA,
  BMP, ICO and DDS, a fourth channel that is 0 everywhere is ignored.
- **16 bits** are scaled to 8, by the white of the file or `white_level`. 32-bit and floating-point images have no
  agreed white, and are refused.
- **One resampling**, bilinear with antialiasing (Pillow's `resize` widens its filter as it shrinks), straight from the
  source box: `crop` takes the centred square of the short side, `stretch` all of it. Pretrained weights were trained
  with the same steps (torchvision's `Resize` and `CenterCrop`), and this takes half the time of scaling everything and
  cropping.
- **JPEG** by simplejpeg (libjpeg-turbo), which scales by n/8 while it decodes, never below twice the size; Pillow
  decodes CMYK, and files that its strict mode refuses (stray bytes between markers, as written by old cameras).
- **Images that cost far more than their bytes suggest** are refused by their header, see `image_files`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import simplejpeg
from PIL import Image

from models_store.settings import Settings
from models_store.tasks.codec import Batch, Codec, Inputs, Tensor
from models_store.tasks.explanation import SelfExplaining
from models_store.tasks.file_examples import bytes_of
from models_store.tasks.image import orientation, small_files, structure
from models_store.tasks.image.batches import ImageBatch, Pixels
from models_store.tasks.image.formats import FORMATS
from models_store.tasks.image.image_files import (
    EXIF_ORIENTATION,
    OPAQUE,
    UndecodableImage,
    check_scans,
    check_size,
    decode_file,
    opened,
    spend,
)
from models_store.tasks.image.occlusion import ImageOcclusion
from models_store.tasks.image.pixel_budget import PixelBudget

__all__ = [
    "EXIF_ORIENTATION",
    "FORMATS",
    "GREY",
    "RGB",
    "RGBA",
    "ImageCodec",
    "ImageFacts",
    "UndecodableImage",
    "decode",
    "decode_whole",
    "inspect",
]

GREY, RGB, RGBA = 1, 3, 4  # channels
MODES: dict[int, Literal["L", "RGB", "RGBA"]] = {GREY: "L", RGB: "RGB", RGBA: "RGBA"}
DETAIL = 2
"""A JPEG is decoded at this multiple of the needed size, or larger: below it, the two scalings blur each other (a mean
difference of 3 grey levels against a full decode; at 2 it is 1). Pillow recommends the same `reducing_gap`."""
UPRIGHT = {  # EXIF orientation → how a stored array becomes upright: transposed?, rows reversed?, columns reversed?
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}
MOST_BATCH_PIXELS = 32 * 224 * 224
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class ImageCodec(Codec[Pixels]):
    """Images of one size for a net: what `decode` makes of a file, under the limits of this host."""

    size: int
    channels: int
    fit: Literal["crop", "stretch"]
    white_level: int | None
    max_bytes: int
    max_pixels: int
    max_request_pixels: int

    @classmethod
    def of(cls, given: Mapping[str, Any], settings: Settings) -> Self:
        """Return the codec of a resolved spec's `input`, as a model's card keeps it; older cards have no white level."""
        return cls(
            size=given["size"],
            channels=given["channels"],
            fit=given["fit"],
            white_level=given.get("white_level"),
            max_bytes=settings.image_max_bytes,
            max_pixels=settings.image_max_pixels,
            max_request_pixels=settings.predict_max_pixels,
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return the shape of one decoded image, (H, W, C)."""
        return self.size, self.size, self.channels

    @property
    def most_per_batch(self) -> int:
        """32 images at 224 pixels, and as many pixels of other sizes."""
        return max(1, MOST_BATCH_PIXELS // (self.size * self.size))

    def describe(self) -> tuple[Tensor, ...]:
        """Return the one input: uint8 (H, W, C)."""
        return (Tensor("images", "uint8", self.shape),)

    def budget(self) -> PixelBudget:
        """Return how many pixels the images of one request may have together."""
        return PixelBudget(self.max_request_pixels)

    def decode(self, given: bytes | str, *, budget: PixelBudget | None = None) -> Pixels:
        """Return an image, a file's bytes or base64 text, as uint8 (H, W, C).

        Raises:
            BadExample: if it is no base64, empty, or has too many bytes.
            UndecodableImage, TooManyPixels: as the function `decode`.
        """
        return decode(
            bytes_of(given, example="image", known="JPEG, PNG, …", max_bytes=self.max_bytes),
            size=self.size,
            channels=self.channels,
            fit=self.fit,
            white_level=self.white_level,
            max_pixels=self.max_pixels,
            budget=budget,
        )

    def decodes_quickly(self, given: bytes | str) -> bool:
        """Return whether it is a small JPEG or PNG, see `small_files`."""
        return small_files.is_small(given)

    def collate(self, examples: Sequence[Pixels]) -> Inputs:
        """Return the images as uint8 (B, H, W, C); a lone one is not copied."""
        return {"images": examples[0][None] if len(examples) == 1 else np.stack(examples)}

    def occlusion(self, given: Any, example: Pixels) -> ImageOcclusion:  # noqa: ANN401, ARG002  a file's bytes or base64 text
        """Return the image with windows of it hidden."""
        return ImageOcclusion(example)

    def self_explaining(self, path: Path) -> SelfExplaining[Pixels] | None:
        """Return the file with class activation maps, where its net has them."""
        from models_store.tasks.image import class_activation  # noqa: PLC0415  onnx is for explanations alone

        return class_activation.explaining(path)

    def batch(self, most: int) -> Batch[Pixels]:
        """Return a batch that copies each image at once, so that its memory serves the next one too."""
        return Batch(self.collate) if most == 1 else ImageBatch(np.empty((most, *self.shape), np.uint8))


@dataclass(frozen=True)
class ImageFacts:
    """Facts of an image: size in pixels (upright), one of FORMATS, and whether it is stored as grey.

    `peak` is the largest value of an image with 16 bits, see `image_files.Decoded`.
    """

    width: int
    height: int
    format: str
    grey: bool = False
    peak: int | None = None


def decode(
    data: bytes,
    *,
    size: int,
    channels: int,
    fit: Literal["crop", "stretch"],
    white_level: int | None = None,
    max_pixels: int = 64_000_000,
    budget: PixelBudget | None = None,
) -> Pixels:
    """Return the image as uint8 (size, size, channels): grey (ITU-R 601) for 1, RGB for 3, with alpha for 4.

    `white_level` is the value that is white if values have 16 bits; null is 65535.

    Raises:
        UndecodableImage: if the bytes are no image, or a damaged one, or one with more than `max_pixels`.
        TooManyPixels: if it has more pixels than the rest of the `budget`.
    """
    assert channels in {GREY, RGB, RGBA}, channels
    image: Image.Image | Pixels
    if _is_jpeg(data):
        colours = min(channels, RGB)
        image, turn = _decode_jpeg(
            data, smallest_side=DETAIL * size, channels=colours, max_pixels=max_pixels, budget=budget
        )
    else:
        image, turn = _decode_other(
            data, channels=channels, white_level=white_level, max_pixels=max_pixels, budget=budget
        )
    pixels = _scaled(image, size=size, fit=fit)
    if pixels.shape[2] < channels:
        pixels = np.concatenate([pixels, np.full((size, size, 1), OPAQUE, np.uint8)], axis=2)
    return np.ascontiguousarray(_upright(pixels, turn))


def decode_whole(data: bytes, *, channels: int, white_level: int | None = None, max_pixels: int = 64_000_000) -> Pixels:
    """Return the image as uint8 (height, width, channels) at its own size, upright: for graphs that resize.

    Raises:
        UndecodableImage: as `decode`.
    """
    image, turn = _decode_other(data, channels=channels, white_level=white_level, max_pixels=max_pixels, budget=None)
    pixels = np.asarray(image).reshape(image.height, image.width, channels)
    return np.ascontiguousarray(_upright(pixels, turn))


def inspect(data: bytes, *, max_pixels: int = 64_000_000, budget: PixelBudget | None = None) -> ImageFacts:
    """Return the facts of the image after decoding all of it, so that a truncated one is found.

    Raises:
        UndecodableImage, TooManyPixels: as `decode`, on the same bytes.
    """
    if _is_jpeg(data):
        width, height = _jpeg_size(data, max_pixels) or opened(data, max_pixels).size
        _, turn = _decode_jpeg(data, smallest_side=1, channels=GREY, max_pixels=max_pixels, budget=budget)
        format_, grey, peak = "JPEG", _is_grey_jpeg(data), None
    else:
        found = decode_file(data, max_pixels=max_pixels, budget=budget)
        _converted(found.image, "RGB")
        width, height = found.image.size
        turn, format_, grey, peak = found.turn, found.format, found.is_grey, found.peak
    if turn in UPRIGHT and UPRIGHT[turn][0]:
        width, height = height, width
    return ImageFacts(width, height, format_, grey=grey, peak=peak)


def _is_jpeg(data: bytes) -> bool:
    return data[:3] == b"\xff\xd8\xff"


def _is_grey_jpeg(data: bytes) -> bool:
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


def _scaled(image: Image.Image | Pixels, *, size: int, fit: Literal["crop", "stretch"]) -> Pixels:
    if isinstance(image, np.ndarray):
        if image.shape[:2] == (size, size):
            return image
        image = Image.fromarray(image if image.shape[2] == RGB else image[:, :, 0])
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
) -> tuple[Image.Image | Pixels, int]:
    """Return the image, scaled by n/8 where that leaves both sides at `smallest_side` or more; and its orientation."""
    if (size := _jpeg_size(data, max_pixels)) is not None:
        spend(budget, size)
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
            return pixels, orientation.of_jpeg(data)
    return _decode_other(data, channels=channels, white_level=None, max_pixels=max_pixels, budget=budget)


def _jpeg_size(data: bytes, max_pixels: int) -> tuple[int, int] | None:
    """Return (width, height) if simplejpeg can decode the image, None if Pillow must."""
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    check_size(width, height, max_pixels)
    check_scans(structure.jpeg_scans(data), width * height, max_pixels)
    return (width, height) if colours in {"YCbCr", "Gray", "RGB"} else None


def _decode_other(
    data: bytes, *, channels: int, white_level: int | None, max_pixels: int, budget: PixelBudget | None
) -> tuple[Image.Image, int]:
    found = decode_file(data, max_pixels=max_pixels, budget=budget, white_level=white_level)
    try:
        return _converted(found.image, MODES[channels]), found.turn
    except ValueError as error:  # a mode that Pillow has no way from
        raise UndecodableImage(
            f"the {found.format} image can't be converted to RGB ({error}); save it again"
        ) from error


def _converted(image: Image.Image, mode: Literal["L", "RGB", "RGBA"]) -> Image.Image:
    alpha: Image.Image | int = OPAQUE
    if image.has_transparency_data:
        image = image.convert("RGBA")
        page = Image.new("RGBA", image.size, "white")
        page.alpha_composite(image)
        alpha, image = image.getchannel("A"), page
    if mode == "RGBA":
        image = image.convert("RGB")
        image.putalpha(alpha)
    return image if image.mode == mode else image.convert("RGB").convert(mode)
