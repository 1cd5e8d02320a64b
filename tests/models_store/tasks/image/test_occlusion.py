import io

import numpy as np
import pytest
from PIL import Image

from models_store.tasks.explanation import MOST_PARTS
from models_store.tasks.image.occlusion import ImageOcclusion

DOT = (slice(40, 48), slice(8, 16))


def an_image(channels: int = 3, *, size: int = 64) -> np.ndarray:
    """Return a dark image with a bright dot in one of the cells."""
    image = np.full((size, size, channels), 10, np.uint8)
    image[DOT] = 250
    return image


def brightness_lost(image: np.ndarray) -> np.ndarray:
    """Return what a model that looks at the brightest pixel loses by each hidden part."""
    return np.array([int(image.max()) - int(copy.max()) for copy in ImageOcclusion(image).copies()], np.float64)


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


@pytest.mark.parametrize("size", [1, 5, 28, 64, 224])
def test_the_parts_cover_every_pixel_and_are_few(size: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (size, size, 3)).astype(np.uint8)
    before = image.copy()

    copies = list(ImageOcclusion(image).copies())

    changed = np.any([(copy != image).any(axis=2) for copy in copies], axis=0)
    assert 0 < len(copies) <= MOST_PARTS
    assert (image == before).all()
    assert changed.mean() > 0.98 or size == 1  # a pixel may have the mean colour


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_it_is_hot_where_the_answer_suffers_and_grey_elsewhere(channels: int) -> None:
    image = an_image(channels)

    painted = pixels(ImageOcclusion(image).draw(brightness_lost(image))).astype(int)

    scale = painted.shape[0] // 64
    heat = painted.max(axis=2) - painted.min(axis=2)
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert painted.shape == (256, 256, 3)
    assert 32 <= row / scale < 56
    assert 0 <= column / scale < 24
    assert heat[: 16 * scale].max() == 0


def test_an_answer_that_depends_on_no_part_is_grey() -> None:
    image = an_image()
    occlusion = ImageOcclusion(image)
    parts = len(list(occlusion.copies()))

    for losses in (np.zeros(parts), np.full(parts, -0.5)):
        painted = pixels(occlusion.draw(losses)).astype(int)
        assert (painted.max(axis=2) == painted.min(axis=2)).all()
