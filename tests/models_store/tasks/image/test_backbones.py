from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from models_store.tasks.image.backbones.backbone import KINDS, Backbone
from models_store.tasks.image.backbones.network import Network
from tests.samples import a_train_spec


def a_part(kind: str, **fields: Any) -> Network:
    part: Network = TypeAdapter(Backbone).validate_python({"kind": kind} | fields)
    return part


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_says_what_it_was_made_for(kind: str) -> None:
    part = a_part(kind)

    assert len(part.stages) == len(set(part.stages)) > 1
    assert 16 <= part.smallest_size <= part.input_size
    assert part.input_size % part.size_step == part.smallest_size % part.size_step == 0
    assert all(0 <= value <= 1 for value in (*part.mean, *part.std))


@pytest.mark.parametrize(
    ("changes", "pointer", "allowed"),
    [
        (
            {"backbone": {"kind": "resnet18", "freeze": "until:layer9"}},
            "backbone/freeze",
            ["until:stem", "until:layer1", "until:layer2", "until:layer3", "until:layer4"],
        ),
        ({"backbone": {"kind": "resnet18", "weights": None, "freeze": "norms"}}, "backbone/freeze", ["none"]),
        ({"backbone": {"kind": "vgg16"}, "input": {"size": 16}}, "input/size", {"minimum": 32}),
        ({"backbone": {"kind": "small_cnn", "widths": [4] * 6}, "input": {"size": 32}}, "input/size", {"minimum": 64}),
        ({"backbone": {"kind": "vit_b_16"}, "input": {"size": 40}}, "input/size", {"multipleOf": 16, "minimum": 16}),
        (
            {"backbone": {"kind": "vgg16"}, "regularizers": [{"kind": "dropout"}, {"kind": "drop_path"}]},
            "regularizers/1",
            None,
        ),
    ],
)
def test_what_a_backbone_can_not_is_refused_with_what_it_can(
    changes: dict[str, Any], pointer: str, allowed: Any
) -> None:
    with pytest.raises(ValidationError) as caught:
        a_train_spec(**changes)

    context = caught.value.errors()[0]["ctx"]
    assert (context["pointer"], context["allowed"]) == (pointer, allowed)


@pytest.mark.parametrize("weights", ["imagenet", "leaves@best", "leaves:3", "wt_0123456789", None])
def test_weights_are_published_ones_a_model_a_file_or_none(weights: str | None) -> None:
    assert a_part("resnet18", weights=weights).weights == weights


@pytest.mark.parametrize("weights", ["imagenet", "leaves", "wt_", "leaves:x", 3])
def test_a_net_that_nobody_publishes_has_no_imagenet_weights(weights: Any) -> None:
    with pytest.raises(ValidationError):
        a_part("small_cnn", weights=weights)
