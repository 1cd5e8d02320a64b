"""What the training of a job is made of: weights to start from, a probe of the head, a teacher; and taking it up."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from models_store.jobs.kinds import USUAL_S
from models_store.settings import Settings
from models_store.spec.train import ResolvedSpec
from models_store.storage.blobs import Blobs
from tests.samples import DATASET_ID, a_train_spec
from tests.workers.small_runs import CLASSES, same_weights, some_arrays
from workers.process.assignment import AssignedDataset, Assignment
from workers.process.checkpoints import JobCheckpoints
from workers.process.progress import Drained
from workers.process.reporting import PipeReporter
from workers.stories import supervised
from workers.tasks.image import net as task
from workers.tasks.image.net import Classifier
from workers.training.loop import Trained

NET = {"kind": "small_cnn", "widths": [4, 6], "dense_size": None}
RUN = {"epochs": 2, "batch_size": 8, "precision": "fp32"}


class StopsAfter(PipeReporter):
    """Asks to stop when it was asked so many times whether to."""

    asked = 0
    stop_after = 0

    def stop_requested(self) -> bool:
        self.asked += 1
        return self.asked == self.stop_after


class Desk:
    """Where one job's training is done, over and over from its checkpoints."""

    def __init__(self, folder: Path, blobs: Blobs, settings: Settings) -> None:
        self.folder, self.blobs, self.settings = folder, blobs, settings
        self.kept: list[str] = []
        self.reports: list[dict[str, Any]] = []

    def learn(self, spec: ResolvedSpec, *, stop_after: int = 0, **given: Any) -> Trained[Classifier]:
        assignment = Assignment(
            job_id="job_1",
            spec=spec.model_dump(mode="json"),
            spec_sha256="5" * 64,
            dataset=AssignedDataset(DATASET_ID, "d" * 64, CLASSES, "1" * 64, "2" * 64),
            checkpoints=[],
            staging=str(self.folder),
            **given,
        )
        told = self.folder / "reports"
        descriptor = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        reporter = StopsAfter(descriptor, plan=list(USUAL_S.items()))
        reporter.stop_after = stop_after
        checkpoints = JobCheckpoints(
            self.blobs,
            job_id="job_1",
            names=self.kept[::-1],
            staging=self.folder,
            keep=self.kept.append,
            log=reporter.log,
        )
        work = supervised.Work(assignment, self.settings, spec, torch.device("cpu"), self.blobs, reporter, checkpoints)
        try:
            return supervised.learn(work, some_arrays())
        finally:
            os.close(descriptor)
            self.reports = [json.loads(line) for line in told.read_text().splitlines()]

    def said(self, kind: str) -> list[dict[str, Any]]:
        return [report["data"] for report in self.reports if report["kind"] == kind]


@pytest.fixture
def desk(tmp_path: Path, blobs: Blobs, settings: Settings) -> Callable[[str], Desk]:
    """Return what makes an empty desk."""

    def made(name: str) -> Desk:
        folder = tmp_path / name
        folder.mkdir()
        return Desk(folder, blobs, settings.model_copy(update={"checkpoint_s": 1e9}))

    return made


@pytest.fixture
def another_net(tmp_path: Path, blobs: Blobs) -> tuple[dict[str, Any], str]:
    """Return the spec of a net that was there before, and the blob of its weights."""
    spec = a_train_spec(backbone=NET, seed=7)
    net = task.build(spec, class_count=len(CLASSES), weights_dir=tmp_path)
    return spec.model_dump(mode="json"), blobs.put(task.save(net, tmp_path / "net.safetensors")).sha256


def a_probing_spec() -> ResolvedSpec:
    return a_train_spec(
        backbone=NET | {"weights": "oak:1", "freeze": "none"},
        transfer={"probe_epochs": 3},
        augmentation=[{"kind": "random_flip"}],
        regularizers=[{"kind": "l2_sp"}],
        training=RUN,
    )


def test_the_head_is_probed_on_features_before_everything_trains(
    desk: Callable[[str], Desk], another_net: tuple[dict[str, Any], str]
) -> None:
    table = desk("one")

    trained = table.learn(a_probing_spec(), initial_weights=another_net[1])

    rows, progress = table.said("metrics"), [each["phase_fraction"] for each in table.said("progress")]
    assert [row.get("probe_epoch") for row in rows] == [1, 2, 3, None, None]
    assert [row.get("epoch") for row in rows] == [None, None, None, 1, 2]
    alone = min(row["probe_val_loss"] for row in rows if "probe_epoch" in row)
    after = min(row["val_loss"] for row in rows if "epoch" in row)
    assert len(trained.history) == (3 if alone < after else 2)
    assert progress == sorted(progress)


def test_a_head_that_validates_better_alone_is_what_is_kept(
    desk: Callable[[str], Desk], another_net: tuple[dict[str, Any], str]
) -> None:
    spec = a_probing_spec()
    ruinous = spec.model_copy(update={"optimizer": spec.optimizer.model_copy(update={"lr": 3.0})})
    table = desk("ruined")

    trained = table.learn(ruinous, initial_weights=another_net[1])

    after = min(row["val_loss"] for row in table.said("metrics") if "epoch" in row)
    assert trained.history[trained.best_epoch - 1]["val_loss"] < after
    assert [row["epoch"] for row in trained.history] == [1, 2, 3]
    assert any("the head alone" in line["text"] for line in table.said("log"))


@pytest.mark.parametrize("stop_after", [9, 20], ids=["within the probe", "after the probe"])
def test_a_probed_training_is_taken_up_bit_by_bit(
    desk: Callable[[str], Desk], another_net: tuple[dict[str, Any], str], stop_after: int
) -> None:
    spec = a_probing_spec()
    whole = desk("whole").learn(spec, initial_weights=another_net[1])
    table = desk("stopped")
    with pytest.raises(Drained):
        table.learn(spec, initial_weights=another_net[1], stop_after=stop_after)

    resumed = table.learn(spec, initial_weights=another_net[1])

    assert same_weights(resumed.classifier, whole.classifier)
    assert resumed.history == whole.history


def test_a_teacher_is_built_from_what_the_supervisor_hands_over(
    desk: Callable[[str], Desk], another_net: tuple[dict[str, Any], str]
) -> None:
    spec, weights = another_net
    asked = {"backbone": NET, "training": RUN}
    alone = desk("alone").learn(a_train_spec(**asked))

    taught = desk("taught").learn(
        a_train_spec(**asked, distillation={"teacher": "oak:1"}), teacher={"spec": spec, "weights": weights}
    )

    assert not same_weights(taught.classifier, alone.classifier)
