"""Pictures as photographs are: smooth, with an edge in them; and the measure that tests compare pictures by."""

import torch
from torch import Tensor

SIZE = 48
TOLERANCE = 2 / 255


def some_pictures(*, channels: int = 3, count: int = 4, side: int = SIZE) -> Tensor:
    """Return images (count, channels, side, side) from 0 to 1, in channels_last, as decoded ones are."""
    coarse = torch.rand(count, channels, 8, 8, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.interpolate(coarse, size=side, mode="bicubic").clamp(0, 1)
    smooth[:, :, side // 3 :, side // 2 :] *= 0.5
    return smooth.contiguous(memory_format=torch.channels_last)


def mean_error(ours: Tensor, theirs: Tensor) -> float:
    assert ours.shape == theirs.shape
    return (ours - theirs).abs().mean().item()


def interior(images: Tensor) -> Tensor:
    return images[..., 8:-8, 8:-8]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
