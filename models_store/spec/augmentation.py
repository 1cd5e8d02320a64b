"""What may be done to training images: geometric parts become one resampling per image, photometric ones follow."""

from typing import Annotated, Literal

from pydantic import Field

from models_store.spec.part import Part

Strength = Annotated[float, Field(ge=0, le=1)]


class RandomCrop(Part):
    """Crop a window at a random place and scale it back to the input size (zoom in by up to `1 / scale`)."""

    kind: Literal["random_crop"] = "random_crop"
    scale: float = Field(
        0.8,
        gt=0.05,
        le=1,
        description="side of the smallest window, as a fraction of the image's side; the side is drawn uniformly from [scale, 1]",
    )


class RandomRotation(Part):
    """Rotate about the centre by an angle drawn uniformly from [-degrees, +degrees]."""

    kind: Literal["random_rotation"] = "random_rotation"
    degrees: float = Field(15, ge=0, le=180, description="largest angle, in degrees")


class RandomFlip(Part):
    """Mirror the image with a given probability."""

    kind: Literal["random_flip"] = "random_flip"
    direction: Literal["horizontal", "vertical"] = Field(
        "horizontal", description="horizontal: left becomes right; vertical: top becomes bottom"
    )
    probability: float = Field(0.5, ge=0, le=1, description="how often an image is mirrored")


class ColorJitter(Part):
    """Change brightness, contrast, saturation and hue by factors drawn per image (torchvision's ColorJitter, in that order)."""

    kind: Literal["color_jitter"] = "color_jitter"
    brightness: Strength = Field(0.2, description="factor is drawn uniformly from [1 - b, 1 + b]")
    contrast: Strength = Field(0.2, description="factor is drawn uniformly from [1 - c, 1 + c]")
    saturation: Strength = Field(0.2, description="factor is drawn uniformly from [1 - s, 1 + s]")
    hue: float = Field(0.0, ge=0, le=0.5, description="shift is drawn uniformly from [-h, +h] of the colour circle")


Augmentation = Annotated[RandomCrop | RandomRotation | RandomFlip | ColorJitter, Field(discriminator="kind")]
