"""Changes that a part of a spec makes to a batch, in the few kinds that `augment` and `mix` combine.

`build` gives the form; each part's builder stands in the file of its kind.
"""

# B batch, C channel, H height, W width

from collections.abc import Callable
from dataclasses import dataclass
from functools import singledispatch
from typing import TypeVar

import torch
from torch import Generator, Tensor

from models_store.spec.part import Part

Given = TypeVar("Given")
Repaint = Callable[[Tensor, Generator], Tensor]
"""Changes images (B, C, H, W), float from 0 to 1, in place or anew."""


@dataclass(frozen=True)
class Warp:
    """A geometric part: `draw(batch, side, generator)` gives maps (B, 3, 3) from new places to old ones.

    `side` is the images' in pixels. The last rows of the maps are 0, 0, 1.
    """

    draw: Callable[[int, int, Generator], Tensor]


@dataclass(frozen=True)
class Projection(Warp):
    """A geometric part whose maps may have any last row, so that places are divided by what it gives."""


@dataclass(frozen=True)
class Mirror:
    """A flip, which needs no resampling when it is alone: `draw` gives bool (B,), `axis` is 3 (W) or 2 (H)."""

    draw: Callable[[int, Generator], Tensor]
    axis: int


@dataclass(frozen=True)
class Colors:
    """A photometric part: `change` gets grey or RGB images; the alpha of RGBA ones stays out of it."""

    change: Repaint


@dataclass(frozen=True)
class Pixels:
    """A part that changes all channels alike, alpha too."""

    change: Repaint


@dataclass(frozen=True)
class Policy:
    """A part that draws operations: `draw(batch, side, generator)` gives maps (B, 3, 3), and what to do on colours."""

    draw: Callable[[int, int, Generator], tuple[Tensor, Callable[[Tensor], Tensor]]]


@dataclass(frozen=True)
class Mixing:
    """A part that mixes images of a batch: `draw(batch, side, generator)` gives what stays of each.

    That is float from 0 to 1, (B, 1, H, W) or (B, 1, 1, 1).
    """

    probability: float
    draw: Callable[[int, int, Generator], Tensor]


Change = Warp | Mirror | Colors | Pixels | Policy | Mixing


@singledispatch
def build(part: Part) -> Change:
    """Return what the part of a spec does to a batch."""
    raise NotImplementedError(f"no augmentation is built for {type(part).__name__}")


def now_and_then(probability: float, change: Repaint) -> Repaint:
    """Return the change of a few images of a batch, each drawn with the probability; the others cost nothing."""

    def change_some(images_BCHW: Tensor, generator: Generator) -> Tensor:
        chosen_B = uniform(len(images_BCHW), generator=generator) < probability
        if probability == 1:
            return change(images_BCHW, generator)
        rows = chosen_B.nonzero().squeeze(1)
        if len(rows):
            images_BCHW.index_copy_(0, rows, change(images_BCHW.index_select(0, rows), generator))
        return images_BCHW

    return change_some


def on_colors(change: Callable[[Tensor, Given], Tensor], images_BCHW: Tensor, given: Given) -> Tensor:
    """Change the colours of grey, RGB or RGBA images, with what the change is given, and leave alpha as it is."""
    if images_BCHW.shape[1] <= 3:  # noqa: PLR2004  red, green, blue
        return change(images_BCHW, given)
    return torch.cat([change(images_BCHW[:, :3], given), images_BCHW[:, 3:]], dim=1)


def uniform(*shape: int, generator: Generator) -> Tensor:
    """Return numbers drawn evenly from 0 to 1, on the generator's device."""
    return torch.rand(*shape, generator=generator, device=generator.device)


def between(low: float, high: float, shares: Tensor) -> Tensor:
    """Return the places between two numbers that are shares (0 to 1) of the way."""
    return low + (high - low) * shares


def beta(alpha: float, *, batch: int, generator: Generator) -> Tensor:
    """Return draws (B,) from Beta(alpha, alpha)."""
    return dirichlet(alpha, parts=2, batch=batch, generator=generator)[:, 0]


def dirichlet(alpha: float, *, parts: int, batch: int, generator: Generator) -> Tensor:
    """Return draws (B, parts) from the symmetric Dirichlet distribution; each row sums to 1."""
    concentrations = torch.full((batch, parts), alpha, dtype=torch.float64, device=generator.device)
    gammas = torch._standard_gamma(concentrations, generator=generator)  # noqa: SLF001  torch.distributions takes no generator
    return (gammas / gammas.sum(1, keepdim=True)).float()
