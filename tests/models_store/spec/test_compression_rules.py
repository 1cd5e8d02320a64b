"""What a compression is warned of, and what it is refused, beside its backbone and its dataset."""

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from models_store.tasks.image.contract import IMAGE
from models_store.tasks.image.facts import ImageFacts
from models_store.tasks.image.spec import ImageSpec
from tests.samples import DATASET_ID

FACTS = ImageFacts(train_count=4000, counts={"blue": 2000, "red": 2000}, validation_count=500)
CUT = {"kind": "structured"}


def warnings(compression: dict[str, Any] | None, facts: ImageFacts = FACTS, *, backbone: str = "resnet18") -> list[str]:
    """Return what a spec is warned of on account of its compression."""
    plain = {"name": "leaves", "dataset": DATASET_ID, "backbone": {"kind": backbone}}
    without = IMAGE.resolve(ImageSpec.model_validate(plain | {"compression": None}), facts)[1]
    found = IMAGE.resolve(ImageSpec.model_validate(plain | {"compression": compression}), facts)[1]
    return [each for each in found if each not in without]


@pytest.mark.parametrize(
    ("compression", "beginning"),
    [
        ({"quantize": [{"kind": "static_int8", "percentile": 99.9}]}, "static_int8: `percentile`"),
        ({"prune": {**CUT, "steps": 4}, "recover": {"epochs": 3}, "quantize": []}, "prune.steps 4 share 3 epochs"),
        ({"prune": {**CUT, "round_to": 4}, "quantize": []}, "prune.round_to 4: an unaligned"),
        ({"prune": {**CUT, "round_to": 12}, "quantize": []}, "prune.round_to 12: an unaligned"),
        ({"max_accuracy_drop": 0.6}, "max_accuracy_drop 0.6: a variant that is mostly wrong"),
        ({"recover": {"epochs": 5}, "quantize": []}, "recover without `prune`: nothing is pruned"),
        ({"quantize": [{"kind": "dynamic_int8", "layers": "all"}]}, "dynamic_int8 with `layers: all`"),
        ({"prune": {"kind": "n_m"}, "quantize": []}, "n_m saves size only"),
        ({"quantize": [{"kind": "fp16"}, {"kind": "bf16"}]}, "fp16 and bf16: made for GPUs"),
        (
            {"quantize": [{"kind": "static_int8", "calibration_images": 9000}]},
            "calibration_images is reduced to the 4000",
        ),
    ],
)
def test_what_is_hardly_meant_is_warned_of(compression: dict[str, Any], beginning: str) -> None:
    (warning,) = warnings(compression)

    assert warning.startswith(beginning)


def test_a_single_epoch_and_a_single_image_are_counted_in_the_singular() -> None:
    asked: dict[str, Any] = {"prune": {**CUT, "steps": 2}, "recover": {"epochs": 1}}

    found = "; ".join(warnings(asked, replace(FACTS, validation_count=1)))

    assert "prune.steps 2 share 1 epoch of recovery: " in found
    assert "on only 1 validation image: " in found


def test_steps_that_nothing_recovers_between_are_warned_of() -> None:
    asked: dict[str, Any] = {"prune": {**CUT, "steps": 2}, "recover": None, "quantize": []}
    spec = {"name": "a", "dataset": DATASET_ID, "backbone": {"kind": "small_cnn"}, "compression": asked}

    _, found = IMAGE.resolve(ImageSpec.model_validate(spec), FACTS)

    assert any(warning.startswith("prune.steps 2 with `recover: null`") for warning in found)


@pytest.mark.parametrize(
    "compression",
    [
        {},
        None,
        {"prune": {**CUT, "steps": 3}, "recover": {"epochs": 3}},
        {"quantize": [{"kind": "static_int8", "calibration": "percentile", "percentile": 99.9}]},
        {"quantize": [{"kind": "dynamic_int8"}]},
    ],
)
def test_what_is_usual_is_not_warned_of(compression: dict[str, Any] | None) -> None:
    assert warnings(compression) == []


def test_dynamic_quantisation_of_a_transformer_is_not_warned_of() -> None:
    asked = {"quantize": [{"kind": "dynamic_int8", "layers": "all"}]}

    assert warnings(asked, backbone="vit_b_16") == []


@pytest.mark.parametrize(("asked", "count"), [({}, 1), ({"quantize": []}, 0), ({"max_accuracy_drop": 0.3}, 0)])
def test_a_gate_of_few_images_is_warned_of(asked: dict[str, Any], count: int) -> None:
    found = warnings(asked, replace(FACTS, validation_count=60))

    assert len([each for each in found if "on only 60 validation images" in each]) == count


@pytest.mark.parametrize(
    ("most", "images", "is_warned"), [(0.02, 192, True), (0.02, 193, False), (0.01, 384, True), (0.01, 385, False)]
)
def test_images_that_can_accept_no_form_are_warned_of_with_how_many_could(
    most: float, images: int, *, is_warned: bool
) -> None:
    found = warnings({"max_accuracy_drop": most}, replace(FACTS, validation_count=images))

    assert bool(found) is is_warned
    if is_warned:
        assert f"on only {images} validation images: not enough images to decide" in found[0]
        assert found[0].endswith(f"at least {images + 1} validation images are needed")


def test_a_gate_of_nothing_is_warned_of() -> None:
    (warning,) = warnings({"max_accuracy_drop": 0})

    assert warning.startswith("max_accuracy_drop 0: no number of images can prove that nothing is lost")


def test_scales_of_a_norm_that_is_not_there_rank_nothing() -> None:
    spec = {"name": "a", "dataset": DATASET_ID, "backbone": {"kind": "small_cnn", "batch_norm": False}}
    asked = {"prune": {**CUT, "importance": "bn_scale"}}

    with pytest.raises(ValidationError) as caught:
        ImageSpec.model_validate(spec | {"compression": asked})

    (error,) = caught.value.errors()
    assert error["ctx"]["pointer"] == "compression/prune/importance"
    assert error["ctx"]["allowed"] == ["l2", "l1", "taylor", "random"]
