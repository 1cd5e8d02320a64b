from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models_store.spec.transfer import Transfer
from models_store.tasks.image.spec import ResolvedImageSpec
from tests.samples import a_train_spec
from tests.workers.training_runs import CLASSES, Blocks, Recorder, a_small_classifier, pretrained, run, some_arrays
from workers.tasks.image.net import Classifier
from workers.training.derived_specs import probing, recovery
from workers.training.transfer import let_train, scale_of


def a_spec(*, freeze: str = "none", epochs: int = 1, **changes: Any) -> ResolvedImageSpec:
    training = {"epochs": epochs, "batch_size": 8, "precision": "fp32"}
    backbone = {"kind": "resnet18", "weights": "imagenet", "freeze": "none"}
    return pretrained(a_train_spec(backbone=backbone, training=training, **changes), freeze=freeze)


def trained_stages(classifier: Classifier) -> set[str]:
    return {name.split(".")[0] for name, weight in classifier.backbone.named_parameters() if weight.requires_grad}


@pytest.mark.parametrize(
    ("policy", "stages"),
    [
        ("none", {"stem", "body", "neck"}),
        ("backbone", set()),
        ("until:stem", {"body", "neck"}),
        ("until:body", {"neck"}),
        ("until:neck", set()),
    ],
)
def test_a_policy_lets_the_later_stages_train(policy: str, stages: set[str]) -> None:
    classifier = a_small_classifier(a_spec())

    classifier.freeze(policy)

    assert trained_stages(classifier) == stages
    assert classifier.frozen == (not stages)
    assert all(weight.requires_grad for weight in classifier.head.parameters())


def test_without_norms_all_other_weights_train() -> None:
    classifier = a_small_classifier(a_spec())

    classifier.freeze("norms")

    kept = {name for name, weight in classifier.named_parameters() if not weight.requires_grad}
    assert kept == {f"backbone.{norm}.{name}" for norm in ("stem.1", "body.1", "neck.1") for name in ("weight", "bias")}


@pytest.mark.parametrize("freeze", ["backbone", "until:body", "norms"])
def test_what_is_frozen_keeps_its_weights_and_statistics_bit_by_bit(freeze: str) -> None:
    spec = a_spec(freeze=freeze, augmentation=[{"kind": "random_flip"}])
    classifier = a_small_classifier(spec)
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    norms = ("backbone.stem.1", "backbone.body.1", "backbone.neck.1")
    kept = {"backbone": ("backbone.",), "until:body": ("backbone.stem", "backbone.body"), "norms": norms}[freeze]

    run(spec, some_arrays(), classifier=classifier)

    changed = {name for name, value in classifier.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {name for name in before if not name.startswith(kept)}


def test_stages_thaw_one_by_one_from_the_last_to_the_first() -> None:
    spec = a_spec(transfer={"unfreeze_every_epochs": 2})
    classifier = a_small_classifier(spec)

    seen = []
    for epoch in range(7):
        let_train(classifier, spec, epoch=epoch)
        seen.append(trained_stages(classifier))

    assert seen == [set(), set(), {"neck"}, {"neck"}, *([{"neck", "body"}] * 2), {"neck", "body", "stem"}]


def test_thawing_stops_at_what_the_policy_keeps() -> None:
    spec = a_spec(freeze="until:stem", transfer={"unfreeze_every_epochs": 1})
    classifier = a_small_classifier(spec)

    let_train(classifier, spec, epoch=9)

    assert trained_stages(classifier) == {"body", "neck"}


class Witness(Recorder):
    """Remembers the first convolution at the end of each epoch."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier
        self.weights: list[Tensor] = [self.now()]

    def now(self) -> Tensor:
        return self.classifier.backbone.stem[0].weight.detach().clone()

    def metrics(self, **values: float) -> None:
        super().metrics(**values)
        self.weights.append(self.now())


def test_a_run_that_unfreezes_moves_the_first_stage_last() -> None:
    spec = a_spec(epochs=4, transfer={"unfreeze_every_epochs": 1})
    classifier = a_small_classifier(spec)
    witness = Witness(classifier)

    run(spec, some_arrays(), classifier=classifier, reporter=witness)

    moved = [
        not torch.equal(before, after) for before, after in zip(witness.weights, witness.weights[1:], strict=False)
    ]
    assert moved == [False, False, False, True]


def test_each_stage_learns_at_a_share_of_the_rate_of_the_next_and_the_head_at_its_own() -> None:
    scale = scale_of(Transfer(layer_decay=0.5, head_lr_scale=10), a_small_classifier(a_spec()))

    names = ["backbone.stem.0.weight", "backbone.body.1.bias", "backbone.neck.0.weight", "head.0.weight"]
    assert [scale(name) for name in names] == [0.25, 0.5, 1.0, 10]


def test_stages_that_a_backbone_names_go_before_its_children() -> None:
    stages = (("early", ("stem.", "body.0")), ("late", ("body.1", "neck")))
    learner = Classifier(Blocks(), nn.Linear(6, len(CLASSES)), mean=(0.5,) * 3, std=(0.5,) * 3, stages=stages)

    learner.freeze("until:early")

    kept = {name for name, weight in learner.backbone.named_parameters() if not weight.requires_grad}
    assert kept == {"stem.0.weight", "stem.1.weight", "stem.1.bias", "body.0.weight"}


def test_probing_trains_the_head_alone_on_features_computed_once() -> None:
    spec = a_spec(
        transfer={"probe_epochs": 2, "layer_decay": 0.5, "head_lr_scale": 3.0},
        augmentation=[{"kind": "random_flip"}],
        regularizers=[{"kind": "l2_sp"}, {"kind": "ema"}, {"kind": "swa"}][:2],
    )
    classifier = a_small_classifier(spec)
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    probe = probing(spec)
    classifier.augmentation = ()
    reporter = Recorder()

    trained = run(probe, some_arrays(), classifier=classifier, reporter=reporter)

    changed = {name for name, value in classifier.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"head.0.weight", "head.0.bias"}
    assert len(trained.history) == 2
    assert probe.transfer.head_lr_scale == 3.0
    assert [part.kind for part in probe.regularizers] == ["ema"]
    assert any(facts.get("step") == "features" for facts in reporter.facts)


def test_recovery_leaves_behind_what_held_the_net_to_its_start() -> None:
    spec = a_spec(
        freeze="backbone",
        transfer={"layer_decay": 0.5},
        regularizers=[{"kind": "l2_sp"}, {"kind": "dropout"}],
        distillation={"teacher": "oak"},
    )

    after = recovery(spec, epochs=3)

    assert (after.backbone.freeze, after.transfer, after.distillation) == ("none", Transfer(), None)
    assert [part.kind for part in after.regularizers] == ["dropout"]
