"""The contact sheet of a split's worst answers."""

# H height, W width, C channel

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from workers.evaluation.pictures.canvas import Drawing, Picture, in_style

Pixels = npt.NDArray[np.uint8]

SIDE = 112
CAPTION = 44
GAP = 12
COLUMNS = 8


@in_style
def sheet(images: Sequence[Pixels], captions: Sequence[tuple[str, str]], *, split: str) -> Picture | None:
    """Return the images (H, W, C), each above its caption of two lines; None without one."""
    if not images:
        return None
    columns = min(COLUMNS, len(images))
    rows = -(-len(images) // columns)
    cell_width, cell_height = SIDE + GAP, SIDE + CAPTION + GAP
    width, height = columns * cell_width + GAP, rows * cell_height + GAP
    drawing = Drawing(width=width / 100, height=height / 100)
    axes = drawing.panels[0]
    axes.set_position([0, 0, 1, 1])
    axes.set_axis_off()
    for number, (image_HWC, lines) in enumerate(zip(images, captions, strict=True)):
        left = GAP + (number % columns) * cell_width
        top = GAP + (number // columns) * cell_height
        axes.imshow(_thumbnail(image_HWC), extent=(left, left + SIDE, top + SIDE, top), interpolation="none")
        for line, (text, offset) in enumerate(zip(lines, (13, 28), strict=True)):
            axes.text(left, top + SIDE + offset, _fitting(text), size=6.5, weight="bold" if line == 1 else "normal")
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    text = "; ".join(f"{first} {second}" for first, second in captions[:3])
    return drawing.png(f"{split}-mistakes", title="Worst answers", text=f"The worst first: {text}.")


def _fitting(text: str) -> str:
    most = SIDE // 5
    return text if len(text) <= most else text[: most - 1] + "…"


def _thumbnail(image_HWC: Pixels) -> Pixels:
    """Return the image as RGB of the sheet's side; what is transparent is white."""
    channels = image_HWC.shape[-1]
    picture = Image.fromarray(image_HWC[..., 0] if channels == 1 else image_HWC)
    if channels == 4:  # noqa: PLR2004  red, green, blue, alpha
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    return np.asarray(picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR))
