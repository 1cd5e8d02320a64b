"""The codec of images as an object: what a card says becomes decoding, and inputs of a file."""

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models_store.tasks.codec import BadExample, OverBudget
from models_store.tasks.image import codec
from models_store.tasks.image.codec import ImageCodec
from tests import samples

OLD_CARD = {"size": 16, "channels": 3, "fit": "crop"}
PNG = samples.a_png(size=(40, 30))


def a_codec(folder: Path, given: dict[str, Any] | None = None, **settings: Any) -> ImageCodec:
    return ImageCodec.of(given or OLD_CARD, samples.quick_settings(folder, **settings))


def test_a_card_without_a_white_level_decodes_as_it_always_did(tmp_path: Path) -> None:
    decoded = a_codec(tmp_path).decode(PNG)

    assert np.array_equal(decoded, codec.decode(PNG, size=16, channels=3, fit="crop"))


def test_base64_and_a_data_url_are_the_files_bytes(tmp_path: Path) -> None:
    text = base64.b64encode(PNG).decode()
    images = a_codec(tmp_path)

    decoded = [images.decode(given) for given in (PNG, text, f"data:image/png;base64,{text}")]

    assert np.array_equal(decoded[0], decoded[1])
    assert np.array_equal(decoded[0], decoded[2])


@pytest.mark.parametrize("count", [1, 3])
def test_collated_images_have_the_described_name_type_and_shape(tmp_path: Path, count: int) -> None:
    images = a_codec(tmp_path)
    (tensor,) = images.describe()
    decoded = [images.decode(samples.a_png(hue=hue)) for hue in range(count)]

    inputs = images.collate(decoded)

    assert list(inputs) == [tensor.name]
    assert (inputs["images"].dtype, inputs["images"].shape) == (np.dtype(tensor.dtype), (count, *tensor.shape))
    assert np.array_equal(inputs["images"], np.stack(decoded))
    assert tensor.zeros(count).shape == inputs["images"].shape


@pytest.mark.parametrize(("most", "count"), [(1, 1), (5, 1), (5, 3)])
def test_a_batch_that_is_filled_as_images_come_is_what_collate_makes_of_them(
    tmp_path: Path, most: int, count: int
) -> None:
    images = a_codec(tmp_path)
    decoded = [images.decode(samples.a_png(hue=hue)) for hue in range(count)]
    batch = images.batch(most)

    for image in decoded:
        batch.add(image)

    assert np.array_equal(batch.inputs()["images"], images.collate(decoded)["images"])


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (b"", "empty_image"),
        ("!", "bad_base64"),
        ("data:text/plain,hello", "bad_base64"),
        (17, "bad_base64"),
        (bytes(2000), "image_too_large"),
    ],
)
def test_what_is_no_file_is_refused_with_its_code(tmp_path: Path, given: Any, code: str) -> None:
    images = a_codec(tmp_path, image_max_bytes=1000)

    with pytest.raises(BadExample) as caught:
        images.decode(given)

    assert [(error.pointer, error.code) for error in caught.value.errors] == [("", code)]


def test_each_request_has_a_budget_of_its_own(tmp_path: Path) -> None:
    images = a_codec(tmp_path, predict_max_pixels=2000)
    first = images.budget()
    images.decode(PNG, budget=first)

    with pytest.raises(OverBudget):
        images.decode(PNG, budget=first)

    assert images.decode(PNG, budget=images.budget()).shape == (16, 16, 3)


def test_a_batch_holds_as_many_pixels_at_any_size(tmp_path: Path) -> None:
    counts = [a_codec(tmp_path, OLD_CARD | {"size": size}).most_per_batch for size in (28, 224, 448, 4096)]

    assert counts == [2048, 32, 8, 1]
