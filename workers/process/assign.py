"""Assignment from a claim: everything that a trainer must know, read from the store before it starts."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from models_store.datasets import store as datasets
from models_store.host import cores
from models_store.jobs import children, kinds, reports, stage_costs
from models_store.jobs import store as jobs
from models_store.jobs.claims import Claim
from models_store.jobs.job import Job
from models_store.jobs.kinds import URGENT
from models_store.jobs.results import Tried
from models_store.models import dataset_predictions, references, registry
from models_store.models.variant_card import VariantCard
from models_store.storage.blobs import Blobs
from models_store.storage.database import Database
from models_store.tasks import rooms
from workers.process.assignment import (
    AssignedDataset,
    Assignment,
    Fold,
    Prediction,
    StoredVariant,
    TeacherNet,
    TrainedNet,
)


def assign(database: Database, blobs: Blobs, claim: Claim, *, staging: Path) -> Assignment:
    """Return the assignment of a claimed job; `staging` is the attempt's own folder.

    Raises:
        UnknownTask: if the job's spec is of a task that is not known here.
        NotFound: if something that the job builds on is gone.
    """
    job = claim.job
    rooms.contract_of(rooms.task_of(job.spec))
    is_urgent = job.priority >= URGENT
    of_kind = _of_kind(database, blobs, job)
    beside, on_machine = cores.running_trainers(database)
    dataset = None if job.dataset_id is None else datasets.find(database, job.dataset_id, owner=job.owner)
    given = {"dataset": None if dataset is None else _assigned(dataset)} | of_kind
    return Assignment(
        job_id=job.id,
        spec=job.spec,
        spec_sha256=job.spec_sha256,
        checkpoints=job.checkpoints,
        staging=str(staging),
        kind=job.kind,
        threads=1 if is_urgent else cores.shared(trainers_beside=beside, trainers_on_machine=on_machine),
        trainers=max(beside, on_machine),
        gives_way=is_urgent,
        facts=asdict(datasets.facts(dataset)) if job.spec["training"].get("fit_to_budget") else {},
        measured_s=_measured_s(database, job, dataset, is_trained=of_kind.get("promoted") is not None),
        progress=float(job.progress.get("fraction", 0.0)),
        **given,
    )


def _assigned(dataset: datasets.Dataset) -> AssignedDataset:
    return AssignedDataset(
        dataset.id,
        dataset.digest,
        classes=dataset.card["classes"],
        content_blob=dataset.content_blob,
        manifest_blob=dataset.manifest_blob,
        auxiliary=dataset.card.get("auxiliary", {}),
    )


def _measured_s(
    database: Database, job: Job, dataset: datasets.Dataset | None, *, is_trained: bool
) -> dict[str, float]:
    """Return what earlier jobs let expect of each stage; a net that is trained already is not trained again."""
    if dataset is None or not kinds.of(job.kind).is_listed:  # a preview has ended before its time could be reckoned
        return {}
    measured_s = stage_costs.expected_s(database, job.spec, dataset.card)
    return measured_s | ({"training": 0.0} if is_trained else {})


def _of_kind(database: Database, blobs: Blobs, job: Job) -> dict[str, Any]:
    """Return what a trainer of this kind of job must know besides."""
    kind = kinds.of(job.kind)
    if kind.takes_up_a_version and kind.publishes:
        return _teacher(database, job) | {"promoted": _trained(database, blobs, job), "compressed_from": _taken_up(job)}
    if kind.remeasures:
        return {"variants": _variants(database, job), "initial_weights": _version(database, job).weights_blob}
    if kind.takes_up_a_version:
        return _predicting(database, job)
    if not kind.trains:
        return {"preview": job.parameters}
    start = references.initial_weights(database, job.spec, owner=job.owner)
    return {"initial_weights": start} | _teacher(database, job) | _part_in_family(database, job)


def _teacher(database: Database, job: Job) -> dict[str, Any]:
    """Return whom the net learns from."""
    teacher = references.teacher(database, job.spec, owner=job.owner)
    return {"teacher": TeacherNet(teacher.weights_blob, teacher.spec) if teacher else None}


def _part_in_family(database: Database, job: Job) -> dict[str, Any]:
    """Return what a child's trainer must know beside its spec."""
    if job.parent_id is None:
        return {}
    parent = jobs.find(database, job.parent_id, owner=job.owner)
    if kinds.of(job.kind).is_tried:
        if parent.spec["search"] is not None:
            return {"keeps_weights": parent.spec["search"]["winner"] == "promote"}
        shared = parent.spec["validation"]
        if "folds" not in shared:
            return {}
        assert job.number is not None, "a fold has a number"
        return {"fold": Fold(job.number, shared["folds"], job.spec["seed"], grouped=shared["group"])}
    if (job.files or {}).get("trained") is None:
        return {}
    return {"promoted": _promoted(database, parent, weights=(job.files or {})["trained"])}


def _promoted(database: Database, parent: Job, *, weights: str) -> TrainedNet:
    winner = next(child for child in children.of(database, parent.id) if (child.files or {}).get("weights") == weights)
    found = Tried.of_document(winner.result or {})
    assert found.best_epoch is not None, "it was trained"
    assert found.precision is not None, "and reported how"
    assert found.batch_size is not None, "in every release that promotes"
    return TrainedNet(
        weights,
        children.metrics(database, parent.id)[winner.id],
        best_epoch=found.best_epoch,
        precision=found.precision,
        batch_size=found.batch_size,
    )


def _trained(database: Database, blobs: Blobs, job: Job) -> TrainedNet:
    """Return the trained net that a compression takes up, and how it was trained."""
    version = _version(database, job)
    report = json.loads(reports.read(blobs, reports.digest_of(jobs.maker(database, version.id)), reports.JSON))
    known = {name: version.card["training"][name] for name in ("best_epoch", "precision", "batch_size")}
    assert version.weights_blob is not None, "a version without weights is not compressed"
    return TrainedNet(version.weights_blob, report["history"], **known)


def _variants(database: Database, job: Job) -> tuple[StoredVariant, ...]:
    """Return the files that a measuring job measures."""
    return tuple(
        StoredVariant(variant.name, variant.blob, variant.card)
        for variant in _version(database, job).variants
        if not VariantCard.of_document(variant.card).standalone
    )


def _predicting(database: Database, job: Job) -> dict[str, Any]:
    """Return what a job predicts with; where it has no dataset, it brings its examples."""
    version, files = _version(database, job), job.files or {}
    prediction = Prediction(job.parameters or {}, version.card, version.auxiliary_blobs, dict(version.defaults.items()))
    own = {}
    if job.dataset_id is None:
        content, manifest = files[dataset_predictions.CONTENT], files[dataset_predictions.MANIFEST]
        own = {"dataset": AssignedDataset("", "", [], content, manifest)}
    return {"variants": _variants(database, job), "prediction": prediction} | own


def _version(database: Database, job: Job) -> registry.Version:
    assert job.parameters is not None, "the job takes a version up"
    return registry.version(database, job.parameters["model"], job.parameters["version"], owner=job.owner)


def _taken_up(job: Job) -> str:
    assert job.parameters is not None, "the job takes a version up"
    return f"{job.parameters['model']}:{job.parameters['version']}"
