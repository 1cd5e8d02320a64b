import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models_store.tasks.image.facts import ImageFacts
from models_store.tasks.image.spec import ResolvedImageSpec
from tests.samples import a_train_spec
from tests.workers.training_runs import (
    CPU,
    DiskCheckpoints,
    Recorder,
    a_classifier,
    a_small_classifier,
    run,
    same_weights,
    some_arrays,
    ticking,
)
from workers.process.progress import Drained
from workers.tasks.image.net import Classifier
from workers.training import targets as aims
from workers.training.derived_specs import recovery
from workers.training.examples import Examples
from workers.training.failures import BatchTooSmall, NothingToTrainOn, TrainingDiverged
from workers.training.feeds import RawFeed
from workers.training.loop import Trained
from workers.training.precision import PrecisionUnsupported

EVERYTHING = {
    "augmentation": [
        {"kind": "random_crop"},
        {"kind": "random_rotation"},
        {"kind": "random_flip"},
        {"kind": "color_jitter", "hue": 0.1},
    ],
    "regularizers": [{"kind": "dropout"}, {"kind": "l1"}, {"kind": "l2"}],
    "head": {"hidden_sizes": [8], "dropout": 0.3},
    "schedule": {"kind": "cosine", "warmup_epochs": 0.5},
    "training": {"epochs": 3, "batch_size": 8, "precision": "fp32"},
}


def run_with_stops(spec: ResolvedImageSpec, arrays: Examples, *, stops: tuple[int, ...]) -> Trained:
    checkpoints = DiskCheckpoints()
    for stop in stops:
        with pytest.raises(Drained):
            run(spec, arrays, reporter=Recorder(stop_after=stop), checkpoints=checkpoints)
    return run(spec, arrays, checkpoints=checkpoints)


@pytest.mark.parametrize("stops", [(1, 1), (2, 5), (4, 3), (6, 1)], ids=str)
def test_a_run_interrupted_twice_ends_with_the_very_weights_of_one_that_was_not(stops: tuple[int, ...]) -> None:
    spec, arrays = a_train_spec(**EVERYTHING), some_arrays()
    whole = run(spec, arrays)

    resumed = run_with_stops(spec, arrays, stops=stops)

    assert same_weights(resumed.learner, whole.learner)
    assert resumed.history == whole.history
    assert resumed.resumed_from == divmod(
        sum(stops), 4
    )  # 33 images in batches of 8: the single leftover joins the last


def test_a_frozen_run_resumes_to_the_very_weights_too() -> None:
    spec, arrays = a_frozen_spec(), some_arrays()
    whole = run(spec, arrays, classifier=a_frozen_classifier(spec))
    checkpoints = DiskCheckpoints()
    with pytest.raises(Drained):
        run(
            spec,
            arrays,
            classifier=a_frozen_classifier(spec),
            reporter=Recorder(stop_after=5),
            checkpoints=checkpoints,
        )

    resumed = run(spec, arrays, classifier=a_frozen_classifier(spec), checkpoints=checkpoints)

    assert same_weights(resumed.learner, whole.learner)


def test_another_seed_ends_with_other_weights() -> None:
    arrays = some_arrays()

    first, second = (run(a_train_spec(**EVERYTHING, seed=seed), arrays) for seed in (0, 1))

    assert not same_weights(first.learner, second.learner)


def test_a_finished_run_is_taken_up_without_training_again() -> None:
    spec, arrays, checkpoints = a_train_spec(), some_arrays(), DiskCheckpoints()
    first = run(spec, arrays, checkpoints=checkpoints)
    reporter = Recorder()

    second = run(spec, arrays, reporter=reporter, checkpoints=checkpoints)

    assert same_weights(first.learner, second.learner)
    assert reporter.rows == []


