"""Random changes to whole batches, drawn anew for every image: one resampling for all geometry, then colours.

Every geometric part is an affine map from a pixel of the new image to the place in the old one where it is read, in
coordinates from -1 to 1 (`align_corners=False`: -1 is the outer edge of the first pixel). The maps of a spec are
multiplied, and each image is read once, bilinearly; what lies outside is black. Colour formulas are torchvision's.
"""

# B batch, C channel, H height, W width; images are float from 0 to 1

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import singledispatch

import torch
from torch import Generator, Tensor
from torch.nn import functional

from models_store.spec.augmentation import ColorJitter, RandomCrop, RandomFlip, RandomRotation
from models_store.spec.part import Part

GREY_OF_RGB = (0.2989, 0.587, 0.114)

Draw = Callable[[int, Generator], Tensor]


@dataclass(frozen=True)
class Affine:
    """A geometric part: `draw(batch, generator)` gives maps (B, 3, 3) from new places to old ones."""

    draw: Draw


@dataclass(frozen=True)
class Mirror:
    """A flip, which needs no resampling when it is alone: `draw` gives bool (B,), `axis` is 3 (W) or 2 (H)."""

    draw: Draw
    axis: int


@dataclass(frozen=True)
class Colors:
    """A photometric part: changes images (B, C, H, W) in place or anew."""

    change: Callable[[Tensor, Generator], Tensor]


Change = Affine | Mirror | Colors


@singledispatch
def build(part: Part) -> Change:
    """Return what the part of a spec does to a batch."""
    raise NotImplementedError(f"no augmentation is built for {type(part).__name__}")


@build.register
def _(part: RandomCrop) -> Affine:
    def draw(batch: int, generator: Generator) -> Tensor:
        sides_B, *centres = _uniform(3, batch, generator)
        sides_B = part.scale + (1 - part.scale) * sides_B
        x_B, y_B = ((2 * centre_B - 1) * (1 - sides_B) for centre_B in centres)
        return crop_maps(sides_B, x_B, y_B)

    return Affine(draw)


@build.register
def _(part: RandomRotation) -> Affine:
    def draw(batch: int, generator: Generator) -> Tensor:
        degrees_B = (2 * _uniform(1, batch, generator)[0] - 1) * part.degrees
        return rotation_maps(degrees_B)

    return Affine(draw)


@build.register
def _(part: RandomFlip) -> Mirror:
    def draw(batch: int, generator: Generator) -> Tensor:
        return _uniform(1, batch, generator)[0] < part.probability

    return Mirror(draw, axis=3 if part.direction == "horizontal" else 2)


@build.register
def _(part: ColorJitter) -> Colors:
    def change(images_BCHW: Tensor, generator: Generator) -> Tensor:
        draws_4B = 2 * _uniform(4, len(images_BCHW), generator) - 1
        if part.brightness:
            images_BCHW = change_brightness(images_BCHW, 1 + part.brightness * draws_4B[0])
        if part.contrast:
            images_BCHW = change_contrast(images_BCHW, 1 + part.contrast * draws_4B[1])
        if part.saturation:
            images_BCHW = change_saturation(images_BCHW, 1 + part.saturation * draws_4B[2])
        if part.hue:
            images_BCHW = change_hue(images_BCHW, part.hue * draws_4B[3])
        return images_BCHW

    return Colors(change)


def augment(images_BCHW: Tensor, parts: Sequence[Part], *, generator: Generator) -> Tensor:
    """Return the images changed by every part, geometry first; the batch given may be overwritten.

    `images_BCHW` is float from 0 to 1, best in channels_last; `generator` lives on the same device.
    """
    changes = [build(part) for part in parts]
    batch = len(images_BCHW)
    geometric = [change for change in changes if isinstance(change, Affine | Mirror)]
    if any(isinstance(change, Affine) for change in geometric):
        maps_B33 = torch.eye(3, device=images_BCHW.device).expand(batch, 3, 3)
        for moved in geometric:
            drawn = moved.draw(batch, generator)
            maps_B33 = _after(maps_B33, flip_maps(drawn, moved.axis) if isinstance(moved, Mirror) else drawn)
        images_BCHW = resample(images_BCHW, maps_B33)
    else:
        for flip in geometric:
            if isinstance(flip, Mirror):
                mirrored_B = flip.draw(batch, generator).view(-1, 1, 1, 1)
                images_BCHW = torch.where(mirrored_B, images_BCHW.flip(flip.axis), images_BCHW)
    for change in changes:
        if isinstance(change, Colors):
            images_BCHW = change.change(images_BCHW, generator)
    return images_BCHW


def crop_maps(sides_B: Tensor, x_B: Tensor, y_B: Tensor) -> Tensor:
    """Return maps (B, 3, 3) that read a window: its side as a share of the image's, its centre from -1 to 1."""
    maps_B33 = torch.zeros(len(sides_B), 3, 3, device=sides_B.device)
    maps_B33[:, 0, 0] = maps_B33[:, 1, 1] = sides_B
    maps_B33[:, 0, 2], maps_B33[:, 1, 2], maps_B33[:, 2, 2] = x_B, y_B, 1
    return maps_B33


def rotation_maps(degrees_B: Tensor) -> Tensor:
    """Return maps (B, 3, 3) that turn square images counter-clockwise about their centres."""
    radians_B = degrees_B * (math.pi / 180)
    maps_B33 = torch.zeros(len(degrees_B), 3, 3, device=degrees_B.device)
    maps_B33[:, 0, 0] = maps_B33[:, 1, 1] = radians_B.cos()
    maps_B33[:, 0, 1], maps_B33[:, 1, 0], maps_B33[:, 2, 2] = -radians_B.sin(), radians_B.sin(), 1
    return maps_B33


