"""Occlusion of images: windows of an image are painted over, and a heat map shows where the answer suffers.

A window covers two cells of a grid of 8 x 8 in each direction, and begins at every cell, so that neighbours overlap. It
is painted in the image's mean colour, of which a net makes less than of black.
"""

# H height, W width, C channel, G cells of the grid in a direction, M windows

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
import pybase64
from PIL import Image

from models_store.tasks.explanation import Losses, Method

GRID = 8
WINDOW_CELLS = 2
LEAST_SIDE = 224
"""of a picture, in pixels: smaller images are enlarged"""
OPACITY = 0.75
"""of the heat where it is greatest"""
HEAT = np.array([(0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)], np.float64)
"""colours from cold to hot: they grow lighter evenly, and are told apart by colour-blind eyes (matplotlib's inferno)"""
RGB = 3
Pixels = npt.NDArray[np.uint8]


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
        return {"heat_map": pybase64.b64encode_as_string(self.draw(losses_M))}

    def draw(self, losses_M: Losses) -> bytes:
        """Return a PNG of the image in grey, with the heat over it; where the answer gains, it is cold."""
        sums_GG = np.zeros((len(self._rows) - 1, len(self._columns) - 1))
        counts_GG = np.zeros_like(sums_GG)
        for loss, (top, bottom, left, right) in zip(losses_M, self._windows(), strict=True):
            sums_GG[top:bottom, left:right] += loss
            counts_GG[top:bottom, left:right] += 1
        heat_GG = np.nan_to_num(sums_GG / counts_GG).clip(min=0)
        if heat_GG.max() > 0:
            heat_GG /= heat_GG.max()
        picture = Image.fromarray(self._painted(heat_GG))
        made = BytesIO()
        picture.save(made, "PNG")
        return made.getvalue()

    def _painted(self, heat_GG: Losses) -> Pixels:
        height, width = self._image_HWC.shape[:2]
        scale = max(1, -(-LEAST_SIDE // min(height, width)))
        size = (width * scale, height * scale)
        colours = self._image_HWC[:, :, :RGB] if self._image_HWC.shape[2] >= RGB else self._image_HWC[:, :, 0]
        grey_HW1 = np.asarray(Image.fromarray(colours).convert("L").resize(size), np.float64)[:, :, None]
        spread = Image.fromarray(heat_GG.astype(np.float32)).resize(size, Image.Resampling.BILINEAR)
        heat_HW = np.asarray(spread, np.float64).clip(0, 1)
        stops = np.linspace(0, 1, len(HEAT))
        heat_HW3 = np.stack([np.interp(heat_HW, stops, HEAT[:, channel]) for channel in range(RGB)], axis=2)
        weight_HW1 = OPACITY * heat_HW[:, :, None]
        painted_HW3: Pixels = ((1 - weight_HW1) * grey_HW1 + weight_HW1 * heat_HW3).round().astype(np.uint8)
        return painted_HW3

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
