"""`augment`: the parts of a spec applied to a batch, geometry first, as one resampling, then all else in its order."""

# B batch, C channel, H height, W width; images are float from 0 to 1

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor

from models_store.spec.part import Part
from workers.tasks.image.augmentations.changes import (
    Change,
    Colors,
    Mirror,
    Pixels,
    Policy,
    Projection,
    Warp,
    build,
    on_colors,
)
from workers.tasks.image.augmentations.geometry import after, flip_maps
from workers.tasks.image.augmentations.sampling import affine_places, projective_places, resample


def augment(images_BCHW: Tensor, parts: Sequence[Part], *, generator: Generator) -> Tensor:
    """Return square images changed by every part, each image in its own way; the batch given may be overwritten.

    `images_BCHW` is float from 0 to 1 with 1, 3 or 4 channels; `generator` lives on the same device, and decides every
    draw. Parts that mix images are left to `mix`.
    """
    changes = [build(part) for part in parts]
    with torch.autocast(images_BCHW.device.type, enabled=False):  # pixels are finer than bfloat16
        images_BCHW, recolorings = _move(images_BCHW, changes, generator)
        of_policies = iter(recolorings)
        for change in changes:
            match change:
                case Colors():
                    images_BCHW = on_colors(change.change, images_BCHW, generator)
                case Pixels():
                    images_BCHW = change.change(images_BCHW, generator)
                case Policy():
                    images_BCHW = next(of_policies)(images_BCHW)
    return images_BCHW


def _move(
    images_BCHW: Tensor, changes: Sequence[Change], generator: Generator
) -> tuple[Tensor, list[Callable[[Tensor], Tensor]]]:
    """Return the images after all geometry, and for each policy what is left to do on colours."""
    batch, side = len(images_BCHW), images_BCHW.shape[-1]
    if not any(isinstance(change, Warp | Policy) for change in changes):
        for change in changes:
            if isinstance(change, Mirror):
                mirrored_B111 = change.draw(batch, generator).view(-1, 1, 1, 1)
                images_BCHW = torch.where(mirrored_B111, images_BCHW.flip(change.axis), images_BCHW)
        return images_BCHW, []
    maps: list[Tensor] = []
    recolorings: list[Callable[[Tensor], Tensor]] = []
    for change in changes:
        match change:
            case Mirror():
                maps.append(flip_maps(change.draw(batch, generator), change.axis))
            case Warp():
                maps.append(change.draw(batch, side, generator))
            case Policy():
                maps_B33, recolor = change.draw(batch, side, generator)
                maps.append(maps_B33)
                recolorings.append(recolor)
    is_projective = any(isinstance(change, Projection) for change in changes)
    places = projective_places if is_projective else affine_places
    return resample(images_BCHW, functools.reduce(after, maps), places=places), recolorings
