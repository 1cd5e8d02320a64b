"""Stage that predicts many examples, on a net of colours and a stored dataset."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models_store.models.registry import NotServedHere
from models_store.storage.blobs import Blobs
from tests.models_store.datasets.dataset_stores import a_store
from tests.samples import a_png, a_train_spec, quick_settings
from tests.service.onnx_files import LABELS, write_colour_net
from tests.workers.job_folders import JobFolder, assigned
from tests.workers.training_runs import Recorder
from workers.process.assignment import Prediction, StoredVariant
from workers.process.progress import Drained
from workers.stages.context import Work
from workers.stages.predict import open_model, predict

COUNT = 40
CARD = {
    "task": "image_classification",
    "labels": list(LABELS),
    "input": {"size": 16, "channels": 3, "fit": "crop"},
}
ASKED = {"model": "colours", "version": 1, "variant": None, "provider": None, "format": "csv", "top_k": 1}


def a_job(tmp_path: Path, *, reporter: Any = None, device: str = "cpu", **asked: Any) -> Work:
    """Return the work of a job that predicts a dataset of two colours."""
    settings = quick_settings(tmp_path / "home").model_copy(update={"device": device})
    blobs = Blobs(str(tmp_path / "blobs"), scratch=settings.scratch)
    files = {f"{LABELS[n % 2]}/{n}.png": a_png(hue=n % 2, seed=n) for n in range(COUNT)}
    dataset = a_store(settings, blobs, folder=tmp_path).ingest(files)
    net = blobs.put(write_colour_net(tmp_path / "net.onnx")).sha256
    variants = (
        StoredVariant("fp32", net, {"kind": "fp32"}),
        StoredVariant("gpu", net, {"kind": "gpu", "measured": {"cuda": {"accepted": True}}}),
        StoredVariant("int8", net, {"kind": "int8", "measured": {"cpu": {"accepted": True}}}),
    )
    prediction = Prediction(ASKED | asked, CARD, {}, {"cpu": "int8"})
    job = JobFolder(tmp_path, dataset=assigned(dataset), blobs=blobs, settings=settings)
    work = job.work(a_train_spec(), reporter=reporter or Recorder(), prediction=prediction, variants=variants)
    return replace(work, settings=settings)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_example_has_a_row_and_is_compared_within_its_split(tmp_path: Path) -> None:
    work = a_job(tmp_path)

    table = predict(work, open_model(work))

    rows = rows_of(table.path)
    assert (table.rows, table.failed, len(rows)) == (COUNT, 0, COUNT)
    assert [int(row["row"]) for row in rows] == list(range(COUNT))
    for split, figures in table.comparison.metrics().items():
        of_split = [row for row in rows if row["split"] == split]
        right = sum(row["label"] == row["truth"] for row in of_split)
        assert figures == {"accuracy": pytest.approx(right / len(of_split))}


def test_a_split_is_predicted_alone(tmp_path: Path) -> None:
    work = a_job(tmp_path, split="val")

    rows = rows_of(predict(work, open_model(work)).path)

    assert 0 < len(rows) < COUNT
    assert {row["split"] for row in rows} == {"val"}


def test_a_job_that_has_to_be_left_stops_between_two_batches(tmp_path: Path) -> None:
    class Leaving(Recorder):
        def stop_requested(self) -> bool:
            return True

    work = a_job(tmp_path, reporter=Leaving())

    with pytest.raises(Drained):
        predict(work, open_model(work))


@pytest.mark.parametrize(
    ("asked", "variant"),
    [({}, "int8"), ({"variant": "fp32"}, "fp32"), ({"variant": "int8", "provider": "cpu"}, "int8")],
)
def test_the_variant_that_is_named_predicts_or_else_the_providers_default(
    tmp_path: Path, asked: dict[str, Any], variant: str
) -> None:
    model = open_model(a_job(tmp_path, **asked))

    assert (model.variant, model.provider) == (variant, "cpu")


def test_a_variant_that_the_workers_provider_does_not_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotServedHere, match="'gpu' was not measured on cpu"):
        open_model(a_job(tmp_path, variant="gpu"))
