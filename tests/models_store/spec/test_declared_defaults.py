"""Clients and forms that send every declared default: they get what a client that leaves all out gets."""

import json
from pathlib import Path
from typing import Any

import pytest

from models_store.spec.space import applied
from models_store.tasks.image.contract import IMAGE
from models_store.tasks.image.facts import ImageFacts
from models_store.tasks.image.spec import ImageSpec, ResolvedImageSpec
from tests.models_store.spec.documents import ASKED, DATA, SPEC_SCHEMA, UNEVEN, WHOLE, Schema, filled, target

OPENAPI = json.loads((Path(__file__).parents[3] / "docs" / "openapi.json").read_text())
OPENAPI_SCHEMA = {**OPENAPI["components"]["schemas"]["ImageSpec"], "components": OPENAPI["components"]}
LISTED = {"augmentation", "regularizers", "quantize"}


def every_part() -> list[tuple[str, str]]:
    """Return the path of each family of parts in the spec, with each of its kinds."""
    found = []

    def walk(schema: Schema, path: str) -> None:
        opened = target(schema, SPEC_SCHEMA)
        opened = target(opened["items"], SPEC_SCHEMA) if "items" in opened else opened
        found.extend((path, kind) for kind in opened.get("discriminator", {}).get("mapping", {}))
        for name, field in opened.get("properties", {}).items():
            walk(field, f"{path}.{name}" if path else name)

    walk(SPEC_SCHEMA, "")
    while_testing = "evaluation.test_time_augmentation.augmentation"
    refused = {(while_testing, "mixup"), (while_testing, "cutmix"), ("compression.prune", "vocabulary")}
    return [case for case in found if case not in refused]


NEEDS: dict[str, dict[str, Any]] = {
    "drop_path": {"backbone": {"kind": "cifar_resnet18"}},
    "l2_sp": {"backbone": {"kind": "resnet18", "freeze": "none"}},
    "schedule_free_adamw": {"schedule": {"kind": "constant"}},
}
REQUIRED: dict[str, dict[str, Any]] = {"search": {"space": {"training.epochs": {"choice": [3, 4]}}}}


def asking_for(path: str, kind: str) -> dict[str, Any]:
    """Return a spec with one part that has nothing but its kind."""
    *above, name = path.split(".")
    part = {"kind": kind, **REQUIRED.get(path, {})}
    asked: Any = [part] if name in LISTED or above[-1:] == ["test_time_augmentation"] else part
    for step in reversed([*above, name]):
        asked = {step: asked}
    return {**ASKED, **NEEDS.get(kind, {}), **asked}


def meaning(asked: dict[str, Any], facts: ImageFacts) -> tuple[ResolvedImageSpec, list[str]]:
    return IMAGE.resolve(ImageSpec.model_validate(asked), facts)


def facts_for(asked: dict[str, Any]) -> ImageFacts:
    kind = asked.get("loss", {}).get("kind")
    return DATA["numbers" if kind == "mse" else "many photographs"]


@pytest.mark.parametrize(("path", "kind"), every_part())
@pytest.mark.parametrize("schema", [SPEC_SCHEMA, OPENAPI_SCHEMA], ids=["schema", "openapi"])
def test_declared_defaults_of_a_part_change_nothing(path: str, kind: str, schema: Schema) -> None:
    asked = asking_for(path, kind)
    facts = facts_for(asked)

    whole = filled(asked, schema, schema)

    assert len(json.dumps(whole)) > len(json.dumps(asked))
    assert meaning(whole, facts) == meaning(asked, facts)


@pytest.mark.parametrize("asked", WHOLE.values(), ids=WHOLE)
@pytest.mark.parametrize("facts", [*DATA.values(), UNEVEN], ids=[*DATA, "uneven"])
def test_declared_defaults_of_a_whole_spec_change_nothing(asked: dict[str, Any], facts: ImageFacts) -> None:
    if "validation" in asked and facts.train_count < 10:
        pytest.skip("three images have no folds")
    for schema in (SPEC_SCHEMA, OPENAPI_SCHEMA):
        assert meaning(filled(ASKED | asked, schema, schema), facts) == meaning(ASKED | asked, facts)


@pytest.mark.parametrize("asked", WHOLE.values(), ids=WHOLE)
@pytest.mark.parametrize("facts", [*DATA.values(), UNEVEN], ids=[*DATA, "uneven"])
def test_a_resolved_spec_resolves_to_itself(asked: dict[str, Any], facts: ImageFacts) -> None:
    if "validation" in asked and facts.train_count < 10:
        pytest.skip("three images have no folds")
    resolved, doubts = meaning(ASKED | asked, facts)

    again = json.loads(resolved.model_dump_json())

    assert meaning(again, facts) == (resolved, doubts)
    assert meaning(filled(again, SPEC_SCHEMA, SPEC_SCHEMA), facts) == (resolved, doubts)


@pytest.mark.parametrize("path", ["optimizer", "backbone", "loss", "schedule", "transfer", "task", "augmentation"])
def test_null_is_what_is_left_out(path: str) -> None:
    for facts in DATA.values():
        assert meaning(ASKED | {path: None}, facts) == meaning(ASKED, facts)


@pytest.mark.parametrize("rate", [{}, {"lr": None}], ids=["absent", "null"])
@pytest.mark.parametrize(("weights", "expected"), [("imagenet", 1e-4), (None, 1e-3)])
def test_pretrained_weights_train_on_with_a_tenth_of_the_rate(
    rate: dict[str, Any], weights: str | None, expected: float
) -> None:
    backbone = {"kind": "resnet18", "freeze": "none", "weights": weights}

    spec, _ = meaning(ASKED | {"optimizer": {"kind": "adamw"} | rate, "backbone": backbone}, DATA["many photographs"])

    assert spec.optimizer.lr == pytest.approx(expected)


def test_an_optimizer_that_a_search_draws_gets_the_rate_that_a_spec_with_it_gets() -> None:
    drawn = {"kind": "sgd"}
    asked = ASKED | {"backbone": {"kind": "resnet18", "freeze": "none"}}
    facts = DATA["many photographs"]
    parent, _ = meaning(asked, facts)

    trial = applied(parent, {"optimizer": drawn}, facts)

    assert trial["optimizer"]["lr"] == pytest.approx(0.005)
    assert (
        ResolvedImageSpec.model_validate(trial).optimizer == meaning(asked | {"optimizer": drawn}, facts)[0].optimizer
    )


def test_what_a_recipe_decides_is_null_in_the_schema_and_says_so() -> None:
    said = []

    def walk(schema: Schema, path: str) -> None:
        for name, field in schema.get("properties", {}).items():
            if "chosen by the recipe" in field.get("description", ""):
                said.append((f"{path}.{name}", field.get("default", "no default")))
            walk(target(field, SPEC_SCHEMA), f"{path}.{name}")

    walk(SPEC_SCHEMA, "")
    for name, part in SPEC_SCHEMA["$defs"].items():
        walk(part, name)

    assert [default for _, default in said if default is not None] == []
    assert {".task", ".backbone", ".loss", ".training.epochs", ".input.size", "AdamW.lr", "ResNet18.freeze"} <= {
        path for path, _ in said
    }
