"""A whole job in one process, from an archive to a prediction: the store, the pipeline, and serving."""

import asyncio
import io
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from models_store.datasets import store as datasets
from models_store.datasets.store import Dataset
from models_store.models.served import Served
from models_store.settings import Settings
from models_store.storage.blobs import Blobs
from models_store.tasks import rooms
from models_store.tasks.image.contract import IMAGE
from models_store.tasks.image.spec import ImageSpec
from service.inference.engine import Work
from service.inference.golden import Checked, check
from service.inference.sessions import Sessions
from tests.models_store.datasets.dataset_stores import Files, a_store
from tests.workers.job_folders import JobFolder, assigned
from workers.stories import supervised


def a_picture(seed: int, *, mean: tuple[float, float, float]) -> bytes:
    """Return a noisy PNG of 32 x 32 pixels."""
    noise = np.random.default_rng(seed).normal(0, 20, (32, 32, 3))
    buffer = io.BytesIO()
    Image.fromarray((noise + np.array(mean)).clip(0, 255).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


class FinishedJob:
    """A dataset, and what a job made of it."""

    def __init__(
        self,
        dataset: Dataset,
        blobs: Blobs,
        settings: Settings,
        reports: list[dict[str, Any]],
        result: dict[str, Any],
    ) -> None:
        self.dataset, self.blobs, self.settings, self.reports, self.result = dataset, blobs, settings, reports, result

    @property
    def history(self) -> list[dict[str, Any]]:
        rows = (report["data"] for report in self.reports if report["kind"] == "metrics")
        return [row for row in rows if "epoch" in row]

    def variant(self, name: str) -> dict[str, Any]:
        return next(variant for variant in self.result["variants"] if variant["name"] == name)

    def served(self, variant: str) -> Served:
        card, made = self.result["card"], self.variant(variant)
        golden = self.result["golden_blob"]
        return Served("ada", "leaves", 1, variant, made["blob"], card, made["card"], {}, golden_blob=golden)

    def check(self, variant: str) -> Checked:
        """Check a file as the service does before an alias moves to it."""

        async def ask() -> Checked:
            sessions = Sessions(self.blobs, settings=self.settings)
            checked = await check(sessions, self.served(variant), blobs=self.blobs, settings=self.settings)
            await sessions.close()
            return checked

        return asyncio.run(ask())

    def predict(self, images: list[bytes], *, variant: str = "fp32") -> list[dict[str, Any]]:
        served = self.served(variant)
        card = served.card

        async def ask() -> list[dict[str, Any]]:
            sessions = Sessions(self.blobs, settings=self.settings)
            answer = await sessions.infer(served, Work(images, ["body"] * len(images)))
            await sessions.close()
            target = rooms.target_of(rooms.task_of(card))
            return [target.prediction(row, card["labels"], top_k=None) for row in answer.outputs]

        return asyncio.run(ask())


def finish_a_job(files: Files, *, folder: Path, blobs: Blobs, settings: Settings, **spec: Any) -> FinishedJob:
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
    resolved, _ = IMAGE.resolve(ImageSpec.model_validate(document | spec), datasets.facts(dataset))
    staging = folder / "staging"
    staging.mkdir()
    job = JobFolder(staging, dataset=assigned(dataset), blobs=blobs, settings=changed)
    with job.reporter() as reporter:
        result = supervised.run(job.work(resolved, reporter=reporter, facts=asdict(datasets.facts(dataset))))
    return FinishedJob(dataset, blobs, changed, job.reports, result.as_document())
