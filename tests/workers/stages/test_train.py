"""What the training of a job is made of: weights to start from, a probe of the head, a teacher; and taking it up."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models_store.settings import Settings
from models_store.storage.blobs import Blobs
from models_store.tasks.image.spec import ResolvedImageSpec
from tests.samples import a_train_spec
from tests.workers.job_folders import JobFolder
from tests.workers.training_runs import CLASSES, same_weights, some_arrays
from workers.process.assignment import TeacherNet
from workers.process.progress import Drained
from workers.stages.train import train
from workers.tasks.image import net as task
from workers.training.learner import save
from workers.training.loop import Trained

NET = {"kind": "small_cnn", "widths": [4, 6], "dense_size": None}
RUN = {"epochs": 2, "batch_size": 8, "precision": "fp32"}


class TrainingFolder(JobFolder):
    """A job's folder, in which its training is done."""

    def learn(self, spec: ResolvedImageSpec, *, stop_after: int = 0, **given: Any) -> Trained:
        with self.reporter(stop_after=stop_after) as reporter:
            return train(self.work(spec, reporter=reporter, **given), some_arrays())


@pytest.fixture
def job(tmp_path: Path, blobs: Blobs, settings: Settings) -> Callable[[str], TrainingFolder]:
    """Return what makes a job's empty folder."""

    def made(name: str) -> TrainingFolder:
        folder = tmp_path / name
        folder.mkdir()
        return TrainingFolder(folder, blobs=blobs, settings=settings.model_copy(update={"checkpoint_s": 1e9}))

    return made


@pytest.fixture
def another_net(tmp_path: Path, blobs: Blobs) -> tuple[dict[str, Any], str]:
    """Return the spec of a net that was there before, and the blob of its weights."""
    spec = a_train_spec(backbone=NET, seed=7)
    net = task.build(spec, class_count=len(CLASSES), weights_dir=tmp_path)
    return spec.model_dump(mode="json"), blobs.put(save(net, tmp_path / "net.safetensors")).sha256


def a_probing_spec() -> ResolvedImageSpec:
    return a_train_spec(
        backbone=NET | {"weights": "oak:1", "freeze": "none"},
        transfer={"probe_epochs": 3},
        augmentation=[{"kind": "random_flip"}],
        regularizers=[{"kind": "l2_sp"}],
        training=RUN,
    )


def test_the_head_is_probed_on_features_before_everything_trains(
    job: Callable[[str], TrainingFolder], another_net: tuple[dict[str, Any], str]
) -> None:
    folder = job("one")

    trained = folder.learn(a_probing_spec(), initial_weights=another_net[1])

    rows, progress = folder.reported("metrics"), [each["phase_fraction"] for each in folder.reported("progress")]
    assert [row.get("probe_epoch") for row in rows] == [1, 2, 3, None, None]
    assert [row.get("epoch") for row in rows] == [None, None, None, 1, 2]
    alone = min(row["probe_val_loss"] for row in rows if "probe_epoch" in row)
    after = min(row["val_loss"] for row in rows if "epoch" in row)
    assert len(trained.history) == (3 if alone < after else 2)
    assert progress == sorted(progress)


def test_a_head_that_validates_better_alone_is_what_is_kept(
    job: Callable[[str], TrainingFolder], another_net: tuple[dict[str, Any], str]
) -> None:
    spec = a_probing_spec()
    ruinous = spec.model_copy(update={"optimizer": spec.optimizer.model_copy(update={"lr": 3.0})})
    folder = job("ruined")

    trained = folder.learn(ruinous, initial_weights=another_net[1])

    after = min(row["val_loss"] for row in folder.reported("metrics") if "epoch" in row)
    assert trained.history[trained.best_epoch - 1]["val_loss"] < after
    assert [row["epoch"] for row in trained.history] == [1, 2, 3]
    assert any("the head alone" in line["text"] for line in folder.reported("log"))


@pytest.mark.parametrize("stop_after", [9, 20], ids=["within the probe", "after the probe"])
def test_a_probed_training_is_taken_up_bit_by_bit(
    job: Callable[[str], TrainingFolder], another_net: tuple[dict[str, Any], str], stop_after: int
) -> None:
    spec = a_probing_spec()
    whole = job("whole").learn(spec, initial_weights=another_net[1])
    folder = job("stopped")
    with pytest.raises(Drained):
        folder.learn(spec, initial_weights=another_net[1], stop_after=stop_after)

    resumed = folder.learn(spec, initial_weights=another_net[1])

    assert same_weights(resumed.learner, whole.learner)
    assert resumed.history == whole.history


def test_a_teacher_is_built_from_what_the_supervisor_hands_over(
    job: Callable[[str], TrainingFolder], another_net: tuple[dict[str, Any], str]
) -> None:
    spec, weights = another_net
    asked = {"backbone": NET, "training": RUN}
    alone = job("alone").learn(a_train_spec(**asked))

    taught = job("taught").learn(
        a_train_spec(**asked, distillation={"teacher": "oak:1"}), teacher=TeacherNet(weights, spec)
    )

    assert not same_weights(taught.learner, alone.learner)
