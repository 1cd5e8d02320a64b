"""Mixing: each image and its target blended with another's of the batch."""

# B batch, C channel, H height, W width, K class

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from models_store.spec.part import Part
from models_store.tasks.image.augmentation import CutMix, Mixup
from workers.tasks.image.augmentations.changes import Mixing, beta, build, uniform
from workers.tasks.image.augmentations.erasing import rectangles


@build.register
def _(part: Mixup) -> Mixing:
    def draw(batch: int, _side: int, generator: Generator) -> Tensor:
        return beta(part.alpha, batch=batch, generator=generator).view(-1, 1, 1, 1)

    return Mixing(part.probability, draw)


@build.register
def _(part: CutMix) -> Mixing:
    def draw(batch: int, side: int, generator: Generator) -> Tensor:
        kept_B = beta(part.alpha, batch=batch, generator=generator)
        centres_2B = (uniform(2, batch, generator=generator) * side).floor()
        sizes_B = (side * (1 - kept_B).sqrt()).floor()
        inside_B1HW = rectangles(centres_2B - (sizes_B / 2).floor(), sizes_B.expand(2, -1), side)
        return 1 - inside_B1HW.float()

    return Mixing(part.probability, draw)


def mix(
    images_BCHW: Tensor, targets_BK: Tensor, parts: Sequence[Part], *, generator: Generator
) -> tuple[Tensor, Tensor]:
    """Return images and targets mixed by the parts that mix; the other parts of a spec are not looked at.

    Images may be normalised or not. Targets are float: one-hot classes, labels or numbers. A partner is drawn from the
    whole batch, which need not be shuffled, and may be the image itself. An image is mixed by one part at most: each
    part takes its probability of the images, or, where those sum up to more than 1, its share.
    """
    mixings = [change for change in map(build, parts) if isinstance(change, Mixing)]
    if not mixings:
        return images_BCHW, targets_BK
    batch, side = len(images_BCHW), images_BCHW.shape[-1]
    partners_B = torch.randperm(batch, generator=generator, device=generator.device)
    choices_B = uniform(batch, generator=generator) * max(1.0, sum(mixing.probability for mixing in mixings))
    given_B111 = torch.zeros(batch, 1, 1, 1, device=generator.device)  # what is taken from the partner
    begin = 0.0
    for mixing in mixings:
        chosen_B = (choices_B >= begin) & (choices_B < begin + mixing.probability)
        given = 1 - mixing.draw(batch, side, generator)
        given_B111 = torch.where(chosen_B.view(-1, 1, 1, 1), given, given_B111)
        begin += mixing.probability
    shares_B1 = given_B111.mean(dim=(1, 2, 3)).unsqueeze(1).to(targets_BK.dtype)
    return (
        torch.lerp(images_BCHW, images_BCHW[partners_B], given_B111.to(images_BCHW.dtype)),
        torch.lerp(targets_BK, targets_BK[partners_B], shares_B1),
    )
