"""Geometry: where each pixel of a new image is read in the old one. All parts of a spec cost one resampling.

A part is a map in homogeneous coordinates from -1 to 1 (`align_corners=False`: -1 is the outer edge of the first
pixel). Images are square, as the net's input is. The maps of a spec are multiplied, and each image is read once,
bilinearly; what lies outside is black. So nothing is lost between parts: what a rotation after a crop brings in comes
from the image around the window, where there is one.
"""

# B batch, C channel, H height, W width, N draws

import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor
from torch.nn import functional

from models_store.tasks.image.augmentation import (
    RandomCrop,
    RandomFlip,
    RandomPerspective,
    RandomResizedCrop,
    RandomRotation,
    RandomScale,
    RandomShear,
    RandomTranslation,
)
from workers.tasks.image.augmentations.changes import Mirror, Projection, Warp, between, build, uniform

TRIES = 10
"""Windows of random area and shape may be wider than the image: the first of so many that fits is taken."""


@build.register
def _(part: RandomCrop) -> Warp:
    moves_only = part.scale == 1 and part.ratio == [1, 1]

    def draw(batch: int, side: int, generator: Generator) -> Tensor:
        sizes_B, shapes_B, x_B, y_B = uniform(4, batch, generator=generator)
        if moves_only:
            reach = round(part.padding * side)
            return translation_maps(*(whole_pixels(between(-1, 1, share_B), reach, side) for share_B in (x_B, y_B)))
        sizes_B = between(part.scale, 1, sizes_B)
        roots_B = log_between(part.ratio, shapes_B).sqrt()
        canvas = 1 + 2 * part.padding
        widths_B, heights_B = (sizes_B * roots_B).clamp(max=canvas), (sizes_B / roots_B).clamp(max=canvas)
        centres = ((2 * x_B - 1) * (canvas - widths_B), (2 * y_B - 1) * (canvas - heights_B))
        return crop_maps(widths_B, heights_B, *centres)

    return Warp(draw)


@build.register
def _(part: RandomResizedCrop) -> Warp:
    def draw(batch: int, _side: int, generator: Generator) -> Tensor:
        widths_B, heights_B, _ = draw_windows(batch, part.scale, part.ratio, generator=generator)
        x_B, y_B = between(-1, 1, uniform(2, batch, generator=generator))
        return crop_maps(widths_B, heights_B, x_B * (1 - widths_B), y_B * (1 - heights_B))

    return Warp(draw)


@build.register
def _(part: RandomRotation) -> Warp:
    maps = rotation_maps if part.fit == "keep" else fitted_rotation_maps

    def draw(batch: int, _side: int, generator: Generator) -> Tensor:
        return maps(between(-part.degrees, part.degrees, uniform(batch, generator=generator)))

    return Warp(draw)


@build.register
def _(part: RandomFlip) -> Mirror:
    def draw(batch: int, generator: Generator) -> Tensor:
        return uniform(batch, generator=generator) < part.probability

    return Mirror(draw, axis=3 if part.direction == "horizontal" else 2)


@build.register
def _(part: RandomTranslation) -> Warp:
    def draw(batch: int, side: int, generator: Generator) -> Tensor:
        x_B, y_B = between(-1, 1, uniform(2, batch, generator=generator))
        return translation_maps(
            whole_pixels(x_B, round(part.x * side), side), whole_pixels(y_B, round(part.y * side), side)
        )

    return Warp(draw)


@build.register
def _(part: RandomScale) -> Warp:
    def draw(batch: int, _side: int, generator: Generator) -> Tensor:
        return scale_maps(between(part.minimum, part.maximum, uniform(batch, generator=generator)))

    return Warp(draw)


@build.register
def _(part: RandomShear) -> Warp:
    def draw(batch: int, _side: int, generator: Generator) -> Tensor:
        x_B, y_B = between(-1, 1, uniform(2, batch, generator=generator))
        return shear_maps(part.x * x_B, part.y * y_B)

    return Warp(draw)


@build.register
def _(part: RandomPerspective) -> Projection:
    def draw(batch: int, _side: int, generator: Generator) -> Tensor:
        shares_B9 = uniform(batch, 9, generator=generator)
        strengths_B11 = torch.where(shares_B9[:, 8] < part.probability, part.distortion, 0.0).view(-1, 1, 1)
        corners_42 = torch.tensor(CORNERS, device=generator.device)
        return perspective_maps(corners_42 * (1 - strengths_B11 * shares_B9[:, :8].view(-1, 4, 2)))

    return Projection(draw)


CORNERS = ((-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0))


