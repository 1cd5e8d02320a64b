"""Colour: brightness, contrast, saturation, hue, gamma and the order of channels. The formulas are torchvision's."""

# B batch, C channel (1 or 3), H height, W width; images are float from 0 to 1

import torch
from torch import Generator, Tensor

from models_store.tasks.image.augmentation import ChannelShuffle, ColorJitter, RandomGamma, RandomGrayscale
from workers.tasks.image.augmentations.changes import Colors, between, build, now_and_then, uniform
from workers.tasks.image.augmentations.geometry import log_between

GREY_OF_RGB = (0.2989, 0.587, 0.114)


@build.register
def _(part: ColorJitter) -> Colors:
    def change(images_BCHW: Tensor, generator: Generator) -> Tensor:
        draws_4B = between(-1, 1, uniform(4, len(images_BCHW), generator=generator))
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


@build.register
def _(part: RandomGrayscale) -> Colors:
    def change(images_BCHW: Tensor, _generator: Generator) -> Tensor:
        return grey(images_BCHW).repeat(1, images_BCHW.shape[1], 1, 1)  # memory of its own: callers write into it

    return Colors(now_and_then(part.probability, change))


@build.register
def _(part: RandomGamma) -> Colors:
    def change(images_BCHW: Tensor, generator: Generator) -> Tensor:
        return change_gamma(images_BCHW, log_between(part.gamma, uniform(len(images_BCHW), generator=generator)))

    return Colors(now_and_then(part.probability, change))


@build.register
def _(part: ChannelShuffle) -> Colors:
    def change(images_BCHW: Tensor, generator: Generator) -> Tensor:
        return shuffle_channels(
            images_BCHW, uniform(len(images_BCHW), images_BCHW.shape[1], generator=generator).argsort(1)
        )

    return Colors(now_and_then(part.probability, change))


def change_brightness(images_BCHW: Tensor, factors_B: Tensor) -> Tensor:
    """Multiply each image by its factor."""
    return (images_BCHW * factors_B.view(-1, 1, 1, 1)).clamp_(0, 1)


def change_contrast(images_BCHW: Tensor, factors_B: Tensor) -> Tensor:
    """Blend each image with the mean of its grey form; factor 1 leaves it as it is."""
    means_B111 = grey(images_BCHW).mean(dim=(1, 2, 3), keepdim=True)
    return _blend(images_BCHW, means_B111, factors_B)


def change_saturation(images_BCHW: Tensor, factors_B: Tensor) -> Tensor:
    """Blend each image with its grey form; grey images stay as they are."""
    return images_BCHW if images_BCHW.shape[1] == 1 else _blend(images_BCHW, grey(images_BCHW), factors_B)


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


def change_gamma(images_BCHW: Tensor, powers_B: Tensor) -> Tensor:
    """Raise each image's values to its power."""
    return images_BCHW.pow(powers_B.view(-1, 1, 1, 1))


def shuffle_channels(images_BCHW: Tensor, orders_BC: Tensor) -> Tensor:
    """Put each image's channels into its own order: which old channel becomes the first, the second and the third."""
    images_B1 = torch.arange(len(images_BCHW), device=images_BCHW.device).unsqueeze(1)
    return images_BCHW[images_B1, orders_BC]


def grey(images_BCHW: Tensor) -> Tensor:
    """Return how light each pixel is, (B, 1, H, W)."""
    if images_BCHW.shape[1] == 1:
        return images_BCHW
    red, green, blue = GREY_OF_RGB  # a convolution says the same, and takes ten times as long on plain images
    grey_BHW = images_BCHW[:, 0] * red
    return grey_BHW.add_(images_BCHW[:, 1], alpha=green).add_(images_BCHW[:, 2], alpha=blue).unsqueeze(1)


def _blend(images_BCHW: Tensor, others: Tensor, factors_B: Tensor) -> Tensor:
    factors_B111 = factors_B.view(-1, 1, 1, 1)
    return torch.addcmul(others * (1 - factors_B111), images_BCHW, factors_B111).clamp_(0, 1)
