from typing import Any

import pytest
from pydantic import ValidationError

from models_store.spec.explain import explain
from models_store.tasks.image.contract import IMAGE
from models_store.tasks.image.facts import ImageFacts
from models_store.tasks.image.spec import ImageSpec
from tests.samples import DATASET_ID

FACTS = ImageFacts(train_count=80, counts={"blue": 40, "red": 40}, median_side=32)


def document(**asked: Any) -> dict[str, Any]:
    return {"name": "leaves", "dataset": DATASET_ID} | asked


def faults(**asked: Any) -> list[dict[str, Any]]:
    given = document(**asked)
    with pytest.raises(ValidationError) as caught:
        ImageSpec.model_validate(given)
    return explain(caught.value, ImageSpec, given)


@pytest.mark.parametrize(
    ("part", "pointer", "allowed"),
    [
        ({"kind": "random_crop", "padding": 0.6}, "/augmentation/0/padding", {"maximum": 0.5}),
        ({"kind": "random_resized_crop", "scale": [0.5]}, "/augmentation/0/scale", {"minItems": 2}),
        ({"kind": "random_resized_crop", "scale": [0.0, 1.0]}, "/augmentation/0/scale/0", {"minimum": 0.01}),
        ({"kind": "random_resized_crop", "ratio": [2.0, 0.5]}, "/augmentation/0/ratio", {"maxItems": 2}),
        ({"kind": "random_scale", "minimum": 2.0, "maximum": 1.0}, "/augmentation/0/minimum", {"maximum": 1.0}),
        ({"kind": "random_perspective", "distortion": 0.9}, "/augmentation/0/distortion", {"maximum": 0.65}),
        ({"kind": "random_posterize", "bits": 0}, "/augmentation/0/bits", {"minimum": 1}),
        ({"kind": "rand_augment", "magnitude": 31}, "/augmentation/0/magnitude", {"maximum": 30}),
        ({"kind": "aug_mix", "severity": 0}, "/augmentation/0/severity", {"minimum": 1}),
        ({"kind": "mixup", "alpha": 0}, "/augmentation/0/alpha", {"exclusiveMinimum": 0}),
    ],
)
def test_what_is_out_of_range_is_refused_with_its_place_and_what_is_allowed(
    part: dict[str, Any], pointer: str, allowed: dict[str, float]
) -> None:
    (fault,) = faults(augmentation=[part])

    assert fault["pointer"] == pointer
    assert allowed.items() <= fault["allowed"].items()


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_mixing_is_for_training_and_refused_in_test_time_augmentation(kind: str) -> None:
    testing = {"augmentation": [{"kind": "random_flip"}, {"kind": kind}]}

    (fault,) = faults(evaluation={"test_time_augmentation": testing})

    assert fault["pointer"] == "/evaluation/test_time_augmentation/augmentation/1"
    assert kind in fault["message"]


@pytest.mark.parametrize(
    ("asked", "kind"),
    [
        ({"input": {"channels": 1}, "augmentation": [{"kind": "channel_shuffle"}]}, "channel_shuffle"),
        ({"training": {"batch_size": 1}, "augmentation": [{"kind": "mixup"}]}, "mixup"),
    ],
)
def test_what_would_do_nothing_is_warned_about(asked: dict[str, Any], kind: str) -> None:
    _, warnings = IMAGE.resolve(ImageSpec.model_validate(document(**asked)), FACTS)

    assert any(kind in warning and "has no effect" in warning for warning in warnings)
