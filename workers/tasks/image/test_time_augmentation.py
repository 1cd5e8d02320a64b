"""Test-time augmentation: what a file answers on average to changed copies of each image."""

# B batch, N images, H height, W width, C channel, K class

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from models_store.tasks.image.evaluation import TestTimeAugmentation
from workers.tasks.image import augmentations

BATCH = 32

Answer = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""images uint8 (B, H, W, C) → outputs (B, K)"""


def averaged(
    answer: Answer, images_NHWC: NDArray[np.uint8], rows: NDArray[np.int64], *, part: TestTimeAugmentation, seed: int
) -> Iterator[NDArray[np.float32]]:
    """Yield the mean output (B, K) over the copies of each batch of the images at `rows`; the first is unchanged."""
    generator = torch.Generator().manual_seed(seed)
    for start in range(0, len(rows), BATCH):
        batch_BHWC = np.ascontiguousarray(images_NHWC[rows[start : start + BATCH]])
        total_BK = answer(batch_BHWC).astype(np.float64)
        for _ in range(part.views - 1):
            total_BK += answer(_changed(batch_BHWC, part, generator=generator))
        yield (total_BK / part.views).astype(np.float32)


def _changed(
    batch_BHWC: NDArray[np.uint8], part: TestTimeAugmentation, *, generator: torch.Generator
) -> NDArray[np.uint8]:
    images_BCHW = torch.from_numpy(batch_BHWC).permute(0, 3, 1, 2).float().div_(255)
    changed_BCHW = augmentations.augment(images_BCHW, part.augmentation, generator=generator)
    changed_BHWC = changed_BCHW.clamp(0, 1).mul(255).round().to(torch.uint8).permute(0, 2, 3, 1)
    changed: NDArray[np.uint8] = np.ascontiguousarray(changed_BHWC.numpy())
    return changed
