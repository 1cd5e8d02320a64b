from typing import Any

import pytest

from models_store.jobs import claims, submissions
from models_store.models import aliases, references, registry
from models_store.models import publish as publications
from models_store.models.aliases import Alias, Target
from models_store.models.references import SourceNotFound, SourceUnfit
from models_store.settings import Settings
from models_store.storage.database import Database
from models_store.tasks.image.spec import ResolvedImageSpec
from tests.samples import a_train_spec, insert_dataset

OWNER = "ada"
CLASSES = ["x", "y"]
BLOB = "e" * 64
SMALL = {"kind": "small_cnn", "widths": [8, 16]}


@pytest.fixture(autouse=True)
def dataset(database: Database) -> None:
    insert_dataset(database, owner=OWNER)


def publish(database: Database, settings: Settings, *, weights_blob: str | None = BLOB, **spec: Any) -> int:
    """Publish a model `leaves` that was trained by this spec."""
    submissions.submit(database, owner=OWNER, spec=a_train_spec(**{"backbone": SMALL} | spec), settings=settings)
    claim = claims.claim(database, settings=settings)
    assert claim is not None
    fp32 = registry.Variant("fp32", "a" * 64, 1000, {"kind": "fp32"}, accepted=True)
    publication = publications.Publication({"labels": CLASSES}, "fp32", [fp32], weights_blob=weights_blob)
    return publications.publish(database, claim, publication)


def pin(database: Database, *, classes: list[str] = CLASSES, **spec: Any) -> ResolvedImageSpec:
    return references.pin(a_train_spec(**spec), database, owner=OWNER, classes=classes)


def test_an_alias_becomes_the_version_that_it_means_now(database: Database, settings: Settings) -> None:
    publish(database, settings)
    aliases.set_alias(database, "leaves", "best", owner=OWNER, to=Alias((Target(1),)))

    pinned = pin(database, backbone=SMALL | {"weights": "leaves@best"}, distillation={"teacher": "leaves"})
    publish(database, settings)
    aliases.set_alias(database, "leaves", "best", owner=OWNER, to=Alias((Target(2),)))

    assert pinned.backbone.weights == "leaves:1"
    assert pinned.distillation is not None
    assert pinned.distillation.teacher == "leaves:1"
    assert ResolvedImageSpec.model_validate(pinned.model_dump(mode="json")) == pinned


def test_a_pinned_spec_finds_its_blobs_and_its_teachers_spec(database: Database, settings: Settings) -> None:
    publish(database, settings)
    document = pin(database, backbone=SMALL | {"weights": "leaves:1"}, distillation={"teacher": "leaves:1"}).model_dump(
        mode="json"
    )

    teacher = references.teacher(database, document, owner=OWNER)

    assert references.initial_weights(database, document, owner=OWNER) == BLOB
    assert teacher is not None
    assert (teacher.weights_blob, teacher.spec["backbone"]["widths"]) == (BLOB, [8, 16])


def test_published_weights_and_none_need_no_source(database: Database) -> None:
    document = a_train_spec().model_dump(mode="json")

    assert references.initial_weights(database, document, owner=OWNER) is None
    assert references.teacher(database, document, owner=OWNER) is None


def test_another_head_input_and_dataset_are_no_hindrance(database: Database, settings: Settings) -> None:
    publish(database, settings)

    pinned = pin(
        database,
        classes=["others"],
        backbone=SMALL | {"weights": "leaves:1", "freeze": "until:stage1"},
        head={"hidden_sizes": [4]},
        input={"size": 48, "channels": 1},
    )

    assert pinned.backbone.weights == "leaves:1"


def test_another_size_is_refused_where_the_dense_layer_would_be_another(database: Database, settings: Settings) -> None:
    publish(database, settings)  # at 32 pixels: two stages leave 8, of which the dense layer takes 4

    with pytest.raises(SourceUnfit) as caught:
        pin(database, backbone=SMALL | {"weights": "leaves:1"}, input={"size": 40})

    assert [(fault.pointer, fault.allowed) for fault in caught.value.errors] == [("/input/size", [32])]
    pin(database, backbone=SMALL | {"weights": "leaves:1"}, input={"size": 64})


@pytest.mark.parametrize("weights", ["leaves:2", "leaves@best", "nobody:1", "wt_0000000000"])
def test_what_is_not_there_is_told_with_its_place(database: Database, settings: Settings, weights: str) -> None:
    publish(database, settings)

    with pytest.raises(SourceNotFound) as caught:
        pin(database, backbone=SMALL | {"weights": weights})

    assert [fault.pointer for fault in caught.value.errors] == ["/backbone/weights"]
    assert caught.value.status == 422


def test_a_version_that_kept_no_weights_is_not_built_on(database: Database, settings: Settings) -> None:
    publish(database, settings, weights_blob=None)

    with pytest.raises(SourceNotFound, match="published without its weights"):
        pin(database, distillation={"teacher": "leaves"})


@pytest.mark.parametrize(
    ("backbone", "pointer", "allowed"),
    [
        ({"kind": "cifar_resnet18"}, "/backbone/weights", None),
        ({"kind": "small_cnn"}, "/backbone/widths", [[8, 16]]),
        ({**SMALL, "depth": 2}, "/backbone/depth", [1]),
    ],
)
def test_another_backbone_is_refused(
    database: Database, settings: Settings, backbone: dict[str, Any], pointer: str, allowed: Any
) -> None:
    publish(database, settings)

    with pytest.raises(SourceUnfit) as caught:
        pin(database, backbone=backbone | {"weights": "leaves:1"})

    assert [(fault.pointer, fault.allowed) for fault in caught.value.errors] == [(pointer, allowed)]


@pytest.mark.parametrize(
    ("spec", "classes", "pointer"),
    [
        ({}, ["x", "z"], "/distillation/teacher"),
        ({}, ["y", "x"], "/distillation/teacher"),
        ({"input": {"size": 32, "channels": 1}}, CLASSES, "/input/channels"),
    ],
)
def test_a_teacher_of_something_else_is_refused(
    database: Database, settings: Settings, spec: dict[str, Any], classes: list[str], pointer: str
) -> None:
    publish(database, settings)

    with pytest.raises(SourceUnfit) as caught:
        pin(database, classes=classes, distillation={"teacher": "leaves:1"}, **spec)

    assert [fault.pointer for fault in caught.value.errors] == [pointer]


def test_another_owners_model_is_not_there(database: Database, settings: Settings) -> None:
    publish(database, settings)
    spec = a_train_spec(backbone=SMALL | {"weights": "leaves:1"})

    with pytest.raises(SourceNotFound):
        references.pin(spec, database, owner="eve", classes=CLASSES)
