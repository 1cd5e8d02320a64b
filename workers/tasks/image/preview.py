"""A contact sheet: what a list of augmentations does to a few images of a dataset."""

# N images, V views, B batch, K class, H height, W width, C channel

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from models_store.datasets.store import ManifestEntry
from models_store.tasks.image import codec
from models_store.tasks.image.preview import Preview
from workers.tasks.chosen import chosen
from workers.tasks.image import augmentations

GAP = 4
WHITE = 255
MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def contact_sheet(
    preview: Preview, manifest: Sequence[ManifestEntry], images_zip: Path, *, target: Path, max_pixels: int
) -> None:
    """Write a PNG: a row for each image, the image as it is first, then its changed copies.

    Raises:
        UndecodableImage: if a file of the dataset can't be read.
    """
    entries = chosen(manifest, count=preview.images, seed=preview.seed)
    size, channels = preview.input.size, preview.input.channels
    with zipfile.ZipFile(images_zip) as archive:
        images_NHWC = np.stack(
            [
                codec.decode(
                    archive.read(entry.member),
                    size=size,
                    channels=channels,
                    fit=preview.input.fit,
                    white_level=preview.input.white_level,
                    max_pixels=max_pixels,
                )
                for entry in entries
            ]
        )
    sheet_HWC = laid_out([images_NHWC, *changed(preview, images_NHWC)])
    Image.fromarray(sheet_HWC[..., 0] if channels == 1 else sheet_HWC, MODES[channels]).save(target, "PNG")


def changed(preview: Preview, images_NHWC: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.uint8]]:
    """Return `views` batches uint8 (N, H, W, C), each changed by draws of its own, the mixing parts last."""
    generator = torch.Generator().manual_seed(preview.seed)
    batches = []
    for _ in range(preview.views):
        images_BCHW = torch.from_numpy(images_NHWC).permute(0, 3, 1, 2).float().div_(255)
        images_BCHW = augmentations.augment(images_BCHW, preview.augmentation, generator=generator)
        nobody_BK = torch.zeros(len(images_BCHW), 1)
        images_BCHW, _ = augmentations.mix(images_BCHW, nobody_BK, preview.augmentation, generator=generator)
        batches.append(_as_bytes(images_BCHW))
    return batches


def laid_out(columns: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
    """Return one picture (H, W, C) of columns of tiles (N, H, W, C), with a gap around each tile."""
    count, height, width, channels = columns[0].shape
    sheet_HWC = np.full(
        (count * (height + GAP) + GAP, len(columns) * (width + GAP) + GAP, channels), WHITE, dtype=np.uint8
    )
    for column, tiles_NHWC in enumerate(columns):
        left = GAP + column * (width + GAP)
        for row, tile_HWC in enumerate(tiles_NHWC):
            top = GAP + row * (height + GAP)
            sheet_HWC[top : top + height, left : left + width] = tile_HWC
    return sheet_HWC


def _as_bytes(images_BCHW: Tensor) -> npt.NDArray[np.uint8]:
    rounded: npt.NDArray[np.uint8] = (
        images_BCHW.mul(255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
    )
    return rounded
