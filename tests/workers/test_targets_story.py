"""Labels and numbers from an archive to a prediction: the store, the whole pipeline, and serving, in one process."""

import asyncio
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from models_store import datasets
from models_store.blobs import Blobs
from models_store.datasets import Dataset
from models_store.registry import Served
from models_store.settings import Settings
from models_store.spec.train import TrainSpec, resolve
from service.inference.sessions import Sessions
from service.predictions import prediction
from tests.models_store.dataset_stores import Files, a_store
from workers import pipeline
from workers.assignment import Assignment
from workers.checkpoints import JobCheckpoints
from workers.reporting import PipeReporter
from workers.trainer import SHARES

pytestmark = pytest.mark.slow  # the exporter, the quantiser and a measuring process, each twice

COLOURS = ("red", "green", "blue")
IMAGES = 96


def a_picture(seed: int, *, mean: tuple[float, float, float]) -> bytes:
    """Return a noisy PNG of 32 x 32 pixels."""
    noise = np.random.default_rng(seed).normal(0, 20, (32, 32, 3))
    buffer = io.BytesIO()
    Image.fromarray((noise + np.array(mean)).clip(0, 255).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


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
            return [prediction(row, loaded.labels, task=loaded.task, top_k=None) for row in rows]

        return asyncio.run(ask())


@pytest.fixture
def tell(tmp_path: Path, blobs: Blobs, settings: Settings) -> Callable[..., Story]:
    """Return what ingests an archive and does the job that a spec describes, as a trainer does."""

    def told(files: Files, **spec: Any) -> Story:
        torch.set_num_threads(1)
        changed = settings.model_copy(update={"measure_s": 0.1})
        dataset = a_store(changed, blobs, folder=tmp_path).ingest(files)
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
        staging = tmp_path / "staging"
        staging.mkdir()
        assignment = Assignment(
            job_id="job_1",
            spec=resolved.model_dump(mode="json"),
            spec_sha256="5" * 64,
            dataset_id=dataset.id,
            dataset_digest=dataset.digest,
            classes=dataset.card["classes"],
            images_blob=dataset.images_blob,
            manifest_blob=dataset.manifest_blob,
            checkpoints=[],
            staging=str(staging),
        )
        reports = tmp_path / "reports"
        descriptor = os.open(reports, os.O_WRONLY | os.O_CREAT)
        reporter = PipeReporter(descriptor, plan=list(SHARES.items()))
        checkpoints = JobCheckpoints(
            blobs, job_id="job_1", names=[], staging=staging, keep=lambda _: None, log=reporter.log
        )
        pipeline.run(pipeline.Work(assignment, changed, resolved, torch.device("cpu"), blobs, reporter, checkpoints))
        os.close(descriptor)
        return Story(dataset, blobs, changed, [json.loads(line) for line in reports.read_text().splitlines()])

    return told


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
    assert story.variant("any-size")["card"]["agreement"] == 1.0
    assert {"val_loss", "val_accuracy", "val_balanced_accuracy"} <= story.history[-1].keys()


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
    assert story.variant("any-size")["card"]["agreement"] == 1.0
