"""What a trainer is told of a version that its job takes up."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from models_store.errors import NotFound
from models_store.jobs import claims, submissions
from models_store.jobs.claims import Claim
from models_store.models import publish, registry, removals, weights
from models_store.settings import Settings
from models_store.storage import tables
from models_store.storage.blobs import Blobs
from models_store.storage.database import Database
from models_store.tasks.rooms import UnknownTask
from tests import databases
from tests.samples import a_train_spec, insert_dataset
from workers.process.assign import assign
from workers.process.assignment import AssignedDataset, Assignment, Fold, StoredVariant, TeacherNet, TrainedNet

OWNER = "ada"
HISTORY = [{"epoch": 1, "val_accuracy": 0.5}, {"epoch": 2, "val_accuracy": 0.75}]
TRAINING = {"best_epoch": 2, "epochs": 2, "precision": "fp32", "batch_size": 16, "device": "cpu", "threads": 1}


@pytest.fixture
def store(tmp_path: Path) -> Database:
    database = databases.sqlite(f"sqlite:///{tmp_path / 'store.db'}")
    insert_dataset(database, owner=OWNER)
    return database


@pytest.fixture
def publication(blobs: Blobs, tmp_path: Path) -> publish.Publication:
    report = tmp_path / "report.zip"
    with zipfile.ZipFile(report, "w") as archive:
        archive.writestr("report.json", json.dumps({"history": HISTORY}))
    variants = [
        registry.Variant("fp32", "a" * 64, 9, {"kind": "fp32", "measured": {}}, accepted=True),
        registry.Variant("any-size", "b" * 64, 9, {"kind": "any-size", "standalone": True}, accepted=False),
    ]
    card = {"labels": ["x", "y"], "training": TRAINING}
    files = {"report": blobs.put(report).sha256}
    return publish.Publication(card, "fp32", variants, weights_blob="c" * 64, files=files)


def claimed(store: Database, settings: Settings, *, action: submissions.Action | None = None, **spec: Any) -> Claim:
    submissions.submit(store, owner=OWNER, spec=a_train_spec(**spec), settings=settings, action=action)
    claim = claims.claim(store, settings=settings)
    assert claim is not None
    return claim


def test_a_preview_gives_way_and_a_training_that_begins_beside_it_has_all_cores(
    store: Database, blobs: Blobs, settings: Settings, tmp_path: Path
) -> None:
    alone = assign(store, blobs, claimed(store, settings), staging=tmp_path)
    with store.write() as connection:
        connection.execute(update(tables.job).values(state="succeeded"))

    preview = assign(
        store, blobs, claimed(store, settings, action=submissions.Action("preview", {"seed": 0})), staging=tmp_path
    )
    beside = assign(store, blobs, claimed(store, settings), staging=tmp_path)

    assert (preview.threads, preview.gives_way) == (1, True)
    assert (beside.threads, beside.trainers, beside.gives_way) == (alone.threads, 1, False)


def test_a_job_whose_task_has_no_data_is_assigned_no_dataset(
    store: Database, blobs: Blobs, settings: Settings, publication: publish.Publication, tmp_path: Path
) -> None:
    spec = a_train_spec().model_copy(update={"dataset": None})
    submissions.submit(store, owner=OWNER, spec=spec, settings=settings)
    claim = claims.claim(store, settings=settings)
    assert claim is not None

    assigned = assign(store, blobs, claim, staging=tmp_path)
    assigned.write(tmp_path / "assignment.json")
    publish.publish(store, claim, publication)

    assert Assignment.read(tmp_path / "assignment.json") == assigned
    assert (assigned.dataset, assigned.measured_s) == (None, {})
    assert registry.version(store, "leaves", 1, owner=OWNER).dataset_id is None


def test_a_compression_is_told_the_versions_weights_and_how_they_were_trained(
    store: Database, blobs: Blobs, settings: Settings, publication: publish.Publication, tmp_path: Path
) -> None:
    publish.publish(store, claimed(store, settings), publication)
    claim = claimed(store, settings, action=submissions.Action("compress", {"model": "leaves", "version": 1}))

    told = assign(store, blobs, claim, staging=tmp_path)

    assert (told.kind, told.compressed_from) == ("compress", "leaves:1")
    known = {name: TRAINING[name] for name in ("best_epoch", "precision", "batch_size")}
    assert told.promoted == TrainedNet("c" * 64, HISTORY, **known)


def test_a_version_is_compressed_after_the_job_that_made_it_was_deleted(
    store: Database, blobs: Blobs, settings: Settings, publication: publish.Publication, tmp_path: Path
) -> None:
    maker = claimed(store, settings)
    publish.publish(store, maker, publication)
    removals.delete_job(store, maker.job.id, owner=OWNER)
    claim = claimed(store, settings, action=submissions.Action("compress", {"model": "leaves", "version": 1}))

    told = assign(store, blobs, claim, staging=tmp_path)

    assert told.promoted is not None
    assert (told.promoted.weights, told.promoted.history) == ("c" * 64, HISTORY)


def test_a_measuring_is_told_the_files_that_are_served(
    store: Database, blobs: Blobs, settings: Settings, publication: publish.Publication, tmp_path: Path
) -> None:
    publish.publish(store, claimed(store, settings), publication)
    claim = claimed(store, settings, action=submissions.Action("measure", {"model": "leaves", "version": 1}))

    told = assign(store, blobs, claim, staging=tmp_path)

    assert told.variants == (StoredVariant("fp32", "a" * 64, {"kind": "fp32", "measured": {}}),)
    assert (told.promoted, told.initial_weights) == (
        None,
        "c" * 64,
    )  # the weights hold what the net has learned besides


def test_a_prediction_is_told_the_files_of_the_version_and_the_examples(
    store: Database, blobs: Blobs, settings: Settings, publication: publish.Publication, tmp_path: Path
) -> None:
    publish.publish(store, claimed(store, settings), publication)
    asked = {"model": "leaves", "version": 1, "format": "csv"}
    of_dataset = claimed(store, settings, action=submissions.Action("predict_dataset", asked))
    files = {"examples": "e" * 64, "manifest": "f" * 64}
    of_archive = claimed(store, settings, action=submissions.Action("predict_dataset", asked, files))

    stored, sent = (assign(store, blobs, claim, staging=tmp_path / claim.job.id) for claim in (of_dataset, of_archive))

    assert stored.dataset is not None
    assert sent.dataset is not None
    assert stored.prediction is not None
    assert stored.prediction.parameters == asked
    assert stored.prediction.defaults == publication.defaults
    assert [each.name for each in stored.variants] == ["fp32"]
    assert stored.dataset.id == of_dataset.job.dataset_id
    assert (sent.dataset.content_blob, sent.dataset.manifest_blob) == ("e" * 64, "f" * 64)
    sent.write(tmp_path / "assignment.json")
    assert Assignment.read(tmp_path / "assignment.json") == sent


def test_what_a_version_once_started_from_may_be_gone_when_it_is_compressed(
    store: Database, blobs: Blobs, settings: Settings, publication: publish.Publication, tmp_path: Path
) -> None:
    own = {"backbone": {"kind": "small_cnn", "weights": "wt_gone000000", "freeze": "none"}}
    publish.publish(store, claimed(store, settings), publication)
    action = submissions.Action("compress", {"model": "leaves", "version": 1})

    claim = claimed(store, settings, action=action, **own)

    assert assign(store, blobs, claim, staging=tmp_path).initial_weights is None
    with pytest.raises(weights.WeightsNotFound):
        claimed(store, settings, **own)


def test_a_version_without_a_report_is_not_compressed(
    store: Database, blobs: Blobs, settings: Settings, publication: publish.Publication, tmp_path: Path
) -> None:
    publish.publish(store, claimed(store, settings), replace(publication, files=None))
    claim = claimed(store, settings, action=submissions.Action("compress", {"model": "leaves", "version": 1}))

    with pytest.raises(NotFound, match="before there were reports"):
        assign(store, blobs, claim, staging=tmp_path)


def test_an_assignment_is_read_as_it_was_written(tmp_path: Path) -> None:
    assignment = Assignment(
        job_id="job_1",
        spec={"name": "leaves"},
        spec_sha256="5" * 64,
        dataset=AssignedDataset("ds_1", "d" * 64, ["blue"], content_blob="1" * 64, manifest_blob="2" * 64),
        checkpoints=[],
        staging=str(tmp_path),
        teacher=TeacherNet("3" * 64, {"name": "oak"}),
        fold=Fold(index=1, folds=5, seed=0, grouped=True),
        promoted=TrainedNet("4" * 64, HISTORY, best_epoch=1, precision="fp32", batch_size=8),
        variants=(StoredVariant("fp32", "a" * 64, {"parent": None}),),
    )

    assignment.write(tmp_path / "assignment.json")

    assert Assignment.read(tmp_path / "assignment.json") == assignment


@pytest.mark.parametrize("kind", ["train", "preview"])
def test_a_job_of_an_unknown_task_is_refused_by_the_name_of_the_task(
    store: Database, blobs: Blobs, settings: Settings, tmp_path: Path, kind: str
) -> None:
    claim = claimed(store, settings, action=None if kind == "train" else submissions.Action(kind, {}))
    odd = replace(claim, job=replace(claim.job, spec=claim.job.spec | {"task": "smell_classification"}))

    with pytest.raises(UnknownTask, match=r"'smell_classification' is not known here; .* image_classification"):
        assign(store, blobs, odd, staging=tmp_path)
