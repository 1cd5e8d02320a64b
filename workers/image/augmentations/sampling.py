"""Reading images where maps say: the one resampling that all geometry of a spec costs."""

# B batch, C channel, H height, W width

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

FARTHEST = 1e4
"""Places at a perspective's horizon are infinitely far away; so far is outside too, and a number."""


def affine_places(maps_B33: Tensor, height: int, width: int) -> Tensor:
    """Return where each new pixel is read, (B, H, W, 2), x before y; the maps' last rows are not looked at."""
    x_W, y_H = (_pixel_centres(count, device=maps_B33.device) for count in (width, height))
    columns_BHW2 = x_W.view(1, 1, width, 1) * maps_B33[:, :2, 0].view(-1, 1, 1, 2)
    rows_BHW2 = y_H.view(1, height, 1, 1) * maps_B33[:, :2, 1].view(-1, 1, 1, 2)
    return columns_BHW2 + (rows_BHW2 + maps_B33[:, :2, 2].view(-1, 1, 1, 2))  # a third of affine_grid's time


def projective_places(maps_B33: Tensor, height: int, width: int) -> Tensor:
    """Return where each new pixel is read, (B, H, W, 2), divided by what the maps' last rows give."""
    x_W, y_H = (_pixel_centres(count, device=maps_B33.device) for count in (width, height))
    columns_BHW = x_W.view(1, 1, width) * maps_B33[:, 2, 0].view(-1, 1, 1)
    rows_BHW = y_H.view(1, height, 1) * maps_B33[:, 2, 1].view(-1, 1, 1)
    divisors_BHW = columns_BHW + (rows_BHW + maps_B33[:, 2, 2].view(-1, 1, 1))
    factors_BHW = divisors_BHW.reciprocal_().clamp_(-FARTHEST, FARTHEST)
    return affine_places(maps_B33, height, width).mul_(factors_BHW.unsqueeze(-1))


def resample(
    images_BCHW: Tensor, maps_B33: Tensor, *, places: Callable[[Tensor, int, int], Tensor] = affine_places
) -> Tensor:
    """Read each image once, bilinearly, where its map says; black outside.

    The answer is plain (not channels_last): on a CPU sampling plane by plane takes less than half of the time.
    """
    height, width = images_BCHW.shape[2:]
    return functional.grid_sample(
        images_BCHW.contiguous(),
        places(maps_B33, height, width),
        mode="bilinear",
        padding_mode="zeros",
        align_corners=False,
    )


def _pixel_centres(count: int, *, device: torch.device) -> Tensor:
    """Return where the pixels' centres are from -1, the first one's outer edge, to 1, the last one's."""
    return (2 * torch.arange(count, device=device) + 1) / count - 1
