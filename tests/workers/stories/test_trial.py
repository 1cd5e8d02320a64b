"""What a search's or a cross-validation's child does with a trained net: folds, figures, answers, weights."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from models_store.datasets.manifest import ManifestEntry
from models_store.targets import LABELS, NUMBER, Target
from tests.samples import a_train_spec
from tests.workers.job_folders import JobFolder, data_of
from tests.workers.training_runs import CLASSES, run, same_weights, some_arrays
from workers.evaluation import figures
from workers.process.assignment import Fold, TrainedNet
from workers.stages.data import hold_out
from workers.stages.evaluate import answer
from workers.stages.publish import hand_over
from workers.stages.train import take_up

NET = {"kind": "small_cnn", "widths": [4, 6], "dense_size": None}
RUN = {"epochs": 2, "batch_size": 8, "precision": "fp32", "monitor": "val_accuracy"}


SPEC = a_train_spec(backbone=NET, training=RUN)


@pytest.fixture
def job(tmp_path: Path) -> JobFolder:
    return JobFolder(tmp_path)


def test_a_trial_hands_over_its_figure_and_an_answer_for_each_image(job: JobFolder) -> None:
    arrays = some_arrays(test=10)
    trained = run(SPEC, arrays)
    work = job.work(SPEC, kind="trial")

    told = hand_over(work, trained, answer(work, data_of(arrays), trained.learner)).as_document()

    best = trained.history[trained.best_epoch - 1]
    assert (told["result"]["value"], told["result"]["epochs"]) == (best["val_accuracy"], 2)
    assert told["result"]["metrics"]["val"]["accuracy"] == pytest.approx(best["val_accuracy"])
    assert told["files"].keys() == {"answers"}
    with np.load(job.blobs.local(told["files"]["answers"])) as kept:
        assert list(kept["test_rows"]) == list(range(45, 55))
        assert np.array_equal(kept["test_targets"], arrays.targets[45:])
        right = kept["test_outputs"].argmax(axis=1) == kept["test_targets"]
        assert np.allclose(kept["test_outputs"].sum(axis=1), 1, atol=1e-5)
    assert right.mean() == pytest.approx(told["result"]["metrics"]["test"]["accuracy"])


def test_a_repeat_tells_every_headline_figure(job: JobFolder) -> None:
    arrays = some_arrays(test=10)

    answered = answer(job.work(SPEC, kind="repeat"), data_of(arrays), run(SPEC, arrays).learner)

    assert {"accuracy", "balanced_accuracy", "f1_macro", "roc_auc_macro", "loss"} <= answered.metrics["test"].keys()


@pytest.mark.parametrize(
    ("target", "outputs", "targets", "expected"),
    [
        (LABELS, [[0.9, 0.1], [0.2, 0.7]], [[1.0, 0.0], [1.0, 1.0]], "accuracy"),
        (NUMBER, [[1.0], [2.0], [4.0]], [[1.0], [2.0], [3.0]], "mae"),
    ],
)
def test_labels_and_numbers_have_figures_of_their_own(
    target: Target, outputs: list[list[float]], targets: list[list[float]], expected: str
) -> None:
    found = figures.headline(target, np.array(outputs), np.array(targets), CLASSES)

    assert expected in found
    assert all(isinstance(value, float) for value in found.values())


def test_a_folds_held_out_images_are_its_own_and_the_test_split_is_answered_by_nobody(job: JobFolder) -> None:
    entries = [ManifestEntry("f.png", "m", "blue", "train", f"{row:064d}") for row in range(60)]
    data = data_of(some_arrays(train=36, val=14, test=10), entries=entries)
    fold = Fold(index=1, folds=5, seed=0, grouped=False)

    held = hold_out(data, fold, task=SPEC.task)
    answered = answer(job.work(SPEC, kind="fold", fold=fold), held, run(SPEC, held.examples).learner)

    assert answered.metrics.keys() == {"val", "held_out"}
    assert len(answered.arrays["test_rows"]) == 10
    assert answered.arrays["test_rows"].max() < 50
    splits = [set(held.examples.split(split)) for split in ("train", "val", "test")]
    assert set.union(*splits) == set(range(50))


def test_copies_of_an_image_are_held_out_together() -> None:
    entries = [ManifestEntry(f"{row}.png", "m", "blue", "train", f"{row // 3:064d}") for row in range(30)]
    data = data_of(some_arrays(train=24, val=6), entries=entries)

    held = hold_out(data, Fold(index=0, folds=3, seed=0, grouped=False), task=SPEC.task)

    parts = {entry.sha256: set() for entry in entries}
    for entry, split in zip(entries, held.examples.splits_N, strict=True):
        parts[entry.sha256].add(str(split))
    assert [contents for contents, splits in parts.items() if len(splits) > 1] == []


def test_weights_that_may_be_promoted_are_taken_up_as_they_were(job: JobFolder) -> None:
    arrays = some_arrays(test=10)
    trained = run(SPEC, arrays)
    work = job.work(SPEC, kind="trial", keeps_weights=True)
    told = hand_over(work, trained, answer(work, data_of(arrays), trained.learner)).as_document()
    known = {name: told["result"][name] for name in ("best_epoch", "precision", "batch_size")}

    taken = take_up(work, arrays, TrainedNet(told["files"]["weights"], trained.history, **known))

    assert same_weights(taken.learner, trained.learner)
    assert (taken.history, taken.best_epoch) == (trained.history, trained.best_epoch)
    names = load_file(job.blobs.local(told["files"]["weights"]))
    assert all(name.startswith(("backbone.", "head.")) for name in names)
