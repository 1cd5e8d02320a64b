"""Policies: operations drawn for each image. The operations and their magnitudes are torchvision's.

Per image an operation changes where pixels are read (moves, turns, slants) or what they are (colours). The first kind
are matrices, so those of RandAugment and TrivialAugment join the spec's one resampling, and the colours follow in the
order drawn: where RandAugment draws a colour before a turn, the turn comes first. The chains of AugMix see the image
as it is by then, and each costs one resampling more.
"""

# B batch, C channel, H height, W width; images are float from 0 to 1

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from models_store.tasks.image.augmentation_policies import AugMix, RandAugment, TrivialAugmentWide
from workers.tasks.image.augmentations import colors, details, tones
from workers.tasks.image.augmentations.changes import Pixels, Policy, beta, build, dirichlet, on_colors, uniform
from workers.tasks.image.augmentations.geometry import after, matrices
from workers.tasks.image.augmentations.sampling import resample

Range = tuple[float, float]
Space = Mapping[str, Range]
"""Operation → its magnitude at the weakest and at the strongest level."""

COLORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "brightness": lambda images_BCHW, signed_B: colors.change_brightness(images_BCHW, 1 + signed_B),
    "color": lambda images_BCHW, signed_B: colors.change_saturation(images_BCHW, 1 + signed_B),
    "contrast": lambda images_BCHW, signed_B: colors.change_contrast(images_BCHW, 1 + signed_B),
    "sharpness": lambda images_BCHW, signed_B: details.change_sharpness(images_BCHW, 1 + signed_B),
    "posterize": lambda images_BCHW, bits_B: tones.posterize(images_BCHW, bits_B.round()),
    "solarize": tones.solarize,
    "autocontrast": lambda images_BCHW, _: tones.autocontrast(images_BCHW),
    "equalize": lambda images_BCHW, _: tones.equalize(images_BCHW),
}
"""What changes images (B, 1 or 3, H, W) by magnitudes (B,)."""

MOVES = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")
SIGNED = {*MOVES, "brightness", "color", "contrast", "sharpness"}
"""Half of the time their magnitudes are negative."""

OPERATIONS = ("identity", *MOVES, *COLORS)
NONE: Range = (0.0, 0.0)

RAND_AUGMENT_LEVELS = 30
TRIVIAL_AUGMENT_LEVELS = 30
AUG_MIX_LEVELS = 10
AUG_MIX_DEPTHS = 3
ONLY_IN_TORCHVISIONS_AUG_MIX = ("brightness", "color", "contrast", "sharpness")


@dataclass(frozen=True)
class Drawn:
    """One operation per image: its place in `OPERATIONS`, int64 (B,), and its magnitude, float (B,), with its sign."""

    operations: Tensor
    magnitudes: Tensor


@build.register
def _(part: RandAugment) -> Policy:
    def draw(batch: int, side: int, generator: Generator) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        levels_B = torch.full((batch,), part.magnitude / RAND_AUGMENT_LEVELS, device=generator.device)
        space = rand_augment_space(side)
        layers = [draw_operations(space, levels_B, generator=generator) for _ in range(part.operations)]
        return maps(layers, side), lambda images_BCHW: repaint(images_BCHW, layers)

    return Policy(draw)


@build.register
def _(_part: TrivialAugmentWide) -> Policy:
    def draw(batch: int, side: int, generator: Generator) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        levels_B = _whole(TRIVIAL_AUGMENT_LEVELS + 1, batch, generator) / TRIVIAL_AUGMENT_LEVELS
        layers = [draw_operations(trivial_augment_space(), levels_B, generator=generator)]
        return maps(layers, side), lambda images_BCHW: repaint(images_BCHW, layers)

    return Policy(draw)


@build.register
def _(part: AugMix) -> Pixels:
    def change(images_BCHW: Tensor, generator: Generator) -> Tensor:
        batch, side = len(images_BCHW), images_BCHW.shape[-1]
        space = aug_mix_space(side)
        if not part.all_ops:
            space = {name: bounds for name, bounds in space.items() if name not in ONLY_IN_TORCHVISIONS_AUG_MIX}
        weights_WB111 = dirichlet(part.alpha, parts=part.width, batch=batch, generator=generator).T.reshape(
            part.width, batch, 1, 1, 1
        )
        changed_B111 = beta(part.alpha, batch=batch, generator=generator).view(-1, 1, 1, 1)
        mixed_BCHW = images_BCHW * (1 - changed_B111)
        for weights_B111 in weights_WB111:
            layers = []
            deepest = part.depth or AUG_MIX_DEPTHS
            depths_B = deepest if part.depth else _whole(deepest, batch, generator) + 1
            for number in range(deepest):
                levels_B = _whole(part.severity, batch, generator) / (AUG_MIX_LEVELS - 1)
                drawn = draw_operations(space, levels_B, generator=generator)
                layers.append(Drawn(drawn.operations * (number < depths_B), drawn.magnitudes))  # 0 is identity
            chain_BCHW = repaint(resample(images_BCHW, maps(layers, side)), layers)
            mixed_BCHW.addcmul_(chain_BCHW, weights_B111 * changed_B111)
        return mixed_BCHW

    return Pixels(change)


