"""Input of the net: size, channels, and how images are fitted to them."""

from typing import Literal

from pydantic import Field

from models_store.spec.part import Part


class Input(Part):
    """Size and channels of the net's input; the exported file takes uint8 (N, size, size, channels)."""

    size: int | None = Field(
        None,
        ge=16,
        le=1024,
        description="side of the square input, in pixels; null: chosen by the recipe: the backbone's own; smaller images keep their size, or are enlarged at least twice",
    )
    channels: Literal[1, 3, 4] = Field(
        3,
        description="3: RGB; 1: grey; 4: RGB and alpha. The first convolution of pretrained weights is adapted to the channels",
    )
    white_level: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="value that is white in images with 16 bits; larger values are white too. 1023 for 10 bits in "
        "16, 4095 for 12, 16383 for 14; null: 65535. Images with 8 bits, and files that define their own "
        "white (PGM, packed TIFF), are not changed",
    )
    fit: Literal["crop", "stretch"] = Field(
        "crop",
        description="crop: scale the short side to `size` and keep the centre; stretch: scale both sides to `size`, which may distort the image",
    )
