"""Figures that were measured again: replaced in one fenced transaction, or not at all."""

from typing import Any

import pytest
from sqlalchemy import update

from models_store.jobs import claims, submissions
from models_store.jobs import store as jobs
from models_store.jobs.claims import Stale
from models_store.models import measure, publish, registry
from models_store.settings import Settings
from models_store.storage import tables
from models_store.storage.database import Database
from tests.samples import a_train_spec, insert_dataset

OWNER = "ada"
FAST = {"speedup": 2.0, "latency_ms": {"p50": 1.0, "p95": 1.2}, "accepted": True, "reasons": [], "host": "one"}
SLOW = FAST | {"speedup": 0.5, "accepted": False, "reasons": ["is not faster"], "host": "another"}


@pytest.fixture
def version(database: Database, settings: Settings) -> registry.Version:
    """A version with two variants, measured on CUDA and on one of them on a CPU."""
    insert_dataset(database, owner=OWNER)
    submissions.submit(database, owner=OWNER, spec=a_train_spec(), settings=settings)
    claim = claims.claim(database, settings=settings)
    assert claim is not None
    card = {"kind": "int8", "parent": "fp32"}
    variants = [
        registry.Variant("fp32", "a" * 64, 9, {"kind": "fp32", "measured": {"cpu": FAST, "cuda": FAST}}, accepted=True),
        registry.Variant("int8", "b" * 64, 3, card | {"measured": {"cpu": FAST}}, accepted=True),
    ]
    publication = publish.Publication(
        {"labels": ["x", "y"]}, "int8", variants, defaults={"cpu": "int8", "cuda": "fp32"}
    )
    publish.publish(database, claim, publication)
    return registry.version(database, "leaves", 1, owner=OWNER)


def a_measuring(database: Database, settings: Settings) -> claims.Claim:
    action = submissions.Action("measure", {"model": "leaves", "version": 1})
    submissions.submit(database, owner=OWNER, spec=a_train_spec(), settings=settings, action=action)
    claim = claims.claim(database, settings=settings)
    assert claim is not None
    return claim


MEASURED = measure.Remeasurement(
    measured={"fp32": {"cpu": FAST | {"host": "another"}}, "int8": {"cpu": SLOW}}, defaults={"cpu": "fp32"}
)


def test_the_figures_of_a_provider_are_replaced_and_those_of_another_stay(
    database: Database, settings: Settings, version: registry.Version
) -> None:
    measure.record(database, a_measuring(database, settings), MEASURED)

    found = registry.version(database, "leaves", 1, owner=OWNER)
    cards = {variant.name: variant.card for variant in found.variants}
    assert cards["int8"] == {"kind": "int8", "parent": "fp32", "measured": {"cpu": SLOW}}
    assert cards["fp32"]["measured"] == {"cpu": FAST | {"host": "another"}, "cuda": FAST}
    assert {variant.name: variant.accepted for variant in found.variants} == {"fp32": True, "int8": False}
    assert found.defaults == {"cpu": "fp32", "cuda": "fp32"}
    assert (found.card, found.created_at) == (version.card, version.created_at)


@pytest.mark.usefixtures("version")
@pytest.mark.parametrize(
    ("measured_again", "default_variant"),
    [
        ([{"cpu": "fp32"}], "fp32"),
        ([{"cuda": "fp16"}], "int8"),  # the version was made on a CPU
        ([{"cpu": "fp32", "cuda": "fp16"}], "fp32"),
        ([{"cuda": "int8"}, {"cpu": "fp32"}], "fp32"),
        ([{"cuda": "int8"}, {"cuda": "fp16"}], "int8"),
    ],
)
def test_the_default_variant_goes_along_with_the_default_of_the_provider_that_it_was_made_on(
    database: Database, settings: Settings, measured_again: list[dict[Any, str]], default_variant: str
) -> None:
    for defaults in measured_again:
        measure.record(database, a_measuring(database, settings), measure.Remeasurement({}, defaults))

    found = registry.version(database, "leaves", 1, owner=OWNER)
    assert found.default_variant == default_variant
    assert registry.model(database, "leaves", owner=OWNER).versions[0].default_variant == default_variant


@pytest.mark.usefixtures("version")
def test_the_default_variant_of_a_version_made_on_a_gpu_is_not_changed_by_a_measuring_on_a_cpu(
    database: Database, settings: Settings
) -> None:
    with database.write() as connection:
        made = {"default_variant": "fp16", "defaults": {"cpu": "int8", "cuda": "fp16"}}
        connection.execute(update(tables.version).values(**made))

    measure.record(database, a_measuring(database, settings), MEASURED)

    assert registry.version(database, "leaves", 1, owner=OWNER).default_variant == "fp16"


@pytest.mark.usefixtures("version")
def test_the_result_tells_what_has_changed(database: Database, settings: Settings) -> None:
    claim = a_measuring(database, settings)

    result = measure.record(database, claim, MEASURED)

    assert jobs.find(database, claim.job.id, owner=OWNER).result == result.as_document()
    assert (result.model, result.version) == ("leaves", 1)
    assert result.defaults.before == {"cpu": "int8", "cuda": "fp32"}
    assert result.defaults.after == {"cpu": "fp32", "cuda": "fp32"}
    changed = next(each for each in result.measured if each.variant == "int8")
    assert changed.before is not None
    assert (changed.before["accepted"], changed.after["accepted"]) == (True, False)
    assert changed.after["reasons"] == ["is not faster"]


@pytest.mark.usefixtures("version")
def test_a_variant_that_was_never_measured_there_has_no_before(database: Database, settings: Settings) -> None:
    made = measure.Remeasurement(measured={"int8": {"cuda": FAST}}, defaults={"cuda": "int8"})

    result = measure.record(database, a_measuring(database, settings), made)

    assert [(each.provider, each.before) for each in result.measured] == [("cuda", None)]


def test_a_stale_claim_changes_nothing(database: Database, settings: Settings, version: registry.Version) -> None:
    claim = a_measuring(database, settings)
    claims.crash(database, claim, settings=settings, reason="it was killed")

    with pytest.raises(Stale):
        measure.record(database, claim, MEASURED)

    assert registry.version(database, "leaves", 1, owner=OWNER) == version


def test_a_measuring_that_is_to_be_canceled_changes_nothing(
    database: Database, settings: Settings, version: registry.Version
) -> None:
    claim = a_measuring(database, settings)
    jobs.cancel(database, claim.job.id, owner=OWNER)

    with pytest.raises(Stale):
        measure.record(database, claim, MEASURED)

    assert registry.version(database, "leaves", 1, owner=OWNER) == version
