"""A whole job in one process, from an archive to a prediction: the store, the pipeline, and serving."""

import asyncio
import io
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from models_store.datasets import store as datasets
from models_store.datasets.store import Dataset
from models_store.jobs.kinds import USUAL_S
from models_store.models.registry import Served
from models_store.settings import Settings
from models_store.spec.train import TrainSpec, resolve
from models_store.storage.blobs import Blobs
from service.inference.sessions import Sessions
from tests.models_store.dataset_stores import Files, a_store
from workers.process.assignment import AssignedDataset, Assignment
from workers.process.checkpoints import JobCheckpoints
from workers.process.reporting import PipeReporter
from workers.stories import supervised


def a_picture(seed: int, *, mean: tuple[float, float, float]) -> bytes:
    """Return a noisy PNG of 32 x 32 pixels."""
    noise = np.random.default_rng(seed).normal(0, 20, (32, 32, 3))
    buffer = io.BytesIO()
    Image.fromarray((noise + np.array(mean)).clip(0, 255).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


class Story:
    """A dataset, and what a job made of it."""

    def __init__(self, dataset: Dataset, blobs: Blobs, settings: Settings, reports: list[dict[str, Any]]) -> None:
        self.dataset, self.blobs, self.settings, self.reports = dataset, blobs, settings, reports

    @property
    def result(self) -> dict[str, Any]:
        return next(report["data"] for report in self.reports if report["kind"] == "result")

    @property
    def history(self) -> list[dict[str, Any]]:
        rows = (report["data"] for report in self.reports if report["kind"] == "metrics")
        return [row for row in rows if "epoch" in row]

    def variant(self, name: str) -> dict[str, Any]:
        return next(variant for variant in self.result["variants"] if variant["name"] == name)

    def predict(self, images: list[bytes], *, variant: str = "fp32") -> list[dict[str, Any]]:
        card, made = self.result["card"], self.variant(variant)
        served = Served("ada", "leaves", 1, variant, made["blob"], card, made["card"])

        async def ask() -> list[dict[str, Any]]:
            sessions = Sessions(self.blobs, settings=self.settings)
            answer, loaded = await sessions.predict(served, list(images), pointers=["body"] * len(images))
            await sessions.close()
            rows = answer.probabilities_BK
            return [loaded.target.prediction(row, loaded.labels, top_k=None) for row in rows]

        return asyncio.run(ask())


def tell_story(files: Files, *, folder: Path, blobs: Blobs, settings: Settings, **spec: Any) -> Story:
    """Ingest an archive and do the job that a spec describes, as a trainer does."""
    torch.set_num_threads(1)
    changed = settings.model_copy(update={"measure_s": 0.1})
    dataset = a_store(changed, blobs, folder=folder).ingest(files)
    document = {
        "name": "leaves",
        "dataset": dataset.id,
        "input": {"size": 32},
        "backbone": {"kind": "small_cnn"},
        "augmentation": [],
        "regularizers": [],
        "optimizer": {"kind": "adamw", "lr": 3e-3},
        "training": {"epochs": 12, "batch_size": 16, "precision": "fp32"},
        "evaluation": {"bootstrap_samples": 100},
        "compression": {"quantize": [{"kind": "static_int8"}]},
    }
    resolved, _ = resolve(TrainSpec.model_validate(document | spec), datasets.facts(dataset))
    staging = folder / "staging"
    staging.mkdir()
    assignment = Assignment(
        job_id="job_1",
        spec=resolved.model_dump(mode="json"),
        spec_sha256="5" * 64,
        dataset=AssignedDataset(
            dataset.id, dataset.digest, dataset.card["classes"], dataset.content_blob, dataset.manifest_blob
        ),
        checkpoints=[],
        staging=str(staging),
        facts=asdict(datasets.facts(dataset)),
    )
    reports = folder / "reports"
    descriptor = os.open(reports, os.O_WRONLY | os.O_CREAT)
    reporter = PipeReporter(descriptor, plan=list(USUAL_S.items()))
    checkpoints = JobCheckpoints(
        blobs, job_id="job_1", names=[], staging=staging, keep=lambda _: None, log=reporter.log
    )
    supervised.run(supervised.Work(assignment, changed, resolved, torch.device("cpu"), blobs, reporter, checkpoints))
    os.close(descriptor)
    return Story(dataset, blobs, changed, [json.loads(line) for line in reports.read_text().splitlines()])
