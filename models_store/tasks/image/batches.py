"""Batches of decoded images that grow one by one."""

# B example, H row, W column, C channel

import numpy as np
from numpy.typing import NDArray

from models_store.tasks.codec import Batch, Inputs

Pixels = NDArray[np.uint8]


class ImageBatch(Batch[Pixels]):
    """Images in one array, from its beginning."""

    def __init__(self, images_BHWC: Pixels) -> None:
        self._images_BHWC = images_BHWC
        self._count = 0

    def add(self, example: Pixels) -> None:
        """Copy one more into its place."""
        self._images_BHWC[self._count] = example
        self._count += 1

    def inputs(self) -> Inputs:
        """Return the images that were added, uint8 (B, H, W, C)."""
        return {"images": self._images_BHWC[: self._count]}