def rand_augment_space(side: int) -> Space:
    """Return RandAugment's magnitudes for images of a side in pixels."""
    return _space(shear=0.3, move=150 / 331 * side, turn=30, color=0.9, bits=(8, 4)) | {"identity": NONE}


def trivial_augment_space() -> Space:
    """Return TrivialAugment's wide magnitudes; moves are of up to 32 pixels, whatever the image's side."""
    return _space(shear=0.99, move=32, turn=135, color=0.99, bits=(8, 2)) | {"identity": NONE}


def aug_mix_space(side: int) -> Space:
    """Return AugMix's magnitudes for images of a side in pixels; it has no operation that does nothing."""
    return _space(shear=0.3, move=side / 3, turn=30, color=0.9, bits=(4, 0))


def _space(*, shear: float, move: float, turn: float, color: float, bits: Range) -> dict[str, Range]:
    return {
        "shear_x": (0, shear),
        "shear_y": (0, shear),
        "translate_x": (0, move),
        "translate_y": (0, move),
        "rotate": (0, turn),
        "brightness": (0, color),
        "color": (0, color),
        "contrast": (0, color),
        "sharpness": (0, color),
        "posterize": bits,
        "solarize": (1, 0),
        "autocontrast": NONE,
        "equalize": NONE,
    }


def draw_operations(space: Space, levels_B: Tensor, *, generator: Generator) -> Drawn:
    """Draw one operation of the space for each image, at its level from 0 to 1."""
    rows = [(OPERATIONS.index(name), *bounds, name in SIGNED) for name, bounds in space.items()]
    table_O4 = torch.tensor(rows, dtype=torch.float32, device=generator.device)
    numbers_B, weakest_B, strongest_B, is_signed_B = table_O4[_whole(len(rows), len(levels_B), generator)].unbind(1)
    signs_B = torch.where(uniform(len(levels_B), generator=generator) <= 0.5, -1.0, 1.0)  # noqa: PLR2004  a half
    magnitudes_B = torch.lerp(weakest_B, strongest_B, levels_B)
    return Drawn(numbers_B.long(), torch.where(is_signed_B > 0, signs_B * magnitudes_B, magnitudes_B))


def maps(layers: Sequence[Drawn], side: int) -> Tensor:
    """Return the maps (B, 3, 3) of all that moves, turns and slants; the images' side is in pixels."""
    return functools.reduce(after, [_moves(drawn, side) for drawn in layers])


def _moves(drawn: Drawn, side: int) -> Tensor:
    """Return the map of each image's operation. One entry acts at most, so they need no products."""
    shear_x_B, shear_y_B, right_B, down_B, degrees_B = (
        torch.where(drawn.operations == OPERATIONS.index(name), drawn.magnitudes, 0.0) for name in MOVES
    )
    cosines_B, sines_B = degrees_B.deg2rad().cos(), degrees_B.deg2rad().sin()
    x_B, y_B = (-2 / side * pixels_B.trunc() for pixels_B in (right_B, down_B))
    # slants keep the top and the left edge where they are, as Pillow does: places count from -1 there
    return matrices(cosines_B, shear_x_B - sines_B, shear_x_B + x_B, shear_y_B + sines_B, cosines_B, shear_y_B + y_B)


def repaint(images_BCHW: Tensor, layers: Sequence[Drawn]) -> Tensor:
    """Change the colours of the images, layer after layer, in place; each operation gets the images that drew it."""
    return on_colors(_repaint, images_BCHW, layers)


def _repaint(images_BCHW: Tensor, layers: Sequence[Drawn]) -> Tensor:
    for drawn in layers:
        order_B = drawn.operations.argsort(stable=True)
        counts = torch.bincount(drawn.operations, minlength=len(OPERATIONS)).tolist()
        for name, rows in zip(OPERATIONS, torch.split(order_B, counts), strict=True):
            if name in COLORS and len(rows):
                changed_BCHW = COLORS[name](images_BCHW.index_select(0, rows), drawn.magnitudes[rows])
                images_BCHW.index_copy_(0, rows, changed_BCHW)
    return images_BCHW


def _whole(below: int, batch: int, generator: Generator) -> Tensor:
    return torch.randint(below, (batch,), generator=generator, device=generator.device)
