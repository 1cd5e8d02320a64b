"""Stage that predicts many examples, on a net of colours and a stored dataset."""

import csv
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from models_store.models.registry import NotServedHere
from models_store.storage.blobs import Blobs
from models_store.tasks.image.codec import ImageCodec
from tests.models_store.datasets.dataset_stores import a_store
from tests.samples import a_png, a_train_spec, quick_settings
from tests.service.onnx_files import LABELS, write_colour_net
from tests.workers.job_folders import JobFolder, assigned
from tests.workers.training_runs import Recorder
from workers.process.assignment import Prediction, StoredVariant
from workers.process.progress import Drained
from workers.stages.context import Work
from workers.stages.predict import Model, open_model, predict

COUNT = 40
CARD = {
    "task": "image_classification",
    "labels": list(LABELS),
    "input": {"size": 16, "channels": 3, "fit": "crop"},
}
ASKED = {"model": "colours", "version": 1, "variant": None, "provider": None, "format": "csv", "top_k": 1}


@dataclass(frozen=True)
class Folder:
    """A job's folder with a dataset of two colours, and the variants of a net."""

    job: JobFolder
    variants: tuple[StoredVariant, ...]


def a_folder(folder: Path, *, device: str = "cpu") -> Folder:
    """Return the folder of a job that predicts a dataset of two colours; a checkpoint is due at every look."""
    folder.mkdir(exist_ok=True)
    settings = quick_settings(folder / "home").model_copy(update={"device": device, "checkpoint_s": 0})
    blobs = Blobs(str(folder / "blobs"), scratch=settings.scratch)
    files = {f"{LABELS[n % 2]}/{n}.png": a_png(hue=n % 2, seed=n) for n in range(COUNT)}
    dataset = a_store(settings, blobs, folder=folder).ingest(files)
    net = blobs.put(write_colour_net(folder / "net.onnx")).sha256
    variants = (
        StoredVariant("fp32", net, {"kind": "fp32"}),
        StoredVariant("gpu", net, {"kind": "gpu", "measured": {"cuda": {"accepted": True}}}),
        StoredVariant("int8", net, {"kind": "int8", "measured": {"cpu": {"accepted": True}}}),
    )
    return Folder(JobFolder(folder, dataset=assigned(dataset), blobs=blobs, settings=settings), variants)


def the_work(folder: Folder, *, reporter: Any = None, **asked: Any) -> Work:
    """Return the work of another attempt."""
    prediction = Prediction(ASKED | asked, CARD, {}, {"cpu": "int8"})
    return folder.job.work(
        a_train_spec(), reporter=reporter or Recorder(), prediction=prediction, variants=folder.variants
    )


def a_job(tmp_path: Path, *, reporter: Any = None, device: str = "cpu", **asked: Any) -> Work:
    """Return the work of a job's first attempt."""
    return the_work(a_folder(tmp_path, device=device), reporter=reporter, **asked)


class TenAtOnce(ImageCodec):
    """Images in batches of ten."""

    @property
    def most_per_batch(self) -> int:
        return 10


def ten_at_once(work: Work) -> Model:
    """Return the model that predicts, with batches of ten."""
    model = open_model(work)
    return replace(model, codec=TenAtOnce(**vars(model.codec)))


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
    work = a_job(tmp_path, reporter=Recorder(stop_after=1))

    with pytest.raises(Drained):
        predict(work, open_model(work))

    assert work.checkpoints.load("predicting") is None  # there was nothing yet


@pytest.mark.parametrize("format_", ["csv", "jsonl", "parquet"])
def test_an_interrupted_job_goes_on_and_makes_the_same_table(tmp_path: Path, format_: str) -> None:
    uninterrupted = the_work(a_folder(tmp_path / "whole"), format=format_)
    whole = predict(uninterrupted, ten_at_once(uninterrupted))
    job = a_folder(tmp_path / "interrupted")
    leaving = the_work(job, reporter=Recorder(stop_after=3), format=format_)

    with pytest.raises(Drained):
        predict(leaving, ten_at_once(leaving))
    going_on = the_work(job, reporter=(reporter := Recorder()), format=format_)
    table = predict(going_on, ten_at_once(going_on))

    assert [facts["rows"] for facts in reporter.facts] == [30, 40]
    assert table.path.read_bytes() == whole.path.read_bytes()
    assert (table.rows, table.failed, table.comparison.metrics()) == (COUNT, 0, whole.comparison.metrics())


def test_a_killed_job_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    class Killed(Recorder):
        def progress(self, fraction: float, **facts: float | str) -> None:
            super().progress(fraction, **facts)
            if facts["rows"] == 30:
                raise KeyboardInterrupt

    job = a_folder(tmp_path)
    killed = the_work(job, reporter=Killed())
    with pytest.raises(KeyboardInterrupt):
        predict(killed, ten_at_once(killed), clock=lambda: 0.0)

    going_on = the_work(job, reporter=(reporter := Recorder()))
    table = predict(going_on, ten_at_once(going_on))

    assert [facts["rows"] for facts in reporter.facts] == [30, 40]
    assert [int(row["row"]) for row in rows_of(table.path)] == list(range(COUNT))


def test_a_table_is_by_one_file_alone(tmp_path: Path) -> None:
    job = a_folder(tmp_path)
    leaving = the_work(job, reporter=Recorder(stop_after=3))
    with pytest.raises(Drained):
        predict(leaving, ten_at_once(leaving))

    other = the_work(job, reporter=(reporter := Recorder()), variant="fp32")
    table = predict(other, ten_at_once(other))

    assert (table.rows, len(rows_of(table.path)), reporter.facts[0]["rows"]) == (COUNT, COUNT, 10)
    assert any("20 rows were predicted by int8 on cpu; the table starts over" in line for line in reporter.lines)


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