def draw_windows(
    batch: int, areas: Sequence[float], ratios: Sequence[float], *, generator: Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Return widths and heights (B,) as shares of the side, and whether a window that fits was found, bool (B,).

    Area and ratio (width over height) are drawn until the window fits, at most `TRIES` times; where none does, it is
    the largest of the nearest ratio.
    """
    shares_2NB = uniform(2, TRIES, batch, generator=generator)
    areas_NB = between(areas[0], areas[1], shares_2NB[0])
    ratios_NB = log_between(ratios, shares_2NB[1])
    sizes_2NB = torch.stack([areas_NB * ratios_NB, areas_NB / ratios_NB]).sqrt()
    fits_NB = (sizes_2NB <= 1).all(0)
    first_1B = fits_NB.int().argmax(0, keepdim=True)  # of equal ones, the first
    found_B = fits_NB.any(0)
    ratio = min(max(1.0, ratios[0]), ratios[1])
    widths_B, heights_B = (size_NB.gather(0, first_1B).squeeze(0) for size_NB in sizes_2NB)
    return torch.where(found_B, widths_B, min(1, ratio)), torch.where(found_B, heights_B, min(1, 1 / ratio)), found_B


def log_between(bounds: Sequence[float], shares: Tensor) -> Tensor:
    """Return the places between two numbers above 0, evenly in their logarithm."""
    return between(math.log(bounds[0]), math.log(bounds[1]), shares).exp()


def whole_pixels(shares_B: Tensor, reach: int, side: int) -> Tensor:
    """Return moves by whole pixels as shares of the side, so that nothing is interpolated; shares -1 to 1 are drawn."""
    pixels_B = ((shares_B + 1) / 2 * (2 * reach + 1)).floor().clamp(max=2 * reach) - reach
    return pixels_B / side


# ---- maps


def crop_maps(widths_B: Tensor, heights_B: Tensor, x_B: Tensor, y_B: Tensor) -> Tensor:
    """Return maps (B, 3, 3) that read a window: its sides as shares of the image's, its centre from -1 to 1."""
    return matrices(widths_B, 0, x_B, 0, heights_B, y_B)


def rotation_maps(degrees_B: Tensor) -> Tensor:
    """Return maps (B, 3, 3) that turn images counter-clockwise about their centres; corners leave the canvas."""
    cosines_B, sines_B = _cosines_and_sines(degrees_B)
    return matrices(cosines_B, -sines_B, 0, sines_B, cosines_B, 0)


def fitted_rotation_maps(degrees_B: Tensor) -> Tensor:
    """Return maps (B, 3, 3) that turn images and make them as much smaller as the whole needs to stay in sight."""
    cosines_B, sines_B = _cosines_and_sines(degrees_B)
    growths_B = cosines_B.abs() + sines_B.abs()
    return matrices(growths_B * cosines_B, -growths_B * sines_B, 0, growths_B * sines_B, growths_B * cosines_B, 0)


def flip_maps(mirrored_B: Tensor, axis: int) -> Tensor:
    """Return maps (B, 3, 3) that mirror some images along W (axis 3) or H (axis 2)."""
    signs_B = torch.where(mirrored_B, -1.0, 1.0)
    ones_B = torch.ones_like(signs_B)
    return matrices(signs_B, 0, 0, 0, ones_B, 0) if axis == 3 else matrices(ones_B, 0, 0, 0, signs_B, 0)  # noqa: PLR2004  W


def translation_maps(x_B: Tensor, y_B: Tensor) -> Tensor:
    """Return maps (B, 3, 3) that move images to the right and down by shares of their side."""
    ones_B = torch.ones_like(x_B)
    return matrices(ones_B, 0, -2 * x_B, 0, ones_B, -2 * y_B)


def scale_maps(factors_B: Tensor) -> Tensor:
    """Return maps (B, 3, 3) that make images larger (above 1) or smaller about their centres."""
    return matrices(1 / factors_B, 0, 0, 0, 1 / factors_B, 0)


def shear_maps(x_degrees_B: Tensor, y_degrees_B: Tensor) -> Tensor:
    """Return maps (B, 3, 3) that slant upright lines, then level ones, about the centre, as torchvision does."""
    x_B, y_B = x_degrees_B.deg2rad().tan(), y_degrees_B.deg2rad().tan()
    return matrices(1 + x_B * y_B, x_B, 0, y_B, torch.ones_like(x_B), 0)


def perspective_maps(corners_B42: Tensor) -> Tensor:
    """Return maps (B, 3, 3) that move each image's corners: where top left, top right, bottom right, bottom left go.

    The map from the square to four points is Heckbert's (Fundamentals of Texture Mapping and Image Warping, 1989), with
    the columns (1 + g) p₂ - p₁, (1 + h) p₄ - p₁ and p₁ for places from 0 to 1; here they are from -1 to 1. It is
    inverted, for a map says where a pixel is read.
    """
    first_B3, second_B3, third_B3, fourth_B3 = functional.pad(corners_B42, (0, 1), value=1.0).unbind(1)
    sides_B32 = torch.stack([second_B3 - third_B3, fourth_B3 - third_B3], 2)
    rests_B3 = first_B3 - second_B3 + third_B3 - fourth_B3
    g_B1, h_B1 = torch.linalg.solve_ex(sides_B32[:, :2], rests_B3[:, :2]).result.split(1, dim=1)
    halves_of_x_B3 = ((1 + g_B1) * second_B3 - first_B3) / 2
    halves_of_y_B3 = ((1 + h_B1) * fourth_B3 - first_B3) / 2
    from_square_B33 = torch.stack([halves_of_x_B3, halves_of_y_B3, first_B3 + halves_of_x_B3 + halves_of_y_B3], 2)
    to_square_B33: Tensor = torch.linalg.inv_ex(from_square_B33).inverse
    return to_square_B33


def matrices(*entries: Tensor | float) -> Tensor:
    """Return maps (B, 3, 3) whose first two rows have these six entries: tensors (B,), as the first is, or numbers."""
    first, *_ = entries
    assert isinstance(first, Tensor)
    columns = [
        entry if isinstance(entry, Tensor) else first.new_full(first.shape, entry) for entry in (*entries, 0, 0, 1)
    ]
    return torch.stack(columns, 1).view(-1, 3, 3)


def after(outer_B33: Tensor, inner_B33: Tensor) -> Tensor:
    """Return the products of two batches of small matrices; `@` takes 20 times as long on them."""
    return (outer_B33.unsqueeze(-1) * inner_B33.unsqueeze(1)).sum(2)


def _cosines_and_sines(degrees_B: Tensor) -> tuple[Tensor, Tensor]:
    radians_B = degrees_B.deg2rad()
    return radians_B.cos(), radians_B.sin()
