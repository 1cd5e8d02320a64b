"""Details: sharpness, blur and noise, which act on neighbouring pixels or on each alone."""

# B batch, C channel (1 or 3), H height, W width, K kernel; images are float from 0 to 1

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional

from models_store.tasks.image.augmentation import GaussianBlur, GaussianNoise, RandomSharpness
from workers.tasks.image.augmentations.changes import Colors, between, build, now_and_then, uniform

SIGMAS_OF_KERNEL = 3


@build.register
def _(part: RandomSharpness) -> Colors:
    def change(images_BCHW: Tensor, _generator: Generator) -> Tensor:
        return change_sharpness(images_BCHW, images_BCHW.new_full((len(images_BCHW),), part.factor))

    return Colors(now_and_then(part.probability, change))


@build.register
def _(part: GaussianBlur) -> Colors:
    reach = math.ceil(SIGMAS_OF_KERNEL * part.sigma[1])

    def change(images_BCHW: Tensor, generator: Generator) -> Tensor:
        sigmas_B = between(part.sigma[0], part.sigma[1], uniform(len(images_BCHW), generator=generator))
        return blur(images_BCHW, sigmas_B, reach=reach)

    return Colors(now_and_then(part.probability, change))


@build.register
def _(part: GaussianNoise) -> Colors:
    def change(images_BCHW: Tensor, generator: Generator) -> Tensor:
        noise_BCHW = torch.randn(images_BCHW.shape, generator=generator, device=generator.device)
        return noise_BCHW.mul_(part.sigma).add_(images_BCHW).clamp_(0, 1)

    return Colors(now_and_then(part.probability, change))


def change_sharpness(images_BCHW: Tensor, factors_B: Tensor) -> Tensor:
    """Blend each image with a smooth form of it: factor 0 is that, 1 the image, above 1 sharper; the rim stays.

    The smooth form is the weighted mean of 3 by 3 pixels, the one in the middle counting five times.
    """
    if min(images_BCHW.shape[2:]) <= 2:  # noqa: PLR2004  there is nothing but rim
        return images_BCHW
    triples = images_BCHW[..., :-2] + images_BCHW[..., 1:-1]  # sums of slices take a fortieth of a convolution's time
    triples.add_(images_BCHW[..., 2:])
    smooth = triples[..., :-2, :] + triples[..., 1:-1, :]
    middle = images_BCHW[..., 1:-1, 1:-1]
    smooth.add_(triples[..., 2:, :]).add_(middle, alpha=4).div_(13)
    changed_BCHW = images_BCHW.clone()
    changed_BCHW[..., 1:-1, 1:-1] = torch.lerp(smooth, middle, factors_B.view(-1, 1, 1, 1)).clamp_(0, 1)
    return changed_BCHW


def blur(images_BCHW: Tensor, sigmas_B: Tensor, *, reach: int) -> Tensor:
    """Blur each image by its own standard deviation in pixels; the kernel reaches so many pixels to each side.

    Images are mirrored at their edges, and so the reach is at most their side less one.
    """
    batch, channels, height, width = images_BCHW.shape
    reach = min(reach, height - 1, width - 1)
    offsets_K = torch.arange(-reach, reach + 1, device=images_BCHW.device)
    kernels_BK = (offsets_K / sigmas_B.unsqueeze(1)).square().div(-2).softmax(1)
    kernels_PK = kernels_BK.repeat_interleave(channels, 0)
    planes = batch * channels
    padded = functional.pad(images_BCHW.contiguous(), (reach, reach, reach, reach), mode="reflect")
    rows = functional.conv2d(
        padded.view(1, planes, height + 2 * reach, width + 2 * reach), kernels_PK.view(planes, 1, 1, -1), groups=planes
    )
    return functional.conv2d(rows, kernels_PK.view(planes, 1, -1, 1), groups=planes).view(images_BCHW.shape)
