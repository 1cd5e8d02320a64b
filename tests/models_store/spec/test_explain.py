"""What somebody is told who wrote a name that is not known where it stands."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from models_store.spec import synonyms
from models_store.spec.explain import explain
from models_store.spec.patterns import WORDS
from models_store.spec.schema_walk import paths
from models_store.spec.suggestions import plain
from models_store.tasks.image.contract import IMAGE
from models_store.tasks.image.facts import ImageFacts
from models_store.tasks.image.spec import ImageSpec
from models_store.tasks.rooms import TASKS
from tests.samples import DATASET_ID


def told(**asked: Any) -> str:
    """Return the message about the only fault of a spec."""
    document = {"name": "leaves", "dataset": DATASET_ID} | asked
    with pytest.raises(ValidationError) as caught:
        ImageSpec.model_validate(document)
    (fault,) = explain(caught.value, ImageSpec, document)
    return str(fault["message"])


@pytest.mark.parametrize(
    ("asked", "advice"),
    [
        pytest.param({"optimizer": {"kind": "SGD"}}, "did you mean 'sgd'?", id="capitals in a kind"),
        pytest.param({"Optimizer": {"kind": "sgd"}}, "did you mean 'optimizer'?", id="capitals in a key"),
        pytest.param({"optimizer": {"kind": "adamw2"}}, "did you mean 'adamw'?", id="misspelt"),
        pytest.param({"training": {"weight_decay": 0.1}}, "did you mean 'optimizer.weight_decay'?", id="field"),
        pytest.param({"mixup": {}}, "`mixup` is a kind of `augmentation`", id="kind as a key"),
        pytest.param({"dropout": 0.5}, "`dropout` is a field of `head` and a kind of `regularizers`", id="both"),
        pytest.param(
            {"regularizers": [{"kind": "label_smoothing"}]},
            "`label_smoothing` is a field of `loss`",
            id="field as a kind",
        ),
        pytest.param(
            {"regularizers": [{"kind": "early_stopping"}]}, "`early_stopping` is a field of `training`", id="another"
        ),
        pytest.param(
            {"regularizers": [{"kind": "MixUp"}]}, "`MixUp` is a kind of `augmentation`", id="kind of another family"
        ),
    ],
)
def test_a_name_in_the_wrong_place_is_told_its_right_one(asked: dict[str, Any], advice: str) -> None:
    assert f"; {advice}" in told(**asked)


def test_nothing_is_suggested_for_what_is_like_nothing() -> None:
    message = told(optimizer={"kind": "zzz"})

    assert "did you mean" not in message
    assert message.startswith("'zzz' is not a kind of optimizer; its kinds are sgd, adam, adamw")


@pytest.mark.parametrize(
    ("quantize", "advice"),
    [
        pytest.param({"kind": "static_int8"}, 'such as [{"kind": "static_int8"}], or [] for none', id="one part"),
        pytest.param("int8", 'such as [{"kind": "static_int8"}], or [] for none', id="part of a name"),
        pytest.param("FP16", 'such as [{"kind": "fp16"}], or [] for none', id="name"),
        pytest.param({"kind": "none"}, 'such as [{"kind": "static_int8"}], or [] for none', id="none"),
        pytest.param(None, 'such as [{"kind": "static_int8"}], or [] for none', id="null"),
    ],
)
def test_one_part_where_a_list_belongs_is_answered_with_the_list(quantize: Any, advice: str) -> None:
    assert told(compression={"quantize": quantize}).endswith(advice)


def test_a_value_out_of_range_is_repeated() -> None:
    assert told(compression={"prune": {"kind": "structured", "ratio": 1.5}}).endswith("less than 1, not 1.5")
    assert told(training={"epochs": "x" * 5000}).endswith(f', not "{"x" * 79}…')
    assert told(training={"epochs": [0] * 9}).endswith(", not a list of 9")


def test_a_part_without_its_kind_is_told_the_kinds_that_have_its_fields() -> None:
    assert "; structured and unstructured_l1 have 'ratio'; " in told(compression={"prune": {"ratio": 2}})


@pytest.mark.parametrize(
    ("field", "example"),
    [("compression", {"control": False}), ("training", {"accumulate_steps": 1}), ("input", {"channels": 3})],
)
def test_the_example_of_an_object_is_valid(field: str, example: dict[str, Any]) -> None:
    message = told(**{field: True})

    assert json.loads(message.partition("such as ")[2]) == example


def test_the_example_of_a_search_range_is_the_list_that_was_given_where_it_fits() -> None:
    message = told(search={"kind": "random", "space": {"optimizer.lr": [0.001, 0.1]}})
    of_a_number = told(search={"kind": "random", "space": {"optimizer.lr": 0.1}})

    assert message.endswith('such as {"choice": [0.001, 0.1]}')
    assert of_a_number.endswith('such as {"choice": [1, 2]}')


def test_a_null_kind_is_answered_as_null() -> None:
    message = told(backbone={"kind": None})

    assert message.startswith("`kind` is null; it is one of ")
    assert "None" not in message


def test_a_list_that_is_too_short_has_its_length_named_once() -> None:
    message = told(search={"kind": "random", "space": {"optimizer.lr": {"choice": []}}})

    assert message.endswith(", not 0")


LIBRARIES_WORDS: list[tuple[dict[str, Any], str]] = [
    ({"learning_rate": 0.1}, "did you mean 'optimizer.lr'?"),
    ({"optimizer": {"kind": "adamw", "learning_rate": 0.1}}, "did you mean 'lr'?"),
    ({"optimizer": {"kind": "sgd", "lr_rate": 0.1}}, "did you mean 'lr'?"),
    ({"num_epochs": 3}, "did you mean 'training.epochs'?"),
    ({"training": {"n_epochs": 3}}, "did you mean 'epochs'?"),
    ({"training": {"max_epochs": 3}}, "did you mean 'epochs'?"),
    ({"training": {"bs": 3}}, "did you mean 'batch_size'?"),
    ({"batch": 3}, "did you mean 'training.batch_size'?"),
    ({"image_size": 3}, "did you mean 'input.size'?"),
    ({"input": {"img_size": 3}}, "did you mean 'size'?"),
    ({"model": "resnet18"}, "did you mean 'backbone'?"),
    ({"architecture": "resnet18"}, "did you mean 'backbone'?"),
    ({"network": "resnet18"}, "did you mean 'backbone'?"),
    ({"pretrained": True}, "did you mean 'backbone.weights'?"),
    ({"backbone": {"kind": "resnet18", "pretrained": True}}, "did you mean 'weights'?"),
    ({"wd": 0.1}, "did you mean 'optimizer.weight_decay'?"),
    ({"label_smooth": 0.1}, "did you mean 'loss.label_smoothing'?"),
    ({"early_stop": 3}, "did you mean 'training.early_stopping'?"),
    ({"patience": 3}, "did you mean 'training.early_stopping.patience'?"),
    ({"scheduler": "cosine"}, "did you mean 'schedule'?"),
    ({"dropout_rate": 0.1}, '[{"kind": "dropout", "probability": 0.2}]'),
    ({"num_classes": 3}, "the dataset defines the number of classes"),
    ({"optimizer": {"kind": "adamw", "momentum": 0.9}}, "it is a field of sgd and rmsprop and muon"),
    ({"optimizer": {"kind": "AdamW"}}, "did you mean 'adamw'?"),
    ({"optimizer": {"kind": "sgd_momentum"}}, "did you mean 'sgd'?"),
    ({"optimizer": {"type": "Adam"}}, 'write {"kind": "adam"} in place of \'type\''),
    ({"optimizer": "Adam"}, 'such as {"kind": "adam"}'),
    ({"loss": {"kind": "CrossEntropyLoss"}}, "did you mean 'cross_entropy'?"),
    ({"loss": {"kind": "bce"}}, "did you mean 'binary_cross_entropy'?"),
    ({"loss": {"kind": "MSELoss"}}, "did you mean 'mse'?"),
    ({"augmentation": [{"kind": "hflip"}]}, "did you mean 'random_flip'?"),
    ({"augmentation": [{"kind": "RandomHorizontalFlip"}]}, "did you mean 'random_flip'?"),
    ({"augmentation": [{"kind": "random_flip", "p": 0.5}]}, "did you mean 'probability'?"),
    ({"schedule": {"kind": "CosineAnnealingLR"}}, "did you mean 'cosine'?"),
    ({"backbone": {"kind": "resnet-18"}}, "did you mean 'resnet18'?"),
    ({"backbone": {"kind": "ResNet50"}}, "did you mean 'resnet50'?"),
    ({"backbone": {"kind": "mobilenetv4"}}, "did you mean 'timm:mobilenetv4_conv_"),
    ({"compression": {"quantization": []}}, "did you mean 'quantize'?"),
    ({"compression": {"quantize": [{"kind": "int8"}]}}, "did you mean 'static_int8'?"),
    ({"training": {"precision": "float16"}}, "did you mean 'fp16'?"),
    ({"training": {"monitor": "accuracy"}}, "did you mean 'val_accuracy'?"),
    ({"training": {"early_stopping": {"monitor": "val_loss"}}}, "did you mean 'metric'?"),
    ({"monitor": "val_loss"}, "did you mean 'training.monitor'?"),
    ({"loss": {"kind": "focal", "alpha": 0.25}}, "did you mean 'class_weights'?"),
    ({"schedule": {"kind": "cosine", "T_max": 10}}, "a schedule ends where the training ends; leave it out"),
    ({"augmentation": [{"kind": "Normalize"}]}, "images are normalised as the backbone's weights need it"),
    ({"augmentation": [{"kind": "Resize"}]}, "images are always resized to `input.size`"),
    ({"augmentation": [{"kind": "ToTensor"}]}, "images always become tensors"),
]


@pytest.mark.parametrize(("asked", "advice"), LIBRARIES_WORDS, ids=[str(asked) for asked, _ in LIBRARIES_WORDS])
def test_the_words_of_other_libraries_are_understood(asked: dict[str, Any], advice: str) -> None:
    assert advice in told(**asked)


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("optimizer.learning_rate", "lr"),
        ("optimiser.lr", "optimizer"),
        ("training.batchsize", "batch_size"),
        ("lr", "optimizer.lr"),
        ("learning_rate", "optimizer.lr"),
        ("num_epochs", "training.epochs"),
    ],
)
def test_the_words_of_other_libraries_are_understood_in_a_search(path: str, meant: str) -> None:
    search = {"kind": "tpe", "space": {path: {"uniform": [0.1, 0.2]}}}
    asked = {"name": "leaves", "dataset": DATASET_ID, "search": search}
    with pytest.raises(ValidationError) as caught:
        IMAGE.resolve(ImageSpec.model_validate(asked), ImageFacts(100, {"a": 50, "b": 50}))

    (fault,) = explain(caught.value, ImageSpec, asked)

    assert fault["message"].endswith(f"; did you mean {meant!r}?")


def test_a_wrong_kind_names_the_nearest_before_the_others_and_not_all_of_them() -> None:
    message = told(backbone={"kind": "resnet19"})

    assert message.index("resnet18") < message.index("resnet34") < message.index("more")
    assert "GET /schema/train" in message
    assert len(message) < 400


def test_every_word_leads_to_a_field_or_a_kind_that_there_is() -> None:
    schema = ImageSpec.model_json_schema()
    known = {*paths(schema, schema)}
    for part in schema["$defs"].values():
        known |= set(part.get("properties", {}))
    kinds = {kind for each in _unions(schema) for kind in each}

    said = ImageSpec.words
    wanted = {*said.fields.values(), *(path for several in said.also.values() for path in several)}
    assert wanted - known - kinds == set()
    assert {kind for several in said.kinds.values() for kind in several} - kinds == set()
    words = [*said.fields, *said.also, *said.notes, *said.kinds, *said.values, *synonyms.QUERIES]
    assert [word for word in words if plain(word) != word] == []


def _unions(node: Any) -> list[list[str]]:
    if isinstance(node, list):
        return [union for each in node for union in _unions(each)]
    if not isinstance(node, dict):
        return []
    own = [[*node["discriminator"]["mapping"]]] if "discriminator" in node else []
    return own + _unions([*node.values()])


def _patterns(node: Any) -> set[str]:
    if isinstance(node, list):
        return set().union(*map(_patterns, node))
    if not isinstance(node, dict):
        return set()
    own = {node["pattern"]} if isinstance(node.get("pattern"), str) else set()
    return own | set(node.get("patternProperties", {})) | _patterns([*node.values()])


def test_every_pattern_of_the_interface_has_words() -> None:
    document = json.loads((Path(__file__).parents[3] / "docs" / "openapi.json").read_text())

    patterns = _patterns(document) | _patterns(ImageSpec.model_json_schema())

    assert len(patterns) > 10
    own = {pattern for contract in TASKS for pattern in contract.Spec.words.patterns}
    assert patterns - set(WORDS) - own == set()


@pytest.mark.parametrize(
    "asked",
    [
        {"name": "no/slash"},
        {"name": ""},
        {"dataset": "cats"},
        {"backbone": {"kind": "resnet18", "weights": "a b"}},
        {"backbone": {"kind": "small_cnn", "weights": "imagenet"}},
        {"backbone": {"kind": "resnet18", "freeze": "half"}},
        {"distillation": {"teacher": "../secret"}},
        {"search": {"kind": "tpe", "space": {"Optimizer.LR": {"uniform": [0, 1]}}}},
    ],
    ids=str,
)
def test_a_broken_name_is_answered_with_a_sentence_and_no_pattern(asked: dict[str, Any]) -> None:
    message = told(**asked)

    assert " is not " in message
    assert not any(sign in message for sign in ("^", "\\", "[A-Z", "pattern"))
