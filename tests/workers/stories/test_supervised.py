"""Labels and numbers from an archive to a prediction: the store, the whole pipeline, and serving, in one process."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import onnx
import pytest

from models_store.settings import Settings
from models_store.storage.blobs import Blobs
from tests.models_store.datasets.dataset_stores import Files
from tests.workers.stories.finished_jobs import FinishedJob, a_picture, finish_a_job
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


def assert_that_what_ships_answers_its_golden_inputs(job: FinishedJob) -> None:
    checks = [job.check(variant) for variant in ("fp32", "int8")]
    assert [(each.examples, each.tolerance) for each in checks] == [(8, 0.001), (8, 0.05)]
    assert all(each.largest_difference is not None and each.largest_difference < 1e-3 for each in checks)


def assert_that_so_few_images_accept_nothing(job: FinishedJob) -> None:
    figures = job.variant("int8")["card"]["measured"]["cpu"]
    assert figures["validation_images"] < 193
    assert any(reason.startswith("not enough examples to decide") for reason in figures["reasons"])
    assert job.result["defaults"]["cpu"] == "fp32"


@pytest.fixture
def tell(tmp_path: Path, blobs: Blobs, settings: Settings) -> Callable[..., FinishedJob]:
    """Return what ingests an archive and does the job that a spec describes, as a trainer does."""
    return partial(finish_a_job, folder=tmp_path, blobs=blobs, settings=settings)


def test_images_with_labels_become_a_model_that_names_them(tell: Callable[..., FinishedJob]) -> None:
    job = tell(pictures_with_labels())

    said = job.predict([a_picture(500, mean=(180, 60, 180)), a_picture(501, mean=(60, 60, 60))])
    in_int8 = job.predict([a_picture(500, mean=(180, 60, 180))], variant="int8")

    assert sorted(said[0]["labels"]) == ["blue", "red"]
    assert said[1]["labels"] == []
    assert {each["label"] for each in said[0]["top"]} == set(COLOURS)
    assert sorted(in_int8[0]["labels"]) == ["blue", "red"]
    card = job.result["card"]
    assert (card["task"], card["labels"]) == ("multilabel_classification", sorted(COLOURS))
    assert card["agreement"]["fp32"]["share"] == 1.0
    assert job.variant("fp32")["card"]["measured"]["cpu"]["accuracy"]["test"] > 0.95
    assert job.variant("any-size")["card"]["agreement_with_serving"] == 1.0
    said = metadata.read(onnx.load(job.blobs.local(job.variant("any-size")["blob"])))["espalier.metrics"]
    assert set(said) == {"compared_images", "agreement_with_serving"}  # and no accuracy on some of the images
    assert {"val_loss", "val_accuracy", "val_balanced_accuracy"} <= job.history[-1].keys()
    assert_that_what_ships_answers_its_golden_inputs(job)
    assert_that_so_few_images_accept_nothing(job)


def test_images_with_numbers_become_a_model_that_estimates_them(tell: Callable[..., FinishedJob]) -> None:
    job = tell(pictures_with_numbers())

    low, high = (each["value"] for each in job.predict([a_picture(500 + x, mean=(x, x, x)) for x in (60, 180)]))
    (in_int8,) = job.predict([a_picture(680, mean=(180, 180, 180))], variant="int8")

    assert (low, high) == pytest.approx((1930, 1990), abs=6)
    assert in_int8["value"] == pytest.approx(float(high), abs=2)
    card = job.result["card"]
    assert (card["task"], card["labels"], job.dataset.card["grouped"]) == ("image_regression", [], True)
    assert card["agreement"]["fp32"]["share"] == 1.0
    assert job.variant("fp32")["card"]["measured"]["cpu"]["accuracy"]["val"] == pytest.approx(
        max(row["val_accuracy"] for row in job.history), abs=0.02
    )
    assert job.variant("int8")["card"]["measured"]["cpu"]["agreement"] == 1.0
    assert_that_what_ships_answers_its_golden_inputs(job)
    assert_that_so_few_images_accept_nothing(job)
    assert job.variant("any-size")["card"]["agreement_with_serving"] == 1.0
