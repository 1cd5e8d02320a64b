"""Occlusion of images: windows of an image are painted over, and a heat map shows where the answer suffers.

A window covers two cells of a grid of 8 x 8 in each direction, and begins at every cell, so that neighbours overlap. It
is painted in the image's mean colour, of which a net makes less than of black.
"""

# H height, W width, C channel, G cells of the grid in a direction, M windows

from collections.abc import Iterator
from typing import Any

import numpy as np

from models_store.tasks.explanation import Losses, Method
from models_store.tasks.image.batches import Pixels
from models_store.tasks.image.heat_map import as_json, heat_map

GRID = 8
WINDOW_CELLS = 2


class ImageOcclusion:
    """An image, uint8 (H, W, C), to be explained."""

    method: Method = "occlusion"

    def __init__(self, image_HWC: Pixels) -> None:
        self._image_HWC = image_HWC
        height, width = image_HWC.shape[:2]
        self._rows, self._columns = _edges(height), _edges(width)

    def copies(self) -> Iterator[Pixels]:
        """Yield the image with each window painted over."""
        mean_C = self._image_HWC.mean(axis=(0, 1)).round().astype(np.uint8)
        for top, bottom, left, right in self._windows():
            copy_HWC = self._image_HWC.copy()
            copy_HWC[self._rows[top] : self._rows[bottom], self._columns[left] : self._columns[right]] = mean_C
            yield copy_HWC

    def show(self, losses_M: Losses) -> dict[str, Any]:
        """Return the picture as JSON."""
        return as_json(self.draw(losses_M))

    def draw(self, losses_M: Losses) -> bytes:
        """Return a PNG of the image in grey, with the heat over it; where the answer gains, it is cold."""
        sums_GG = np.zeros((len(self._rows) - 1, len(self._columns) - 1))
        counts_GG = np.zeros_like(sums_GG)
        for loss, (top, bottom, left, right) in zip(losses_M, self._windows(), strict=True):
            sums_GG[top:bottom, left:right] += loss
            counts_GG[top:bottom, left:right] += 1
        heat_GG = np.nan_to_num(sums_GG / counts_GG)
        return heat_map(self._image_HWC, heat_GG)

    def _windows(self) -> Iterator[tuple[int, int, int, int]]:
        """Yield top, bottom, left and right of each window, in cells."""
        rows, columns = len(self._rows) - 1, len(self._columns) - 1
        for top in range(rows):
            for left in range(columns):
                yield top, min(top + WINDOW_CELLS, rows), left, min(left + WINDOW_CELLS, columns)


def _edges(length: int) -> list[int]:
    """Return where cells begin, and where the last one ends, in pixels."""
    cells = min(GRID, length)
    return [round(place * length / cells) for place in range(cells + 1)]
