"""Policies of augmentation: each image is changed by operations that are drawn for it."""

from typing import Literal

from pydantic import Field

from models_store.spec.part import Part


class RandAugment(Part):
    """Apply some of 14 operations to each image, all with the same magnitude (Cubuk et al. 2019, arXiv:1909.13719; torchvision's operations and magnitudes). Moves, turns and slants are part of the spec's one resampling; colours follow."""

    kind: Literal["rand_augment"] = "rand_augment"
    operations: int = Field(2, ge=1, le=8, description="operations per image, one after the other")
    magnitude: int = Field(9, ge=0, le=30, description="strength of every operation; 30 is the strongest")


class TrivialAugmentWide(Part):
    """Apply one of 14 operations to each image, with a random magnitude (Müller and Hutter 2021, arXiv:2103.10158; torchvision's wide ranges). There is nothing to tune."""

    kind: Literal["trivial_augment_wide"] = "trivial_augment_wide"


class AugMix(Part):
    """Mix each image with several short chains of operations on it (Hendrycks et al. 2019, arXiv:1912.02781; torchvision's operations and magnitudes). This changes only the images: the paper's consistency loss is not used."""

    kind: Literal["aug_mix"] = "aug_mix"
    severity: int = Field(3, ge=1, le=10, description="magnitudes are drawn from the weakest `severity` of ten steps")
    width: int = Field(3, ge=1, le=8, description="number of chains per image")
    depth: int | None = Field(
        None, ge=1, le=8, description="operations per chain; null: from 1 to 3, drawn for each image and chain"
    )
    alpha: float = Field(
        1.0,
        gt=0,
        le=10,
        description="parameter of the Dirichlet and Beta distributions from which the weights are drawn; 1 is uniform",
    )
    all_ops: bool = Field(
        default=True,
        description="whether brightness, contrast, colour and sharpness are used; false, as in the paper, which tests on them",
    )
