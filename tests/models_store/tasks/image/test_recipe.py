"""What is decided when a spec leaves it out."""

import json
from typing import Any

import pytest

from models_store.tasks.image.backbones.backbone import KINDS
from models_store.tasks.image.contract import IMAGE
from models_store.tasks.image.facts import ImageFacts
from models_store.tasks.image.spec import ImageSpec, ResolvedImageSpec
from tests.models_store.spec.documents import ASKED, CLASSES, DATA


def chosen(data: str, **asked: Any) -> ResolvedImageSpec:
    return IMAGE.resolve(ImageSpec.model_validate(ASKED | asked), DATA[data])[0]


def images_per_run(spec: ResolvedImageSpec, data: str) -> int:
    return spec.training.epochs * DATA[data].train_count


@pytest.mark.parametrize("data", DATA)
def test_everything_left_out_resolves_without_a_doubt_and_survives_json(data: str) -> None:
    spec, doubts = IMAGE.resolve(ImageSpec.model_validate(ASKED), DATA[data])

    assert doubts == []
    assert ResolvedImageSpec.model_validate(json.loads(spec.model_dump_json())) == spec


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("kind", KINDS)
def test_every_backbone_has_a_recipe_for_every_kind_of_data(kind: str, data: str) -> None:
    spec = chosen(data, backbone={"kind": kind})

    assert spec.backbone.kind == kind
    assert spec.backbone.freeze is not None
    assert spec.input.size is not None
    assert spec.input.size >= spec.backbone.smallest_size
    assert spec.input.size % spec.backbone.size_step == 0


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("weights", ["imagenet", None])
def test_from_scratch_everything_trains_and_nothing_is_probed(weights: str | None, data: str) -> None:
    spec = chosen(data, backbone={"kind": "efficientnet_lite0", "weights": weights})

    if weights is None:
        assert (spec.backbone.freeze, spec.transfer.probe_epochs) == ("none", 0)
    else:
        assert spec.backbone.freeze == "backbone" or spec.transfer.probe_epochs > 0


def test_only_what_somebody_asked_for_is_doubted() -> None:
    asked = {"compression": {"quantize": [{"kind": "static_int8", "calibration_images": 500}]}}

    assert IMAGE.resolve(ImageSpec.model_validate(ASKED | asked), DATA["few photographs"])[1] == [
        "calibration_images is reduced to the 240 available training images"
    ]


def test_few_photographs_train_a_head_on_features_computed_once() -> None:
    spec = chosen("few photographs")

    assert (spec.backbone.kind, spec.backbone.freeze, spec.input.size) == ("efficientnet_lite2", "backbone", 260)
    assert spec.augmentation == []  # features are computed once only then


def test_many_photographs_are_looked_at_fewer_times_than_few_that_are_fine_tuned_on() -> None:
    fewer = chosen("grey photographs", backbone={"kind": "efficientnet_lite2", "freeze": "none"})
    many = chosen("many photographs", backbone={"kind": "efficientnet_lite2", "freeze": "none"})

    assert many.training.epochs < fewer.training.epochs