def test_a_checkpoint_of_another_spec_is_not_taken_up() -> None:
    arrays, checkpoints, reporter = some_arrays(), DiskCheckpoints(), Recorder()
    run(a_train_spec(seed=1), arrays, checkpoints=checkpoints)

    trained = run(a_train_spec(seed=2), arrays, reporter=reporter, checkpoints=checkpoints)

    assert trained.resumed_from is None
    assert any("another spec" in line for line in reporter.lines)


def test_checkpoints_are_saved_as_often_as_asked() -> None:
    checkpoints = DiskCheckpoints()

    run(a_train_spec(), some_arrays(), checkpoints=checkpoints, checkpoint_s=0)

    assert len(checkpoints.saved) >= 2


def test_the_loop_learns_and_loads_the_best_weights() -> None:
    training = {"epochs": 6, "batch_size": 8, "precision": "fp32", "monitor": "val_accuracy"}
    spec, arrays = a_train_spec(training=training), some_arrays()

    trained = run(spec, arrays)

    best = trained.history[trained.best_epoch - 1]
    rows = arrays.split("val")
    with torch.no_grad():
        logits_BK = trained.learner(RawFeed(trained.learner, arrays, device=CPU).batch(rows, None))
    accuracy = (logits_BK.argmax(1).numpy() == arrays.targets[rows]).mean()
    assert best["val_accuracy"] == max(row["val_accuracy"] for row in trained.history)
    assert accuracy == best["val_accuracy"]
    assert accuracy > 0.9


def test_bf16_trains_on_a_cpu() -> None:
    spec = a_train_spec(training={"epochs": 1, "batch_size": 8, "precision": "bf16"})

    trained = run(spec, some_arrays())

    assert trained.precision == "bf16"
    assert math.isfinite(trained.history[0]["val_loss"])


class StopsAfterAnEpoch(Recorder):
    """A reporter that asks to stop at the first step of the second epoch, however often a probe asks before."""

    def stop_requested(self) -> bool:
        return bool(self.rows)


def test_auto_precision_probes_and_a_resumed_run_keeps_what_was_chosen() -> None:
    spec = a_train_spec(training={"epochs": 30, "batch_size": 8, "precision": "auto"})
    arrays, checkpoints = some_arrays(train=32, val=4), DiskCheckpoints()
    with pytest.raises(Drained):
        run(spec, arrays, reporter=StopsAfterAnEpoch(), checkpoints=checkpoints)
    chosen = checkpoints.load()["precision"]

    trained = run(spec, arrays, checkpoints=checkpoints)

    assert trained.precision == chosen


def test_fp16_without_cuda_is_refused_with_what_is_allowed() -> None:
    spec = a_train_spec(training={"epochs": 1, "batch_size": 8, "precision": "fp16"})

    with pytest.raises(PrecisionUnsupported) as caught:
        run(spec, some_arrays())

    assert caught.value.errors[0].allowed == ["auto", "fp32", "bf16"]


def test_early_stopping_ends_a_run_that_gets_no_better() -> None:
    stopping = {"patience": 2, "min_delta": 1.0}
    spec = a_train_spec(training={"epochs": 50, "batch_size": 16, "precision": "fp32", "early_stopping": stopping})

    trained = run(spec, some_arrays())

    assert len(trained.history) == 3


def test_a_diverging_run_fails_with_what_to_do() -> None:
    spec = a_train_spec(
        optimizer={"kind": "sgd", "lr": 10.0, "momentum": 0.99},
        regularizers=[{"kind": "l2", "strength": 1.0}],
        training={"epochs": 200, "batch_size": 8, "precision": "fp32"},
        schedule={"kind": "constant"},
    )
    checkpoints = DiskCheckpoints()

    with pytest.raises(TrainingDiverged, match=r"optimizer\.lr"):
        run(spec, some_arrays(), checkpoints=checkpoints, checkpoint_s=0)

    assert math.isfinite(float(checkpoints.load()["position"]["sums"][0]))


def test_an_empty_train_split_is_told() -> None:
    with pytest.raises(NothingToTrainOn):
        run(a_train_spec(), some_arrays(train=0))


