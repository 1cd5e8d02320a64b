"""What the net sees of an image."""

from typing import Literal

from pydantic import Field

from models_store.spec.part import Part


class Input(Part):
    """Size and channels of the net's input; the exported file takes uint8 (N, size, size, channels)."""

    size: int | None = Field(
        None,
        ge=16,
        le=1024,
        description="side of the square input, in pixels; null: chosen by the recipe: the backbone's own; smaller images keep theirs, or are enlarged to at least twice of it",
    )
    channels: Literal[1, 3, 4] = Field(
        3,
        description="3: RGB; 1: grey; 4: RGB and alpha. Pretrained first convolutions are adapted and keep their signal",
    )
    white_level: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="value that is white in images of 16 bits, and above it: 1023 for 10 bits in 16, 4095 for 12, 16383 "
        "for 14; null: 65535. Images of 8 bits, and those that give their own white (PGM, packed TIFF), are not changed",
    )
    fit: Literal["crop", "stretch"] = Field(
        "crop",
        description="crop: scale the short side to `size` and cut the centre out; stretch: scale both sides, whatever the shape",
    )
