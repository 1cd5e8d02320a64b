"""Erasing: rectangles of an image painted over, in all channels, before normalisation: 0 is black."""

# B batch, C channel, H height, W width; images are float from 0 to 1

from typing import Literal

import torch
from torch import Generator, Tensor

from models_store.tasks.image.augmentation import Cutout, RandomErasing
from workers.tasks.image.augmentations.changes import Pixels, build, now_and_then, uniform
from workers.tasks.image.augmentations.geometry import draw_windows


@build.register
def _(part: RandomErasing) -> Pixels:
    def change(images_BCHW: Tensor, generator: Generator) -> Tensor:
        batch, side = len(images_BCHW), images_BCHW.shape[-1]
        widths_B, heights_B, found_B = draw_windows(batch, part.scale, part.ratio, generator=generator)
        sizes_2B = (torch.stack([widths_B, heights_B]) * side).round()
        places_2B = (uniform(2, batch, generator=generator) * (side - sizes_2B + 1)).floor()
        return paint(images_BCHW, places_2B, sizes_2B * found_B, part.value, generator)

    return Pixels(now_and_then(part.probability, change))


@build.register
def _(part: Cutout) -> Pixels:
    def change(images_BCHW: Tensor, generator: Generator) -> Tensor:
        side = images_BCHW.shape[-1]
        size = max(1, round(part.size * side))
        centres_2B = (uniform(2, len(images_BCHW), generator=generator) * side).floor()
        return paint(images_BCHW, centres_2B - size // 2, torch.full_like(centres_2B, size), part.value, generator)

    return Pixels(now_and_then(part.probability, change))


def paint(
    images_BCHW: Tensor, places_2B: Tensor, sizes_2B: Tensor, value: float | Literal["random"], generator: Generator
) -> Tensor:
    """Paint a rectangle of each image over: left and top, width and height, in pixels.

    `value` is that of every channel, or `random`: each pixel and channel gets its own.
    """
    inside_B1HW = rectangles(places_2B, sizes_2B, images_BCHW.shape[-1])
    if value == "random":
        return torch.where(inside_B1HW, uniform(*images_BCHW.shape, generator=generator), images_BCHW)
    return images_BCHW.masked_fill(inside_B1HW, value)


def rectangles(places_2B: Tensor, sizes_2B: Tensor, side: int) -> Tensor:
    """Return which pixels are inside each image's rectangle, bool (B, 1, H, W); it may reach out of the image."""
    pixels = torch.arange(side, device=places_2B.device)
    inside_2BS = (pixels >= places_2B.unsqueeze(-1)) & (pixels < (places_2B + sizes_2B).unsqueeze(-1))
    columns_BW, rows_BH = inside_2BS.unbind(0)
    return (rows_BH.unsqueeze(2) & columns_BW.unsqueeze(1)).unsqueeze(1)