def test_a_run_without_a_validation_split_keeps_the_last_weights() -> None:
    trained = run(a_train_spec(), some_arrays(val=0))

    assert trained.best_epoch == 2
    assert "val_loss" not in trained.history[0]


def test_a_single_image_that_batch_norm_can_not_train_on_is_told() -> None:
    spec = a_train_spec(
        backbone={"kind": "resnet18", "weights": None, "freeze": "none"},
        training={"epochs": 1, "batch_size": 1, "precision": "fp32"},
    )

    with pytest.raises(BatchTooSmall, match="batch_size"):
        run(spec, some_arrays(train=2, val=0))


def test_progress_never_goes_back_and_ends_at_one() -> None:
    reporter = Recorder()

    run(a_train_spec(), some_arrays(), reporter=reporter)

    assert reporter.fractions == sorted(reporter.fractions)
    assert reporter.fractions[-1] == 1.0
    assert {"epoch", "epochs", "loss", "lr", "images_per_s"} <= set(reporter.facts[0])


class Averages(nn.Module):
    """A backbone to freeze: the mean of each channel of each quarter, through batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return self.pool(self.norm(images_BCHW))


def a_frozen_spec(**changes: Any) -> ResolvedImageSpec:
    return a_train_spec(
        backbone={"kind": "resnet18", "freeze": "backbone"},
        training={"epochs": 3, "batch_size": 8, "precision": "fp32"},
        **changes,
    )


def a_frozen_classifier(spec: ResolvedImageSpec) -> Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Classifier(Averages(), nn.Linear(12, 2), mean=(0.5,) * 3, std=(0.5,) * 3, augmentation=spec.augmentation)


@pytest.mark.parametrize("augmentation", [[], [{"kind": "random_flip"}]], ids=["features computed once", "augmented"])
def test_a_frozen_backbone_stays_as_it_is_while_the_head_learns(augmentation: list[dict[str, str]]) -> None:
    spec = a_frozen_spec(augmentation=augmentation)
    classifier = a_frozen_classifier(spec)
    before = {name: value.clone() for name, value in classifier.state_dict().items()}

    run(spec, some_arrays(), classifier=classifier)

    after = classifier.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before if name.startswith("backbone"))
    assert not torch.equal(after["head.weight"], before["head.weight"])


def test_recovery_trains_everything_at_a_tenth_of_the_learning_rate() -> None:
    spec = a_frozen_spec()
    classifier = a_frozen_classifier(spec)
    before = classifier.backbone.norm.weight.detach().clone()

    following = recovery(spec, epochs=1)
    trained = run(following, some_arrays(), classifier=classifier)

    assert following.optimizer.lr == pytest.approx(spec.optimizer.lr / 10)
    assert len(trained.history) == 1
    assert not torch.equal(classifier.backbone.norm.weight, before)


def test_training_on_grey_images_works() -> None:
    trained = run(a_train_spec(input={"size": 28, "channels": 1}), some_arrays(size=28, channels=1))

    assert len(trained.learner.mean) == 1
    assert np.isfinite(trained.history[-1]["train_loss"])


def test_building_a_net_twice_gives_the_same_weights_and_leaves_the_global_generator_alone() -> None:
    spec = a_train_spec()
    torch.manual_seed(7)
    state = torch.get_rng_state()

    first, second = a_classifier(spec), a_classifier(spec)

    assert same_weights(first, second)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_clock_decides_when_progress_is_told() -> None:
    seldom, often = Recorder(), Recorder()

    run(a_train_spec(), some_arrays(), reporter=seldom, clock=ticking(0.0))
    run(a_train_spec(), some_arrays(), reporter=often, clock=ticking(1.0))

    assert len(seldom.fractions) < len(often.fractions)


def test_each_epoch_tells_what_a_run_may_be_steered_by() -> None:
    reporter = Recorder()

    run(a_train_spec(), some_arrays(), reporter=reporter)

    measured = {"train_loss", "train_accuracy", "val_loss", "val_accuracy"}
    measured |= {"val_balanced_loss", "val_balanced_accuracy"}
    assert all(set(row) == {"epoch", "lr"} | measured for row in reporter.rows)


@pytest.mark.parametrize("monitor", ["val_balanced_accuracy", "val_balanced_loss"])
def test_a_balanced_metric_can_pick_the_best_epoch(monitor: str) -> None:
    training = {"epochs": 6, "batch_size": 8, "precision": "fp32", "monitor": monitor}

    trained = run(a_train_spec(training=training), some_arrays())

    reached = [row[monitor] for row in trained.history]
    assert reached[trained.best_epoch - 1] == (min if monitor == "val_balanced_loss" else max)(reached)


def test_early_stopping_may_watch_another_metric_than_the_one_that_picks_the_best() -> None:
    stopping = {"metric": "val_loss", "patience": 3, "min_delta": 100.0}
    training = {"epochs": 20, "batch_size": 16, "precision": "fp32", "early_stopping": stopping}
    reporter = Recorder()

    trained = run(a_train_spec(training=training), some_arrays(), reporter=reporter)

    assert len(trained.history) == 4
    assert any("without a better val_loss" in line for line in reporter.lines)


@pytest.mark.parametrize("target", ["labels", "number"])
def test_labels_and_numbers_are_learned_by_the_same_loop(target: str) -> None:
    images = some_arrays(train=48)
    brightness_N = images.inputs["images"].mean(axis=(1, 2, 3)).astype(np.float32)
    targets = {
        "labels": np.stack([images.targets, 1 - images.targets], axis=1).astype(np.float32),
        "number": 1000 + brightness_N[:, None],
    }[target]
    facts = ImageFacts(48, {"blue": 24, "red": 24} if target == "labels" else {}, target=target, median_side=32)
    task = {"labels": "multilabel_classification", "number": "image_regression"}[target]
    training = {"epochs": 12, "batch_size": 8, "precision": "fp32"}
    optimizer = {"kind": "adamw", "lr": 0.03}
    spec = a_train_spec(facts=facts, task=task, training=training, optimizer=optimizer)
    arrays = Examples(
        {"images": images.inputs["images"]}, targets, images.splits_N, images.classes if target == "labels" else []
    )
    classifier = a_small_classifier(spec)
    if target == "number":
        classifier.head = nn.Sequential(nn.Linear(6, 1), aims.build(task, arrays).last_layer())

    trained = run(spec, arrays, classifier=classifier)

    assert max(row["val_accuracy"] for row in trained.history) > 0.8
    assert trained.history[-1]["train_loss"] < trained.history[0]["train_loss"]


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_everything_at_once_is_learned_in_half_precision_on_a_gpu(precision: str) -> None:
    spec = a_train_spec(
        **EVERYTHING
        | {
            "regularizers": [{"kind": "sam"}, {"kind": "ema"}, {"kind": "max_norm"}, {"kind": "l2", "decoupled": True}],
            "training": {"epochs": 6, "batch_size": 8, "precision": precision}
            | {"clip_grad_norm": 1.0, "accumulate_steps": 2},
        }
    )
    checkpoints = DiskCheckpoints()
    with pytest.raises(Drained):
        run(spec, some_arrays(), reporter=Recorder(stop_after=7), checkpoints=checkpoints, device=torch.device("cuda"))

    trained = run(spec, some_arrays(), checkpoints=checkpoints, device=torch.device("cuda"))

    assert trained.precision == precision
    assert trained.history[-1]["train_loss"] < trained.history[0]["train_loss"]


@pytest.mark.gpu
def test_a_probe_finds_a_batch_that_fits_on_a_gpu() -> None:
    spec = a_train_spec(training={"epochs": 1, "batch_size": "auto", "precision": "fp32"})

    assert run(spec, some_arrays(train=300), device=torch.device("cuda")).batch_size == 256
