"""Every part of every family keeps the same promises; a new part gets these tests free."""

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import numpy as np
import pytest
from pydantic import TypeAdapter

from models_store.spec import loss, optimizer, regularizer, schedule
from models_store.spec.part import Part
from models_store.tasks.image import augmentation
from models_store.tasks.image.backbones import backbone
from models_store.tasks.image.facts import ImageFacts
from models_store.tasks.image.spec import ImageSpec, ResolvedImageSpec
from models_store.tasks.text import augmentation as text_augmentation
from tests.samples import LEAVES, a_train_spec
from tests.workers.training_runs import run, some_arrays
from workers.tasks.image import augmentations, backbones, net
from workers.tasks.image.net import Classifier
from workers.tasks.text import augmentations as text_augmentations
from workers.training import losses, optimizers, regularizers, schedules

FAMILIES: dict[str, tuple[Any, ModuleType]] = {
    "augmentation": (augmentation.Augmentation, augmentations),
    "backbone": (backbone.Backbone, backbones),
    "loss": (loss.Loss, losses),
    "optimizer": (optimizer.Optimizer, optimizers),
    "regularizers": (regularizer.Regularizer, regularizers),
    "schedule": (schedule.Schedule, schedules),
}
OF_TEXTS: dict[str, tuple[Any, ModuleType]] = {
    "augmentation of texts": (text_augmentation.Augmentation, text_augmentations),
}
"""families that nets of texts train with: see their own tests"""
LISTED = {"augmentation", "regularizers"}
HEAVY = {"vgg16"}
NEEDS: dict[type[Part], dict[str, Any]] = {
    regularizer.DropPath: {"backbone": {"kind": "cifar_resnet18", "width": 4}},
    regularizer.L2Sp: {"backbone": {"kind": "resnet18", "weights": "mine:1", "freeze": "none"}},
}
"""what must stand beside a part"""
NUMBERS = ImageFacts(train_count=4, target="number", median_side=32)


def parts_of(family: Any) -> tuple[type[Part], ...]:
    """Return the members of a discriminated union, or the one class that a family is."""
    if isinstance(family, type):
        return (family,)
    union = get_args(family)[0]
    return get_args(union) or (union,)


def cases(families: dict[str, tuple[Any, ModuleType]]) -> list[Any]:
    return [
        pytest.param(
            name,
            part,
            id=f"{name}-{kind_of(part)}",
            marks=[pytest.mark.slow] if kind_of(part) in HEAVY else [],
        )
        for name, (family, _) in families.items()
        for part in parts_of(family)
    ]


def kind_of(part: type[Part]) -> str:
    return str(part.model_fields["kind"].default)


def a_net(spec: ResolvedImageSpec, *, outputs: int) -> Classifier:
    """Return the net of a spec with random weights in the place of those it starts from: there is no download here."""
    backbone = spec.backbone.model_copy(update={"weights": None})
    return net.build(spec.model_copy(update={"backbone": backbone}), class_count=outputs, weights_dir=Path("unused"))


every_part = pytest.mark.parametrize(("family", "part"), cases(FAMILIES | OF_TEXTS))
every_part_of_images = pytest.mark.parametrize(("family", "part"), cases(FAMILIES))


@every_part
def test_it_says_what_it_is_and_what_each_field_means(family: str, part: type[Part]) -> None:
    schema = part.model_json_schema()

    properties = {name: field for name, field in schema["properties"].items() if name != "kind"}
    assert part.__doc__, family
    assert part.__doc__ != Part.__doc__
    assert [name for name, field in properties.items() if not field.get("description")] == []
    assert [name for name, field in properties.items() if "default" not in field] == []


@every_part
def test_every_number_has_a_range(family: str, part: type[Part]) -> None:
    properties = part.model_json_schema()["properties"]

    numbers = {
        name: option
        for name, field in properties.items()
        for option in [field, *field.get("anyOf", [])]
        if option.get("type") in {"number", "integer"} and "enum" not in option
    }
    lower, upper = {"minimum", "exclusiveMinimum"}, {"maximum", "exclusiveMaximum"}
    assert [name for name, field in numbers.items() if not (lower & field.keys() and upper & field.keys())] == [], (
        family
    )


def test_every_section_of_the_spec_is_told_whole() -> None:
    sections = ImageSpec.model_json_schema()["$defs"]

    unsaid = [
        f"{name}.{key}"
        for name, section in sections.items()
        for key, field in section.get("properties", {}).items()
        if key != "kind" and not field.get("description")
    ]
    assert len(sections) > 100
    assert unsaid == []


@every_part
def test_it_survives_a_round_trip_through_json(family: str, part: type[Part]) -> None:
    adapter = TypeAdapter((FAMILIES | OF_TEXTS)[family][0])

    again = adapter.validate_json(adapter.dump_json(part()))

    assert again == part()


@every_part
def test_it_has_a_builder(family: str, part: type[Part]) -> None:
    build = (FAMILIES | OF_TEXTS)[family][1].build

    assert part in build.registry


@every_part_of_images
def test_one_training_step_works_on_its_defaults(family: str, part: type[Part]) -> None:
    document = part().model_dump()
    if document.get("weights"):
        document |= {"weights": None, "freeze": "none"}  # no download here; test_backbones loads weights
    learns_numbers = part is loss.Mse
    spec = a_train_spec(
        facts=NUMBERS if learns_numbers else LEAVES,
        **{family: [document] if family in LISTED else document},
        **NEEDS.get(part, {}),
        training={"epochs": 1, "batch_size": 4, "precision": "fp32"},
    )
    arrays = some_arrays(train=4, val=2)
    if learns_numbers:
        arrays = replace(arrays, targets=np.linspace(10, 20, 6, dtype=np.float32)[:, None], classes=[])

    outputs = 1 if learns_numbers else len(arrays.classes)

    trained = run(spec, arrays, classifier=a_net(spec, outputs=outputs))

    assert trained.history[0]["train_loss"] > 0
