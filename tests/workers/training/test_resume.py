"""Whatever a run is asked for, one that stopped and was taken up ends with the very weights of one that did not."""

from typing import Any

import pytest

from models_store.tasks.image.spec import ResolvedImageSpec
from tests.samples import a_train_spec
from tests.workers.training_runs import (
    DiskCheckpoints,
    a_small_classifier,
    pretrained,
    run,
    same_weights,
    some_arrays,
    ticking,
)
from workers.training.loop import Trained

TECHNIQUES: dict[str, dict[str, Any]] = {
    "ema": {"regularizers": [{"kind": "ema", "decay": 0.8}]},
    "swa": {"regularizers": [{"kind": "swa", "start": 0.3}]},
    "sam": {"regularizers": [{"kind": "sam"}, {"kind": "dropout"}]},
    "adaptive sam with ema": {"regularizers": [{"kind": "sam", "adaptive": True}, {"kind": "ema"}]},
    "penalties": {
        "regularizers": [
            {"kind": "l1"},
            {"kind": "l2", "decoupled": True},
            {"kind": "elastic"},
            {"kind": "l2_sp"},
            {"kind": "max_norm", "limit": 0.5},
            {"kind": "confidence_penalty"},
        ]
    },
    "clipping": {"training": {"clip_grad_norm": 0.1, "clip_grad_value": 0.01}},
    "accumulation": {"training": {"accumulate_steps": 3}, "augmentation": [{"kind": "random_flip"}]},
    "balanced": {"training": {"sampling": "balanced"}},
    "mixing": {"augmentation": [{"kind": "random_flip"}, {"kind": "mixup"}, {"kind": "cutmix"}]},
    "schedule-free": {"optimizer": {"kind": "schedule_free_adamw"}},
    "muon": {"optimizer": {"kind": "muon"}},
    "plateau": {"schedule": {"kind": "reduce_on_plateau", "patience": 1}, "training": {"monitor": "val_loss"}},
    "rates": {"transfer": {"layer_decay": 0.5, "head_lr_scale": 5.0}},
    "unfreezing": {"transfer": {"unfreeze_every_epochs": 1}, "regularizers": [{"kind": "ema"}]},
    "distillation": {
        "distillation": {"teacher": "oak", "features_weight": 1.0},
        "augmentation": [{"kind": "random_flip"}],
    },
    "distillation of remembered answers": {"distillation": {"teacher": "oak"}},
}


def a_spec(*, freeze: str = "none", training: dict[str, Any] | None = None, **changes: Any) -> ResolvedImageSpec:
    training = {"epochs": 3, "batch_size": 8, "precision": "fp32"} | (training or {})
    backbone = {"kind": "resnet18", "weights": "imagenet", "freeze": "none"}
    return pretrained(a_train_spec(backbone=backbone, training=training, **changes), freeze=freeze)


def one_run(spec: ResolvedImageSpec, checkpoints: DiskCheckpoints) -> Trained:
    """Run to the end, with a checkpoint after every step and every epoch."""
    return run(
        spec,
        some_arrays(),
        classifier=a_small_classifier(spec),
        teacher=a_small_classifier(spec, seed=1) if spec.distillation else None,
        checkpoints=checkpoints,
        clock=ticking(0.0),
        checkpoint_s=0,
    )


def check_that_every_state_leads_to_the_same_end(spec: ResolvedImageSpec, *, places: list[tuple[int, int]]) -> None:
    checkpoints = DiskCheckpoints()
    whole = one_run(spec, checkpoints)

    resumed = {}
    for saved in checkpoints.saved[:-1]:
        twin = DiskCheckpoints()
        twin.saved.append(saved)
        position = twin.load()["position"]
        place = (position["epoch"], position["step"])
        if place in places:
            resumed[place] = one_run(spec, twin)

    assert list(resumed) == places
    for place, trained in resumed.items():
        assert same_weights(trained.learner, whole.learner), place
        assert trained.history == whole.history, place
        assert trained.resumed_from == place
        assert trained.batch_size == whole.batch_size


@pytest.mark.parametrize("changes", TECHNIQUES.values(), ids=TECHNIQUES.keys())
def test_each_technique_is_taken_up_bit_by_bit(changes: dict[str, Any]) -> None:
    check_that_every_state_leads_to_the_same_end(a_spec(**changes), places=[(0, 3), (2, 0), (2, 1)])


@pytest.mark.parametrize("freeze", ["norms", "until:body", "backbone"])
def test_each_policy_of_freezing_is_taken_up_bit_by_bit(freeze: str) -> None:
    check_that_every_state_leads_to_the_same_end(a_spec(freeze=freeze), places=[(0, 3), (2, 0)])


@pytest.mark.parametrize("size", ["auto", "full"])
def test_a_batch_size_that_was_found_out_is_kept(size: str) -> None:
    check_that_every_state_leads_to_the_same_end(a_spec(training={"batch_size": size}), places=[(1, 0)])
