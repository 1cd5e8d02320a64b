"""Augmentation of training images: all geometric parts become one resampling per image, photometric parts follow.

Names and defaults are torchvision's where it has the part. Every part acts on grey, RGB and RGBA images: colour parts
leave alpha unchanged, and do nothing to grey images where they have no meaning.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from models_store.spec.contradiction import contradiction
from models_store.spec.part import Part
from models_store.tasks.image.augmentation_policies import AugMix, RandAugment, TrivialAugmentWide


def _ascending(bounds: list[float]) -> list[float]:
    if bounds[0] > bounds[1]:
        raise PydanticCustomError("empty_range", "the first number must not be above the second")
    return bounds


Strength = Annotated[float, Field(ge=0, le=1)]
Pair = (Field(min_length=2, max_length=2), AfterValidator(_ascending))
Areas = Annotated[list[Annotated[float, Field(ge=0.01, le=1)]], *Pair]
Ratios = Annotated[list[Annotated[float, Field(ge=0.1, le=10)]], *Pair]
Gammas = Annotated[list[Annotated[float, Field(ge=0.1, le=10)]], *Pair]
Sigmas = Annotated[list[Annotated[float, Field(ge=0.01, le=10)]], *Pair]
Fill = Annotated[float, Field(ge=0, le=1)] | Literal["random"]

CHANGED = "probability that an image is changed"
RATIO = "[narrowest, widest] crop, as width over height; drawn uniformly in its logarithm"
FILL = (
    "value of the pixels before normalisation: from 0 (black) to 1 (white), or `random`: a random colour for each pixel"
)


# ---- geometry


class RandomCrop(Part):
    """Crop at a random place and scale the crop back to the input size (zoom in by up to `1 / scale`). With `scale: 1` and `padding: 0.125` it moves the image by up to an eighth, in whole pixels, as is usual on CIFAR (He et al. 2015, arXiv:1512.03385)."""

    kind: Literal["random_crop"] = "random_crop"
    scale: float = Field(
        0.8,
        gt=0.05,
        le=1,
        description="side of the smallest crop, as a fraction of the image's side; the side is drawn uniformly from [scale, 1]",
    )
    ratio: Ratios = Field(default=[1.0, 1.0], description=RATIO)
    padding: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="black border on each side that crops may reach into, as a fraction of the image's side",
    )


class RandomResizedCrop(Part):
    """Crop with random area and shape, and scale the crop to the input size (Szegedy et al. 2014, arXiv:1409.4842; torchvision's RandomResizedCrop)."""

    kind: Literal["random_resized_crop"] = "random_resized_crop"
    scale: Areas = Field(
        default=[0.08, 1.0], description="[smallest, largest] area of the crop, as a fraction of the image's area"
    )
    ratio: Ratios = Field(default=[3 / 4, 4 / 3], description=RATIO)


class RandomRotation(Part):
    """Rotate about the centre by an angle drawn uniformly from [-degrees, +degrees]."""

    kind: Literal["random_rotation"] = "random_rotation"
    degrees: float = Field(15, ge=0, le=180, description="largest angle, in degrees")
    fit: Literal["keep", "expand"] = Field(
        "keep",
        description="keep: the canvas stays and corners are cut off; expand: the canvas grows to hold the whole image and is scaled back to the input size",
    )


class RandomFlip(Part):
    """Mirror the image with a given probability."""

    kind: Literal["random_flip"] = "random_flip"
    direction: Literal["horizontal", "vertical"] = Field(
        "horizontal", description="horizontal: left becomes right; vertical: top becomes bottom"
    )
    probability: float = Field(0.5, ge=0, le=1, description="probability that an image is mirrored")


class RandomTranslation(Part):
    """Move the image by whole pixels; the uncovered part is black (torchvision's RandomAffine, `translate`)."""

    kind: Literal["random_translation"] = "random_translation"
    x: float = Field(0.1, ge=0, le=1, description="largest move to the left or right, as a fraction of the side")
    y: float = Field(0.1, ge=0, le=1, description="largest move up or down, as a fraction of the side")


class RandomScale(Part):
    """Zoom about the centre by a factor drawn uniformly (torchvision's RandomAffine, `scale`); a smaller image has a black border. It is sampled bilinearly without a filter, so factors below 0.5 show jagged edges."""

    kind: Literal["random_scale"] = "random_scale"
    minimum: float = Field(0.8, ge=0.25, le=4, description="smallest factor; below 1 the image shrinks")
    maximum: float = Field(1.2, ge=0.25, le=4, description="largest factor; above 1 the image grows")

    @model_validator(mode="after")
    def _refuse_an_empty_range(self) -> "RandomScale":
        if self.minimum > self.maximum:
            message = f"minimum {self.minimum:g} is above maximum {self.maximum:g}"
            raise contradiction("minimum", message, {"maximum": self.maximum})
        return self


class RandomShear(Part):
    """Slant the image about its centre by angles drawn uniformly from [-x, +x] and [-y, +y] (torchvision's RandomAffine, `shear`)."""

    kind: Literal["random_shear"] = "random_shear"
    x: float = Field(10.0, ge=0, le=60, description="largest slant of vertical lines, in degrees")
    y: float = Field(0.0, ge=0, le=60, description="largest slant of horizontal lines, in degrees")


class RandomPerspective(Part):
    """Move each corner inwards by a random distance, as if the image were seen from the side (torchvision's RandomPerspective)."""

    kind: Literal["random_perspective"] = "random_perspective"
    distortion: float = Field(
        0.5,
        ge=0,
        le=0.65,
        description="largest move of a corner, as a fraction of half a side; from two thirds on, an image could fold over itself",
    )
    probability: float = Field(0.5, ge=0, le=1, description=CHANGED)


# ---- colours


class ColorJitter(Part):
    """Change brightness, contrast, saturation and hue by factors drawn per image (torchvision's ColorJitter, in that order)."""

    kind: Literal["color_jitter"] = "color_jitter"
    brightness: Strength = Field(0.2, description="factor is drawn uniformly from [1 - b, 1 + b]")
    contrast: Strength = Field(0.2, description="factor is drawn uniformly from [1 - c, 1 + c]")
    saturation: Strength = Field(0.2, description="factor is drawn uniformly from [1 - s, 1 + s]")
    hue: float = Field(0.0, ge=0, le=0.5, description="shift is drawn uniformly from [-h, +h] of the colour circle")


class RandomGrayscale(Part):
    """Remove the colour of an image (torchvision's RandomGrayscale)."""

    kind: Literal["random_grayscale"] = "random_grayscale"
    probability: float = Field(0.1, ge=0, le=1, description=CHANGED)


class RandomGamma(Part):
    """Raise every value to a power (torchvision's `adjust_gamma`)."""

    kind: Literal["random_gamma"] = "random_gamma"
    gamma: Gammas = Field(
        default=[0.7, 1.5],
        description="[smallest, largest] power, drawn uniformly in its logarithm; below 1, shadows become lighter",
    )
    probability: float = Field(0.5, ge=0, le=1, description=CHANGED)


class RandomPosterize(Part):
    """Keep only the leading bits of every value (torchvision's RandomPosterize)."""

    kind: Literal["random_posterize"] = "random_posterize"
    bits: int = Field(4, ge=1, le=8, description="number of bits to keep, of 8")
    probability: float = Field(0.5, ge=0, le=1, description=CHANGED)


class RandomSolarize(Part):
    """Invert the values above a threshold (torchvision's RandomSolarize)."""

    kind: Literal["random_solarize"] = "random_solarize"
    threshold: float = Field(
        0.5, ge=0, le=1, description="values from this threshold on are inverted; 0 inverts all of them"
    )
    probability: float = Field(0.5, ge=0, le=1, description=CHANGED)


class RandomEqualize(Part):
    """Spread each channel's values so that all are about equally frequent (torchvision's RandomEqualize)."""

    kind: Literal["random_equalize"] = "random_equalize"
    probability: float = Field(0.5, ge=0, le=1, description=CHANGED)


class RandomAutocontrast(Part):
    """Stretch each channel from black to white (torchvision's RandomAutocontrast)."""

    kind: Literal["random_autocontrast"] = "random_autocontrast"
    probability: float = Field(0.5, ge=0, le=1, description=CHANGED)


class RandomSharpness(Part):
    """Sharpen or soften the edges (torchvision's RandomAdjustSharpness)."""

    kind: Literal["random_sharpness"] = "random_sharpness"
    factor: float = Field(2.0, ge=0, le=10, description="0 is smooth, 1 is the image itself, 2 twice as sharp")
    probability: float = Field(0.5, ge=0, le=1, description=CHANGED)


class GaussianBlur(Part):
    """Blur with a Gaussian whose width is drawn per image (torchvision's GaussianBlur; its kernel reaches three times the largest sigma)."""

    kind: Literal["gaussian_blur"] = "gaussian_blur"
    sigma: Sigmas = Field(default=[0.1, 2.0], description="[smallest, largest] standard deviation, in pixels")
    probability: float = Field(1.0, ge=0, le=1, description=CHANGED)


class GaussianNoise(Part):
    """Add noise to every value (torchvision's GaussianNoise, clipped)."""

    kind: Literal["gaussian_noise"] = "gaussian_noise"
    sigma: float = Field(0.1, ge=0, le=1, description="standard deviation, where 1 is the distance from black to white")
    probability: float = Field(1.0, ge=0, le=1, description=CHANGED)


class ChannelShuffle(Part):
    """Put red, green and blue into a random order (torchvision's RandomChannelPermutation)."""

    kind: Literal["channel_shuffle"] = "channel_shuffle"
    probability: float = Field(1.0, ge=0, le=1, description=CHANGED)


# ---- erasing


class RandomErasing(Part):
    """Paint over a rectangle of random area and shape (Zhong et al. 2017, arXiv:1708.04896; torchvision's RandomErasing)."""

    kind: Literal["random_erasing"] = "random_erasing"
    probability: float = Field(0.5, ge=0, le=1, description=CHANGED)
    scale: Areas = Field(
        default=[0.02, 0.33], description="[smallest, largest] area of the rectangle, as a fraction of the image's area"
    )
    ratio: Ratios = Field(default=[0.3, 3.3], description=RATIO)
    value: Fill = Field(0.0, description=FILL)


class Cutout(Part):
    """Paint over a square whose centre is anywhere in the image, so a part of it may lie outside (DeVries and Taylor 2017, arXiv:1708.04552)."""

    kind: Literal["cutout"] = "cutout"
    size: float = Field(
        0.5,
        gt=0,
        le=1,
        description="side of the square, as a fraction of the image's side; the paper uses 0.5 for CIFAR-10",
    )
    probability: float = Field(1.0, ge=0, le=1, description=CHANGED)
    value: Fill = Field(0.5, description=FILL + "; 0.5 is near the mean, which the paper uses")


# ---- mixing

SHARE = "probability that an image is mixed. Only one part mixes an image; if the probabilities of several parts add up to more than 1, each gets its share"


class Mixup(Part):
    """Blend each image and its target with those of another image of the batch (Zhang et al. 2017, arXiv:1710.09412)."""

    kind: Literal["mixup"] = "mixup"
    alpha: float = Field(
        1.0,
        gt=0,
        le=10,
        description="the weight is drawn from Beta(alpha, alpha): 1 is uniform, and with small values images are rarely mixed much; the paper uses 1 on CIFAR and 0.2 to 0.4 on ImageNet",
    )
    probability: float = Field(1.0, ge=0, le=1, description=SHARE)


class CutMix(Part):
    """Replace a rectangle of each image by that of another image of the batch, and the target in proportion (Yun et al. 2019, arXiv:1905.04899)."""

    kind: Literal["cutmix"] = "cutmix"
    alpha: float = Field(
        1.0,
        gt=0,
        le=10,
        description="the share that stays is drawn from Beta(alpha, alpha); 1, as in the paper, is uniform",
    )
    probability: float = Field(1.0, ge=0, le=1, description=SHARE)


Augmentation = Annotated[
    RandomCrop
    | RandomResizedCrop
    | RandomRotation
    | RandomFlip
    | RandomTranslation
    | RandomScale
    | RandomShear
    | RandomPerspective
    | ColorJitter
    | RandomGrayscale
    | RandomGamma
    | RandomPosterize
    | RandomSolarize
    | RandomEqualize
    | RandomAutocontrast
    | RandomSharpness
    | GaussianBlur
    | GaussianNoise
    | ChannelShuffle
    | RandomErasing
    | Cutout
    | Mixup
    | CutMix
    | RandAugment
    | TrivialAugmentWide
    | AugMix,
    Field(discriminator="kind"),
]
