"""Mixing: the features of each text and its target blended with those of another text of the batch."""

# B batch, F feature, K class

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from models_store.tasks.text.augmentation import MixupOfTexts
from workers.tasks.text.augmentations.changes import Mixing, build
from workers.tasks.text.augmentations.material import Material


@build.register
def _(part: MixupOfTexts, material: Material) -> Mixing:  # noqa: ARG001  it needs none
    def draw(batch: int, generator: Generator) -> Tensor:
        alphas_B2 = torch.full((batch, 2), part.alpha, dtype=torch.float64, device=generator.device)
        gammas_B2 = torch._standard_gamma(alphas_B2, generator=generator)  # noqa: SLF001  torch.distributions takes no generator
        return (gammas_B2[:, 0] / gammas_B2.sum(1)).float()

    return Mixing(part.probability, draw)


@dataclass(frozen=True)
class Mixed:
    """Prepared texts whose features are to be blended: with whose, and how much is taken from them."""

    inputs: Any
    partners_B: Tensor  # noqa: N815  the shape is part of the name
    given_B1: Tensor  # noqa: N815

    def blended(self, features_BF: Tensor) -> Tensor:
        """Return the features of the texts, blended."""
        return torch.lerp(features_BF, features_BF[self.partners_B], self.given_B1.to(features_BF.dtype))


def mix(inputs: Any, targets_BK: Tensor, parts: Sequence[Mixing], *, generator: Generator) -> tuple[Mixed, Tensor]:  # noqa: ANN401  a learner's own
    """Return prepared texts and their targets, mixed by parts, one at least.

    A partner is drawn from the whole batch, and may be the text itself. A text is mixed by one part at most: each takes
    its probability of the texts, or, where those sum up to more than 1, its share.
    """
    batch, device = len(targets_BK), generator.device
    partners_B = torch.randperm(batch, generator=generator, device=device)
    choices_B = torch.rand(batch, generator=generator, device=device) * max(
        1.0, sum(part.probability for part in parts)
    )
    given_B = torch.zeros(batch, device=device)
    begin = 0.0
    for part in parts:
        chosen_B = (choices_B >= begin) & (choices_B < begin + part.probability)
        given_B = torch.where(chosen_B, 1 - part.draw(batch, generator), given_B)
        begin += part.probability
    mixed = Mixed(inputs, partners_B, given_B.unsqueeze(1))
    return mixed, torch.lerp(targets_BK, targets_BK[partners_B], mixed.given_B1.to(targets_BK.dtype))
