from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from models_store.tasks.image.spec import ResolvedImageSpec
from tests.samples import a_train_spec
from tests.workers.training_runs import CLASSES, CPU, Recorder, run, same_weights, some_arrays
from workers.tasks.image.net import Classifier
from workers.training import losses, targets
from workers.training.feeds import RawFeed
from workers.training.precision import Precision
from workers.training.step import Stepper

ARRAYS = some_arrays(train=24)
ROWS = np.array([0, 2, 3, 5, 8, 9, 11, 14, 16, 17, 19, 20, 22])
SGD = {"kind": "sgd", "lr": 1.0, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0}


def a_plain_classifier(spec: ResolvedImageSpec) -> Classifier:
    """Return a net without norms, whose gradients of a batch are the mean of its images'."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 5), nn.Tanh())
        return Classifier(
            backbone, nn.Linear(5, len(CLASSES)), mean=(0.5,) * 3, std=(0.5,) * 3, augmentation=spec.augmentation
        )


def a_stepper(*, part_size: int | None = None, training: dict[str, Any] | None = None, **changes: Any) -> Stepper:
    training = {"batch_size": 16, "precision": "fp32"} | (training or {})
    spec = a_train_spec(**{"optimizer": SGD, "training": training} | changes)
    classifier = a_plain_classifier(spec)
    classifier.train()
    aim = targets.build(spec.task, ARRAYS)
    counts_K = torch.tensor([18, 6])
    return Stepper(
        classifier,
        RawFeed(classifier, ARRAYS, device=CPU),
        spec=spec,
        targets=aim,
        loss=losses.build(spec.loss, counts_K=counts_K, classes=CLASSES, train_count=24),
        precision=Precision("fp32", CPU),
        device=CPU,
        part_size=part_size,
        distiller=None,
    )


def step_of(stepper: Stepper, *, rate: float = 1.0) -> torch.Tensor:
    """Take one step; return how far all weights moved, as one vector."""
    before = nn.utils.parameters_to_vector(stepper.weights).detach().clone()
    stepper.take(ROWS, rate=rate, seed=1)
    return nn.utils.parameters_to_vector(stepper.weights).detach() - before


@pytest.mark.parametrize("class_weights", [None, "balanced"])
@pytest.mark.parametrize("parts", [{"training": {"accumulate_steps": 4}}, {"part_size": 3}], ids=["asked", "to fit"])
def test_the_gradients_of_a_batch_in_parts_are_those_of_the_whole(
    parts: dict[str, Any], class_weights: str | None
) -> None:
    changes = {
        "loss": {"kind": "cross_entropy", "class_weights": class_weights},
        "regularizers": [{"kind": "l2", "strength": 0.1}, {"kind": "confidence_penalty"}],
    }

    whole, pieces = step_of(a_stepper(**changes)), step_of(a_stepper(**changes, **parts))

    assert torch.allclose(whole, pieces, atol=1e-6)


def test_the_sums_of_a_batch_in_parts_are_those_of_the_whole() -> None:
    whole, pieces = a_stepper(), a_stepper(training={"accumulate_steps": 4})

    assert torch.allclose(whole.take(ROWS, rate=1.0, seed=1), pieces.take(ROWS, rate=1.0, seed=1))


def test_each_part_draws_changes_of_its_own() -> None:
    flip = {"augmentation": [{"kind": "random_flip"}]}

    first, again = (step_of(a_stepper(training={"accumulate_steps": 2}, **flip)) for _ in range(2))

    assert torch.equal(first, again)


def test_a_clipped_step_is_no_longer_than_asked_and_keeps_its_direction() -> None:
    free, clipped = step_of(a_stepper()), step_of(a_stepper(training={"clip_grad_norm": 0.01}))

    assert clipped.norm() == pytest.approx(0.01, rel=1e-4)
    assert torch.allclose(clipped / clipped.norm(), free / free.norm(), atol=1e-4)


def test_a_step_clipped_by_value_moves_no_weight_further_than_asked() -> None:
    free, clipped = step_of(a_stepper()), step_of(a_stepper(training={"clip_grad_value": 0.01}))

    assert torch.allclose(clipped, free.clamp(-0.01, 0.01), atol=1e-7)


def test_decoupled_l2_shrinks_matrices_by_rate_times_strength() -> None:
    free, shrinking = a_stepper(), a_stepper(regularizers=[{"kind": "l2", "strength": 0.5, "decoupled": True}])
    start = {name: weight.detach().clone() for name, weight in free.net.named_parameters()}

    step_of(free, rate=0.1)
    step_of(shrinking, rate=0.1)

    plain = dict(free.net.named_parameters())
    for name, weight in shrinking.net.named_parameters():
        lost = 0.1 * 0.5 * start[name] if weight.ndim > 1 else torch.zeros_like(weight)
        assert torch.allclose(weight, plain[name] - lost, atol=1e-6), name


def test_no_unit_s_weights_are_above_the_limit_after_a_step() -> None:
    stepper = a_stepper(regularizers=[{"kind": "max_norm", "limit": 0.5}])

    step_of(stepper)

    norms = [weight.detach().norm(dim=1) for weight in stepper.weights if weight.ndim > 1]
    assert float(torch.cat(norms).max()) <= 0.5 + 1e-5
    assert float(torch.cat(norms).min()) < 0.5 - 1e-3


def test_rates_of_stages_and_head_scale_the_steps() -> None:
    plain, scaled = a_stepper(), a_stepper(transfer={"head_lr_scale": 3.0})

    moves = [
        {name: weight - start for (name, weight), start in zip(each.net.named_parameters(), starts, strict=True)}
        for each in (plain, scaled)
        for starts in [[weight.detach().clone() for weight in each.net.parameters()]]
        if step_of(each) is not None
    ]

    for name, move in moves[0].items():
        assert torch.allclose(moves[1][name], move * (3 if name.startswith("head") else 1), atol=1e-6), name


@pytest.mark.parametrize(
    "part",
    [
        {"kind": "elastic", "strength": 0.1},
        {"kind": "max_norm", "limit": 0.1},
        {"kind": "confidence_penalty", "strength": 1.0},
        {"kind": "l2", "decoupled": True, "strength": 1.0},
    ],
    ids=lambda part: part["kind"],
)
def test_a_regularizer_acts_on_a_run(part: dict[str, Any]) -> None:
    plain, regularized = a_train_spec(), a_train_spec(regularizers=[part])

    without = run(plain, some_arrays(), classifier=a_plain_classifier(plain))
    trained = run(regularized, some_arrays(), classifier=a_plain_classifier(regularized))

    assert not same_weights(trained.learner, without.learner)


def test_mixed_images_are_learned_with_mixed_targets() -> None:
    spec = a_train_spec(augmentation=[{"kind": "mixup"}], training={"epochs": 8, "batch_size": 8, "precision": "fp32"})
    classifier = a_plain_classifier(spec)
    seen: list[torch.Tensor] = []
    mix = classifier.mix

    def watched(inputs: torch.Tensor, targets_BK: torch.Tensor, **options: Any) -> tuple[torch.Tensor, torch.Tensor]:
        inputs, targets_BK = mix(inputs, targets_BK, **options)
        seen.append(targets_BK)
        return inputs, targets_BK

    classifier.mix = watched
    trained = run(spec, some_arrays(), classifier=classifier)

    assert torch.allclose(torch.cat(seen).sum(dim=1), torch.ones(len(torch.cat(seen))))
    assert bool(((torch.cat(seen) > 0.05) & (torch.cat(seen) < 0.95)).any())
    assert trained.history[-1]["val_loss"] < trained.history[0]["val_loss"]


def test_a_batch_of_all_images_takes_one_step_an_epoch() -> None:
    spec = a_train_spec(training={"epochs": 3, "batch_size": "full", "precision": "fp32"})
    reporter = Recorder()

    trained = run(spec, some_arrays(), classifier=a_plain_classifier(spec), reporter=reporter)

    assert trained.batch_size == 33
    assert any("32 examples at once fit" in line for line in reporter.lines)


def test_a_batch_found_by_a_probe_is_told() -> None:
    spec = a_train_spec(training={"epochs": 1, "batch_size": "auto", "precision": "fp32"})

    trained = run(spec, some_arrays(train=70), classifier=a_plain_classifier(spec))

    assert trained.batch_size == 64
