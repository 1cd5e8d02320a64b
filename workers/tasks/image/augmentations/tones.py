"""Tones: what maps values to values, channel by channel: posterize, solarize, equalize, autocontrast."""

# B batch, C channel (1 or 3), H height, W width; images are float from 0 to 1

import torch
from torch import Generator, Tensor

from models_store.tasks.image.augmentation import RandomAutocontrast, RandomEqualize, RandomPosterize, RandomSolarize
from workers.tasks.image.augmentations.changes import Colors, build, now_and_then

LEVELS = 256
ALMOST = 255.999
"""torchvision's factor from 1 to bytes: each of the 256 values gets an equal share."""


@build.register
def _(part: RandomPosterize) -> Colors:
    def change(images_BCHW: Tensor, _generator: Generator) -> Tensor:
        return posterize(images_BCHW, images_BCHW.new_full((len(images_BCHW),), part.bits))

    return Colors(now_and_then(part.probability, change))


@build.register
def _(part: RandomSolarize) -> Colors:
    def change(images_BCHW: Tensor, _generator: Generator) -> Tensor:
        return solarize(images_BCHW, images_BCHW.new_full((len(images_BCHW),), part.threshold))

    return Colors(now_and_then(part.probability, change))


@build.register
def _(part: RandomEqualize) -> Colors:
    return Colors(now_and_then(part.probability, lambda images_BCHW, _generator: equalize(images_BCHW)))


@build.register
def _(part: RandomAutocontrast) -> Colors:
    return Colors(now_and_then(part.probability, lambda images_BCHW, _generator: autocontrast(images_BCHW)))


def posterize(images_BCHW: Tensor, bits_B: Tensor) -> Tensor:
    """Keep each image's leading bits, 0 to 8 whole ones as float, of its values."""
    levels_B111 = bits_B.exp2().view(-1, 1, 1, 1)
    return torch.minimum((images_BCHW * levels_B111).floor_(), levels_B111 - 1).div_(levels_B111)


def solarize(images_BCHW: Tensor, thresholds_B: Tensor) -> Tensor:
    """Invert each image's values from its threshold on."""
    return torch.where(images_BCHW >= thresholds_B.view(-1, 1, 1, 1), 1 - images_BCHW, images_BCHW)


def autocontrast(images_BCHW: Tensor) -> Tensor:
    """Stretch each channel of each image from 0 to 1; a channel of one value stays as it is."""
    darkest_BC11, lightest_BC11 = images_BCHW.amin((2, 3), keepdim=True), images_BCHW.amax((2, 3), keepdim=True)
    is_flat_BC11 = darkest_BC11 == lightest_BC11
    ranges_BC11 = torch.where(is_flat_BC11, 1.0, lightest_BC11 - darkest_BC11)
    return (images_BCHW - torch.where(is_flat_BC11, 0.0, darkest_BC11)).div_(ranges_BC11).clamp_(0, 1)


def equalize(images_BCHW: Tensor) -> Tensor:
    """Spread each channel's values by its histogram of 256 levels, as Pillow and torchvision do.

    A level becomes the count of darker pixels, in steps of a 255th of the pixels below the lightest level; where that
    is no whole pixel, the channel stays as it is.
    """
    batch, channels, height, width = images_BCHW.shape
    planes = batch * channels
    levels_PN = (images_BCHW.reshape(planes, height * width) * ALMOST).to(torch.int32)
    offsets_P1 = LEVELS * torch.arange(planes, dtype=torch.int32, device=images_BCHW.device).unsqueeze(1)
    places_X = levels_PN.add_(offsets_P1).view(-1)
    histogram_PL = torch.bincount(places_X, minlength=planes * LEVELS).view(planes, LEVELS)
    up_to_PL = histogram_PL.cumsum(1)
    lightest_P1 = up_to_PL.argmax(1, keepdim=True)
    steps_P1 = (height * width - histogram_PL.gather(1, lightest_P1)) // (LEVELS - 1)
    darker_PL = torch.cat([torch.zeros_like(lightest_P1), up_to_PL[:, :-1]], 1)
    spread_PL = ((darker_PL + steps_P1 // 2) // steps_P1.clamp(min=1)).clamp_(0, LEVELS - 1)
    same_L = torch.arange(LEVELS, device=images_BCHW.device)
    table_X = torch.where(steps_P1 > 0, spread_PL, same_L).float().div_(LEVELS - 1).view(-1)
    return table_X.index_select(0, places_X).view(images_BCHW.shape)