def flip_maps(mirrored_B: Tensor, axis: int) -> Tensor:
    """Return maps (B, 3, 3) that mirror some images along W (axis 3) or H (axis 2)."""
    diagonal_B3 = torch.ones(len(mirrored_B), 3, device=mirrored_B.device)
    diagonal_B3[:, 3 - axis] = torch.where(mirrored_B, -1.0, 1.0)
    return torch.diag_embed(diagonal_B3)


def resample(images_BCHW: Tensor, maps_B33: Tensor) -> Tensor:
    """Read each image once, bilinearly, where its map says; black outside.

    The answer is plain (not channels_last): on a CPU sampling plane by plane takes less than half of the time.
    """
    height, width = images_BCHW.shape[2:]
    x_W, y_H = (_pixel_centres(count, device=maps_B33.device) for count in (width, height))
    columns_BHW2 = x_W.view(1, 1, width, 1) * maps_B33[:, :2, 0].view(-1, 1, 1, 2)
    rows_BHW2 = y_H.view(1, height, 1, 1) * maps_B33[:, :2, 1].view(-1, 1, 1, 2)
    grid_BHW2 = columns_BHW2 + (rows_BHW2 + maps_B33[:, :2, 2].view(-1, 1, 1, 2))  # a third of affine_grid's time
    return functional.grid_sample(
        images_BCHW.contiguous(), grid_BHW2, mode="bilinear", padding_mode="zeros", align_corners=False
    )


def change_brightness(images_BCHW: Tensor, factors_B: Tensor) -> Tensor:
    """Multiply each image by its factor."""
    return (images_BCHW * factors_B.view(-1, 1, 1, 1)).clamp_(0, 1)


def change_contrast(images_BCHW: Tensor, factors_B: Tensor) -> Tensor:
    """Blend each image with the mean of its grey form; factor 1 leaves it as it is."""
    means_B111 = _grey(images_BCHW).mean(dim=(1, 2, 3), keepdim=True)
    return _blend(images_BCHW, means_B111, factors_B)


def change_saturation(images_BCHW: Tensor, factors_B: Tensor) -> Tensor:
    """Blend each image with its grey form; grey images stay as they are."""
    return images_BCHW if images_BCHW.shape[1] == 1 else _blend(images_BCHW, _grey(images_BCHW), factors_B)


def change_hue(images_BCHW: Tensor, shifts_B: Tensor) -> Tensor:
    """Turn the colours of each image by a share of the colour circle; grey images stay as they are.

    It goes through hue, saturation and value: value and chroma stay, so that each channel is
    `value - chroma * clamp(min(k, 4 - k), 0, 1)` with `k = (n + hue / 60°) mod 6` and n = 5, 3, 1 for red, green, blue.
    """
    if images_BCHW.shape[1] == 1:
        return images_BCHW
    red, green, blue = images_BCHW.unbind(1)
    value_BHW = images_BCHW.amax(1)
    chroma_BHW = value_BHW - images_BCHW.amin(1)
    divisor_BHW = torch.where(chroma_BHW == 0, 1.0, chroma_BHW)
    sixths_BHW = torch.where(
        value_BHW == red,
        (green - blue) / divisor_BHW,
        torch.where(value_BHW == green, 2 + (blue - red) / divisor_BHW, 4 + (red - green) / divisor_BHW),
    )
    sixths_BHW = sixths_BHW + 6 * shifts_B.view(-1, 1, 1)
    offsets_C11 = torch.tensor([5.0, 3.0, 1.0], device=images_BCHW.device).view(3, 1, 1)
    k_BCHW = (offsets_C11 + sixths_BHW.unsqueeze(1)).remainder(6)
    return value_BHW.unsqueeze(1) - chroma_BHW.unsqueeze(1) * torch.minimum(k_BCHW, 4 - k_BCHW).clamp_(0, 1)


def _after(outer_B33: Tensor, inner_B33: Tensor) -> Tensor:
    """Return the products of two batches of small matrices; `@` takes 20 times as long on them."""
    return (outer_B33.unsqueeze(-1) * inner_B33.unsqueeze(1)).sum(2)


def _pixel_centres(count: int, *, device: torch.device) -> Tensor:
    """Return where the pixels' centres are from -1, the first one's outer edge, to 1, the last one's."""
    return (2 * torch.arange(count, device=device) + 1) / count - 1


def _uniform(rows: int, batch: int, generator: Generator) -> Tensor:
    return torch.rand(rows, batch, generator=generator, device=generator.device)


def _grey(images_BCHW: Tensor) -> Tensor:
    if images_BCHW.shape[1] == 1:
        return images_BCHW
    red, green, blue = GREY_OF_RGB  # a convolution says the same, and takes ten times as long on plain images
    grey_BHW = images_BCHW[:, 0] * red
    return grey_BHW.add_(images_BCHW[:, 1], alpha=green).add_(images_BCHW[:, 2], alpha=blue).unsqueeze(1)


def _blend(images_BCHW: Tensor, others: Tensor, factors_B: Tensor) -> Tensor:
    factors_B111 = factors_B.view(-1, 1, 1, 1)
    return torch.addcmul(others * (1 - factors_B111), images_BCHW, factors_B111).clamp_(0, 1)
