"""Specs as clients send them: with everything left out, and with every declared default filled in."""

import copy
from typing import Any

from models_store.tasks.image.facts import ImageFacts
from models_store.tasks.image.spec import ImageSpec
from tests.samples import DATASET_ID

Schema = dict[str, Any]

SPEC_SCHEMA = ImageSpec.model_json_schema()
ASKED: dict[str, Any] = {"name": "leaves", "dataset": DATASET_ID}
CLASSES = ("ant", "bee", "fly")
DATA = {
    "few photographs": ImageFacts(240, dict.fromkeys(CLASSES, 80), median_side=300),
    "many photographs": ImageFacts(6_000, dict.fromkeys(CLASSES, 2_000), median_side=500),
    "grey photographs": ImageFacts(900, dict.fromkeys(CLASSES, 300), median_side=300, grey=True),
    "small colour images": ImageFacts(45_000, {str(number): 4_500 for number in range(10)}, median_side=32),
    "small grey images": ImageFacts(4_708, {"normal": 1_214, "ill": 3_494}, median_side=28, grey=True),
    "three images": ImageFacts(3, dict.fromkeys(CLASSES, 1), median_side=20),
    "labels": ImageFacts(800, dict.fromkeys(CLASSES, 400), target="labels", median_side=200),
    "numbers": ImageFacts(800, target="number", median_side=64),
}
WHOLE: dict[str, dict[str, Any]] = {
    "nothing": {},
    "an optimizer": {"optimizer": {"kind": "adamw"}},
    "an optimizer of a fine-tuned backbone": {
        "optimizer": {"kind": "sgd"},
        "backbone": {"kind": "resnet18", "freeze": "none"},
    },
    "empty sections": {
        "transfer": {},
        "training": {},
        "input": {},
        "head": {},
        "evaluation": {},
        "compression": {},
        "export": {},
    },
    "compression": {"compression": {"prune": {"kind": "structured"}, "quantize": [{"kind": "mixed_int8"}]}},
    "a search": {
        "search": {"kind": "tpe", "space": {"optimizer": {"choice": [{"kind": "sgd"}, {"kind": "adamw"}]}}},
    },
    "folds": {"validation": {"kind": "k_fold", "folds": 2}},
    "early stopping": {"training": {"early_stopping": {}, "epochs": 9}},
    "no budget": {"training": {"budget_minutes": None}},
}
UNEVEN = ImageFacts(6_000, {"ant": 5_000, "bee": 900, "fly": 100}, median_side=500)


def target(schema: Schema, root: Schema) -> Schema:
    """Follow references, through what else may be null."""
    while True:
        forms = [form for form in schema.get("anyOf", []) if form.get("type") != "null"]
        if "$ref" in schema:
            found: Any = root
            for step in schema["$ref"].removeprefix("#/").split("/"):
                found = found[step]
            schema = found
        elif len(forms) == 1:
            schema = forms[0]
        else:
            return schema


def filled(document: Any, schema: Schema, root: Schema) -> Any:
    """Return the document with each default that it leaves out, as forms and generated clients send it."""
    schema = target(schema, root)
    if isinstance(document, list):
        return [filled(item, schema.get("items", {}), root) for item in document]
    if not isinstance(document, dict):
        return document
    kinds = schema.get("discriminator", {}).get("mapping", {})
    if document.get("kind") in kinds:
        schema = target({"$ref": kinds[document["kind"]]}, root)
    whole = dict(document)
    for name, field in schema.get("properties", {}).items():
        for key in ("default", "x-default"):
            if name not in whole and key in field:
                whole[name] = copy.deepcopy(field[key])
        if name in whole:
            whole[name] = filled(whole[name], field, root)
    return whole
