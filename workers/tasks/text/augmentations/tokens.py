"""Changes of numbered texts: tokens that are hidden from the net."""

# B texts, L tokens

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from models_store.tasks.text.augmentation import TokenDropout
from workers.tasks.text.augmentations.changes import Hiding, build
from workers.tasks.text.augmentations.material import Material


@build.register
def _(part: TokenDropout, material: Material) -> Hiding:  # noqa: ARG001  it needs none
    return Hiding(part.probability, part.rate)


def hidden(tokens_BL: Tensor, parts: Sequence[Hiding], *, unknown: int, generator: Generator) -> Tensor:
    """Return tokens with some of them, drawn by each part, replaced by `unknown`; padding, 0, stays."""
    device = generator.device
    for part in parts:
        chosen_B1 = torch.rand(len(tokens_BL), 1, generator=generator, device=device) < part.probability
        dropped_BL = torch.rand(tokens_BL.shape, generator=generator, device=device) < part.rate
        tokens_BL = torch.where(chosen_B1 & dropped_BL & (tokens_BL != 0), unknown, tokens_BL)
    return tokens_BL
