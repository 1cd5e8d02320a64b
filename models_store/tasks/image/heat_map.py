"""Heat maps: an image in grey, with colours where an answer depends on it."""

# H height, W width, C channel, G cells of the heat in a direction

from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
import pybase64
from PIL import Image

from models_store.tasks.image.batches import Pixels

LEAST_SIDE = 224
"""of a picture, in pixels: smaller images are enlarged"""
OPACITY = 0.75
"""of the heat where it is greatest"""
HEAT = np.array([(0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)], np.float64)
"""colours from cold to hot: they grow lighter evenly, and are told apart by colour-blind eyes (matplotlib's inferno)"""
RGB = 3
Heat = npt.NDArray[np.float64]


def heat_map(image_HWC: Pixels, heat_GG: Heat) -> bytes:
    """Return a PNG of the image in grey, with the heat spread over it; what is below 0 is cold."""
    heat_GG = heat_GG.clip(min=0)
    if heat_GG.max() > 0:
        heat_GG /= heat_GG.max()
    picture = Image.fromarray(_painted(image_HWC, heat_GG))
    made = BytesIO()
    picture.save(made, "PNG")
    return made.getvalue()


def as_json(png: bytes) -> dict[str, Any]:
    """Return a heat map as a member of an explanation."""
    return {"heat_map": pybase64.b64encode_as_string(png)}


def _painted(image_HWC: Pixels, heat_GG: Heat) -> Pixels:
    height, width = image_HWC.shape[:2]
    scale = max(1, -(-LEAST_SIDE // min(height, width)))
    size = (width * scale, height * scale)
    colours = image_HWC[:, :, :RGB] if image_HWC.shape[2] >= RGB else image_HWC[:, :, 0]
    grey_HW1 = np.asarray(Image.fromarray(colours).convert("L").resize(size), np.float64)[:, :, None]
    spread = Image.fromarray(heat_GG.astype(np.float32)).resize(size, Image.Resampling.BILINEAR)
    heat_HW = np.asarray(spread, np.float64).clip(0, 1)
    stops = np.linspace(0, 1, len(HEAT))
    heat_HW3 = np.stack([np.interp(heat_HW, stops, HEAT[:, channel]) for channel in range(RGB)], axis=2)
    weight_HW1 = OPACITY * heat_HW[:, :, None]
    painted_HW3: Pixels = ((1 - weight_HW1) * grey_HW1 + weight_HW1 * heat_HW3).round().astype(np.uint8)
    return painted_HW3
