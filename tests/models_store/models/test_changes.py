"""Count of changes of the registry: it moves with everything that changes what a reference means."""

from collections.abc import Callable

import pytest

from models_store.jobs import claims, submissions
from models_store.models import aliases, changes, measure, registry, removals
from models_store.models import publish as publications
from models_store.models.rework import take_up
from models_store.settings import Settings
from models_store.storage.database import Database
from tests.samples import a_train_spec, insert_dataset

OWNER = "ada"
FIGURES = {"speedup": 1.0, "accepted": True, "reasons": []}


def publish(database: Database, settings: Settings) -> None:
    submissions.submit(database, owner=OWNER, spec=a_train_spec(name="leaves"), settings=settings)
    claim = claims.claim(database, settings=settings)
    assert claim is not None
    variant = registry.Variant("fp32", "c" * 64, 1000, {"kind": "fp32", "measured": {"cpu": FIGURES}}, accepted=True)
    card = {"labels": ["x", "y"]}
    publications.publish(database, claim, publications.Publication(card, "fp32", [variant], defaults={"cpu": "fp32"}))


def measure_again(database: Database, settings: Settings) -> None:
    taken = take_up(database, "leaves", 1, owner=OWNER)
    submissions.submit(database, owner=OWNER, spec=taken.spec, settings=settings, action=taken.action("measure"))
    claim = claims.claim(database, settings=settings)
    assert claim is not None
    measure.record(database, claim, measure.Remeasurement({"fp32": {"cpu": FIGURES}}, {"cpu": "fp32"}))


def set_alias(database: Database, _settings: Settings) -> None:
    aliases.set_alias(database, "leaves", "best", owner=OWNER, to=aliases.Alias((aliases.Target(1),)))


def remove_alias(database: Database, settings: Settings) -> None:
    set_alias(database, settings)
    aliases.remove_alias(database, "leaves", "best", owner=OWNER)


def delete_version(database: Database, _settings: Settings) -> None:
    removals.delete_version(database, "leaves", 1, owner=OWNER)


def delete_model(database: Database, _settings: Settings) -> None:
    removals.delete_model(database, "leaves", owner=OWNER)


@pytest.mark.parametrize(
    ("change", "counted"),
    [(publish, 1), (measure_again, 1), (set_alias, 1), (remove_alias, 2), (delete_version, 1), (delete_model, 1)],
    ids=lambda each: getattr(each, "__name__", str(each)),
)
def test_a_change_is_counted(
    database: Database, settings: Settings, change: Callable[[Database, Settings], None], counted: int
) -> None:
    insert_dataset(database, owner=OWNER)
    publish(database, settings)
    before = changes.count(database)

    change(database, settings)

    assert changes.count(database) == before + counted


def test_what_was_refused_is_not_counted(database: Database, settings: Settings) -> None:
    insert_dataset(database, owner=OWNER)
    publish(database, settings)
    set_alias(database, settings)
    before = changes.count(database)

    with pytest.raises(removals.VersionInUse):
        delete_version(database, settings)

    assert changes.count(database) == before