@pytest.mark.parametrize("grey", [True, False])
@pytest.mark.parametrize("side", [28, 300])
def test_small_datasets_get_steps_enough_and_never_end_in_thousands_of_epochs(side: int, *, grey: bool) -> None:
    facts = ImageFacts(60, dict.fromkeys(CLASSES, 20), median_side=side, grey=grey)

    training = IMAGE.resolve(ImageSpec.model_validate(ASKED), facts)[0].training

    assert isinstance(training.batch_size, int)
    assert training.epochs * -(-60 // training.batch_size) >= 300
    assert training.epochs <= 200


def test_small_colour_images_are_enlarged_to_what_pretrained_filters_see() -> None:
    spec = chosen("small colour images")

    assert (spec.backbone.weights, spec.backbone.freeze, spec.input.size) == ("imagenet", "none", 96)


def test_small_grey_images_train_a_small_net_at_their_own_size() -> None:
    spec = chosen("small grey images")

    assert (spec.backbone.kind, spec.backbone.weights, spec.input.size) == ("small_cnn", None, 28)


@pytest.mark.parametrize("data", ["small colour images", "small grey images", "many photographs"])
def test_no_default_changes_an_image_into_one_with_a_black_border(data: str) -> None:
    spec = chosen(data, backbone={"kind": "small_cnn"})

    beyond = {"random_rotation", "random_translation", "random_scale", "random_shear", "random_perspective"}
    assert spec.augmentation
    assert not beyond & {part.kind for part in spec.augmentation}
    assert all(getattr(part, "padding", 0) == 0 for part in spec.augmentation)


@pytest.mark.parametrize(
    ("data", "asked", "monitor"),
    [
        ("small grey images", {}, "val_balanced_loss"),
        ("small grey images", {"loss": {"kind": "cross_entropy"}}, "val_loss"),
        ("small grey images", {"loss": {"kind": "focal", "class_weights": "balanced"}}, "val_balanced_loss"),
        (
            "small grey images",
            {"loss": {"kind": "cross_entropy"}, "training": {"sampling": "balanced"}},
            "val_balanced_loss",
        ),
        ("few photographs", {}, "val_loss"),
        ("few photographs", {"training": {"sampling": "balanced"}}, "val_balanced_loss"),
        ("labels", {}, "val_loss"),
        ("labels", {"loss": {"kind": "binary_cross_entropy", "class_weights": "balanced"}}, "val_balanced_loss"),
        ("numbers", {}, "val_loss"),
        ("small colour images", {}, "val_accuracy"),
        ("small grey images", {"training": {"monitor": "val_accuracy"}}, "val_accuracy"),
    ],
)
def test_what_picks_the_best_epoch_counts_classes_as_the_training_does(
    data: str, asked: dict[str, Any], monitor: str
) -> None:
    assert chosen(data, **asked).training.monitor == monitor


@pytest.mark.parametrize(("counts", "weights"), [((1_214, 3_494), "balanced"), ((500, 600), None), ((0, 600), None)])
def test_the_loss_weighs_classes_when_one_is_much_rarer(counts: tuple[int, int], weights: str | None) -> None:
    facts = ImageFacts(sum(counts), dict(zip(("normal", "ill"), counts, strict=True)), median_side=28, grey=True)

    spec, _ = IMAGE.resolve(ImageSpec.model_validate(ASKED), facts)

    assert spec.loss.model_dump()["class_weights"] == weights


GIVEN: dict[str, Any] = {
    "transfer": {"head_lr_scale": 2.0},
    "augmentation": [{"kind": "random_flip", "direction": "vertical", "probability": 0.1}],
    "regularizers": [{"kind": "l1", "strength": 0.5}],
    "loss": {"kind": "focal", "gamma": 1.0},
    "optimizer": {"kind": "sgd", "lr": 0.5},
    "schedule": {"kind": "linear"},
    "training": {"epochs": 3, "batch_size": 7, "monitor": "val_accuracy"},
    "input": {"size": 64},
    "backbone": {"kind": "efficientnet_lite0", "freeze": "until:stem"},
}


@pytest.mark.parametrize("data", ["few photographs", "small colour images", "small grey images"])
@pytest.mark.parametrize("name", GIVEN)
def test_what_the_spec_says_stays_as_it_is(name: str, data: str) -> None:
    document = chosen(data, **{name: GIVEN[name]}).model_dump()[name]

    given = GIVEN[name]
    pairs = zip(given, document, strict=True) if isinstance(given, list) else [(given, document)]
    assert all(found[key] == value for part, found in pairs for key, value in part.items())


@pytest.mark.parametrize(
    "asked",
    [
        {"augmentation": [{"kind": "random_flip"}]},
        {"regularizers": [{"kind": "l2_sp"}]},
        {"transfer": {"layer_decay": 0.8}},
        {"distillation": {"teacher": "leaves:1", "features_weight": 1.0}},
    ],
)
def test_what_only_acts_on_a_backbone_that_trains_lets_it_train(asked: dict[str, Any]) -> None:
    assert chosen("few photographs").backbone.freeze == "backbone"

    assert chosen("few photographs", **asked).backbone.freeze != "backbone"


@pytest.mark.parametrize(
    "asked",
    [
        {"regularizers": [{"kind": "l2_sp"}]},
        {"regularizers": [{"kind": "drop_path"}]},
        {"transfer": {"probe_epochs": 2}},
        {"transfer": {"unfreeze_every_epochs": 1}},
        {"transfer": {"layer_decay": 0.8}},
    ],
)
def test_what_a_small_net_has_not_brings_a_pretrained_one_with_branches(asked: dict[str, Any]) -> None:
    spec, doubts = IMAGE.resolve(ImageSpec.model_validate(ASKED | asked), DATA["small grey images"])

    assert (spec.backbone.weights, spec.backbone.has_drop_path, spec.backbone.freeze) == ("imagenet", True, "none")
    assert doubts == []


@pytest.mark.parametrize(
    ("train_count", "parts", "batch_size"), [(240, 64, 64), (240, 24, 48), (50, 20, 40), (20, 8, 16), (240, 4, 32)]
)
def test_a_batch_that_is_left_out_falls_into_the_parts_that_are_asked_for(
    train_count: int, parts: int, batch_size: int
) -> None:
    facts = ImageFacts(train_count, {"ant": train_count}, median_side=300)

    spec, _ = IMAGE.resolve(ImageSpec.model_validate(ASKED | {"training": {"accumulate_steps": parts}}), facts)

    assert spec.training.batch_size == batch_size


@pytest.mark.parametrize("data", ["few photographs", "small colour images", "small grey images"])
def test_an_optimizer_that_averages_by_itself_gets_no_second_average(data: str) -> None:
    spec = chosen(data, optimizer={"kind": "schedule_free_adamw"})

    assert "ema" not in {part.kind for part in spec.regularizers}
    assert spec.schedule.kind == "constant"


@pytest.mark.parametrize(
    ("data", "most"), [("small colour images", 150_000), ("many photographs", 50_000), ("small grey images", 600_000)]
)
def test_a_run_sees_no_more_images_than_two_cores_manage_in_minutes(data: str, most: int) -> None:
    spec = chosen(data)

    assert spec.backbone.freeze == "backbone" or images_per_run(spec, data) <= most
