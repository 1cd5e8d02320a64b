"""Labels and numbers from an archive to a prediction: the store, the whole pipeline, and serving, in one process."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import onnx
import pytest

from models_store.settings import Settings
from models_store.storage.blobs import Blobs
from tests.models_store.dataset_stores import Files
from tests.workers.whole_jobs import Story, a_picture, tell_story
from workers.export import metadata

pytestmark = pytest.mark.slow  # the exporter, the quantiser and a measuring process, each twice

COLOURS = ("red", "green", "blue")
IMAGES = 96


def pictures_with_labels() -> Files:
    """Return images of 0 to 3 strong colours, and the table that says which."""
    files, rows = {}, ["file,labels"]
    for index in range(IMAGES):
        borne = [bool(index >> place & 1) for place in range(3)]
        red, green, blue = (180.0 if strong else 60.0 for strong in borne)
        files[f"{index}.png"] = a_picture(index, mean=(red, green, blue))
        rows.append(f"{index}.png,{';'.join(name for name, strong in zip(COLOURS, borne, strict=True) if strong)}")
    return files | {"labels.csv": "\n".join(rows).encode()}


def pictures_with_numbers() -> Files:
    """Return images of two each of many grey levels, and a table of years that rise with the level."""
    files, rows = {}, ["file,value,group"]
    for index in range(IMAGES):
        level = 40 + 4 * (index // 2 % 40)
        files[f"{index}.png"] = a_picture(index, mean=(level, level, level))
        rows.append(f"{index}.png,{1900 + level / 2},{index // 2}")
    return files | {"labels.csv": "\n".join(rows).encode()}


def assert_that_so_few_images_accept_nothing(story: Story) -> None:
    figures = story.variant("int8")["card"]["measured"]["cpu"]
    assert figures["validation_images"] < 193
    assert any(reason.startswith("not enough images to tell") for reason in figures["reasons"])
    assert story.result["defaults"]["cpu"] == "fp32"


@pytest.fixture
def tell(tmp_path: Path, blobs: Blobs, settings: Settings) -> Callable[..., Story]:
    """Return what ingests an archive and does the job that a spec describes, as a trainer does."""
    return partial(tell_story, folder=tmp_path, blobs=blobs, settings=settings)


def test_images_with_labels_become_a_model_that_names_them(tell: Callable[..., Story]) -> None:
    story = tell(pictures_with_labels())

    said = story.predict([a_picture(500, mean=(180, 60, 180)), a_picture(501, mean=(60, 60, 60))])
    in_int8 = story.predict([a_picture(500, mean=(180, 60, 180))], variant="int8")

    assert sorted(said[0]["labels"]) == ["blue", "red"]
    assert said[1]["labels"] == []
    assert {each["label"] for each in said[0]["top"]} == set(COLOURS)
    assert sorted(in_int8[0]["labels"]) == ["blue", "red"]
    card = story.result["card"]
    assert (card["task"], card["labels"]) == ("multilabel_classification", sorted(COLOURS))
    assert card["agreement"]["fp32"]["share"] == 1.0
    assert story.variant("fp32")["card"]["measured"]["cpu"]["accuracy"]["test"] > 0.95
    assert story.variant("any-size")["card"]["agreement_with_serving"] == 1.0
    said = metadata.read(onnx.load(story.blobs.local(story.variant("any-size")["blob"])))["espalier.metrics"]
    assert set(said) == {"compared_images", "agreement_with_serving"}  # and no accuracy on some of the images
    assert {"val_loss", "val_accuracy", "val_balanced_accuracy"} <= story.history[-1].keys()
    assert_that_so_few_images_accept_nothing(story)


def test_images_with_numbers_become_a_model_that_estimates_them(tell: Callable[..., Story]) -> None:
    story = tell(pictures_with_numbers())

    low, high = (each["value"] for each in story.predict([a_picture(500 + x, mean=(x, x, x)) for x in (60, 180)]))
    (in_int8,) = story.predict([a_picture(680, mean=(180, 180, 180))], variant="int8")

    assert (low, high) == pytest.approx((1930, 1990), abs=6)
    assert in_int8["value"] == pytest.approx(float(high), abs=2)
    card = story.result["card"]
    assert (card["task"], card["labels"], story.dataset.card["grouped"]) == ("image_regression", [], True)
    assert card["agreement"]["fp32"]["share"] == 1.0
    assert story.variant("fp32")["card"]["measured"]["cpu"]["accuracy"]["val"] == pytest.approx(
        max(row["val_accuracy"] for row in story.history), abs=0.02
    )
    assert story.variant("int8")["card"]["measured"]["cpu"]["agreement"] == 1.0
    assert_that_so_few_images_accept_nothing(story)
    assert story.variant("any-size")["card"]["agreement_with_serving"] == 1.0
