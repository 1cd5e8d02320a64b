"""Reasons for what a recipe has decided: one for each value, and none for what was given or declared."""

from typing import Any

import pytest

from models_store.spec.part import Part
from models_store.spec.reasons import decisions
from models_store.spec.training import ResolvedTraining, Training
from models_store.tasks.image.contract import IMAGE
from models_store.tasks.image.facts import ImageFacts
from models_store.tasks.image.spec import ImageSpec, ResolvedImageSpec
from tests.models_store.spec.documents import ASKED, DATA, SPEC_SCHEMA, UNEVEN, WHOLE, filled

FACTS = {**DATA, "uneven": UNEVEN}


def reasons(asked: dict[str, Any], facts: ImageFacts) -> tuple[ResolvedImageSpec, dict[str, tuple[Any, str]]]:
    spec, _ = IMAGE.resolve(ImageSpec.model_validate(asked), facts)
    return spec, {each.pointer: (each.value, each.why) for each in decisions(asked, spec, facts)}


def left_to_the_recipe(part: Part, given: Any, pointer: str = "") -> list[str]:
    """Return the leaves of a resolved part that were not given, and that no declared default explains."""
    declared = {ResolvedImageSpec: ImageSpec, ResolvedTraining: Training}.get(type(part), type(part)).model_fields
    found = []
    for name in type(part).model_fields:
        value, sent = getattr(part, name), given.get(name) if isinstance(given, dict) else None
        default = declared[name].get_default(call_default_factory=True)
        if sent is None and default is not None and default == value and name != "kind":
            continue
        if isinstance(value, Part):
            found += left_to_the_recipe(value, sent, f"{pointer}/{name}")
        elif isinstance(value, list) and value and isinstance(value[0], Part):
            for number, each in enumerate(value):
                own = sent[number] if isinstance(sent, list) else None
                found += left_to_the_recipe(each, own, f"{pointer}/{name}/{number}")
        elif sent is None and value is not None:
            found.append(f"{pointer}/{name}")
    return found


@pytest.mark.parametrize("asked", WHOLE.values(), ids=WHOLE)
@pytest.mark.parametrize("facts", FACTS.values(), ids=FACTS)
def test_each_value_that_the_recipe_decided_has_a_reason_and_nothing_else_has(
    asked: dict[str, Any], facts: ImageFacts
) -> None:
    if "validation" in asked and facts.train_count < 10:
        return  # there are no folds
    spec, found = reasons(ASKED | asked, facts)

    assert sorted(found) == sorted(left_to_the_recipe(spec, ASKED | asked))
    assert all(why and why == why.strip() and not why.endswith(".") for _, why in found.values())


@pytest.mark.parametrize("facts", FACTS.values(), ids=FACTS)
def test_a_resolved_spec_leaves_nothing_to_explain(facts: ImageFacts) -> None:
    spec, _ = reasons(ASKED, facts)

    assert reasons(spec.model_dump(mode="json"), facts)[1] == {}


def test_declared_defaults_that_are_sent_change_no_reason() -> None:
    asked = ASKED | {"optimizer": {"kind": "adamw"}, "compression": {"prune": {"kind": "structured"}}}

    _, found = reasons(asked, DATA["many photographs"])

    assert reasons(filled(asked, SPEC_SCHEMA, SPEC_SCHEMA), DATA["many photographs"])[1] == found
    assert "/compression/prune/ratio" in found


def test_reasons_name_what_they_rest_on() -> None:
    _, few = reasons(ASKED, DATA["few photographs"])
    _, uneven = reasons(ASKED, UNEVEN)
    _, named = reasons(ASKED | {"optimizer": {"kind": "sgd"}}, DATA["many photographs"])

    value, why = few["/backbone/freeze"]
    assert value == "backbone"
    assert why.startswith("240 photographs are fewer than 500: a head on fixed features is as accurate there")
    assert "100 training images and the most common 5,000" in uneven["/loss/class_weights"][1]
    assert named["/optimizer/lr"][0] == pytest.approx(0.005)
    assert "a tenth of sgd's usual 0.05" in named["/optimizer/lr"][1]


def small_grey(train_count: int) -> ImageFacts:
    return ImageFacts(train_count, {"a": train_count // 2, "b": train_count // 2}, median_side=28, grey=True)


@pytest.mark.parametrize(
    ("train_count", "epochs", "why"),
    [
        (96, 200, "3 steps an epoch: 1,000 steps would be usual, but the recipe never takes more than 200 epochs"),
        (1_200, 27, "38 steps an epoch, so 27 epochs are needed for the smallest useful number of steps (1,000)"),
        (40_000, 13, "as many as two fast cores can do in 10 minutes at 28 pixels, from 10 to 25"),
    ],
)
def test_the_reason_for_the_epochs_is_what_decided_them(train_count: int, epochs: int, why: str) -> None:
    _, found = reasons(ASKED, small_grey(train_count))

    assert found["/training/epochs"][0] == epochs
    assert why in found["/training/epochs"][1]


def test_what_cannot_be_lowered_is_not_promised_to_be() -> None:
    assert "the trainer may reduce them" in reasons(ASKED, DATA["many photographs"])[1]["/training/fit_to_budget"][1]
    assert reasons(ASKED, small_grey(96))[1]["/training/fit_to_budget"][1].endswith("nothing can be reduced")
