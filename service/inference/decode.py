"""request → images: base64 text or a file's bytes become what the model takes, each fault with its place."""

from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import pybase64

from models_store.errors import EspalierError, FieldError, Invalid
from models_store.settings import Settings
from models_store.tasks.image import codec
from models_store.tasks.image.pixel_budget import PixelBudget, TooManyPixels

Encoded = str | bytes
"""One image of a request: base64 text (a `data:` URL too), or the file's bytes."""


class BadInput(Invalid):
    """An image of a prediction request can't be used; `errors` says which, and why."""

    code = "bad_input"
    title = "An input can't be used"


@dataclass(frozen=True)
class Picture:
    """What a model takes of an image: the card's `input`, and the limits on what may come."""

    size: int
    channels: int
    fit: Literal["crop", "stretch"]
    max_bytes: int
    max_pixels: int
    max_request_pixels: int = 512_000_000
    white_level: int | None = None

    @classmethod
    def of(cls, card: dict[str, Any], settings: Settings) -> Self:
        """Read the input from a version's card."""
        given = card["input"]
        limits = settings.image_max_bytes, settings.image_max_pixels, settings.predict_max_pixels
        white_level = given.get("white_level")  # versions of before have none
        return cls(given["size"], given["channels"], given["fit"], *limits, white_level=white_level)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return the shape of one decoded image, (H, W, C)."""
        return self.size, self.size, self.channels


def decode(image: Encoded, picture: Picture, *, pointer: str, budget: PixelBudget) -> npt.NDArray[np.uint8]:
    """Return the image as uint8 (H, W, C), as the model was trained to see it; `budget` is its request's.

    Raises:
        BadInput: naming `pointer`, if it is no base64, too large, or no image that can be read whole.
        TooManyPixels: if the request's images have too many pixels together.
    """
    data = _bytes_of(image, pointer) if isinstance(image, str) else image
    if not data:
        raise bad_input(pointer, "empty_image", "there are no bytes; give a whole JPEG, PNG, … file")
    if len(data) > picture.max_bytes:
        allowed = {"max_bytes": picture.max_bytes}
        raise bad_input(pointer, "image_too_large", f"{len(data)} bytes is above {picture.max_bytes}", allowed)
    try:
        return codec.decode(
            data,
            size=picture.size,
            channels=picture.channels,
            fit=picture.fit,
            white_level=picture.white_level,
            max_pixels=picture.max_pixels,
            budget=budget,
        )
    except TooManyPixels:
        raise  # it is the whole request's, not this image's
    except EspalierError as error:
        raise bad_input(pointer, error.code, error.detail) from error


def bad_input(pointer: str, code: str, message: str, allowed: Any = None) -> BadInput:  # noqa: ANN401  any JSON
    """Return the error for one image of a request."""
    return BadInput(f"{pointer}: {message}", errors=[FieldError(pointer, code, message, allowed)])


def _bytes_of(text: str, pointer: str) -> bytes:
    if text.startswith("data:"):
        head, comma, text = text.partition(",")
        if not comma or not head.endswith(";base64"):
            raise bad_input(pointer, "bad_base64", "a data: URL must read `data:image/…;base64,…`")
    try:
        return pybase64.b64decode(text, validate=True)
    except ValueError as error:  # binascii.Error, and text outside ASCII
        message = "this is not base64 (RFC 4648, section 4: `A-Z a-z 0-9 + /`, padded with `=`, no line breaks)"
        raise bad_input(pointer, "bad_base64", message) from error
