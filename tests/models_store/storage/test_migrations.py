"""What earlier releases wrote, in the tables of this one; on SQLite and on PostgreSQL."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from alembic import command
from alembic.config import Config

from models_store.datasets import store as datasets
from models_store.jobs import claims, housekeeping, submissions
from models_store.jobs import store as jobs
from models_store.models import aliases, registry
from models_store.settings import Settings
from models_store.storage import database as database_module
from models_store.storage import tables
from models_store.storage.database import Database
from tests.samples import a_train_spec, insert_dataset

FLAT = {
    "kind": "int8",
    "parent": "fp32",
    "accuracy": {"val": 0.94, "test": 0.93},
    "agreement": 0.99,
    "latency_ms": {"p50": 1.0, "p95": 1.5},
    "throughput": {"1": 1000.0, "32": 1500.0},
    "speedup": 2.1,
    "size_bytes": 300,
    "load_ms": 4.0,
    "provider": "CPUExecutionProvider",
    "threads": 1,
    "accuracy_drop": 0.01,
    "accepted": True,
    "reasons": [],
    "temperature": {"value": 1.2},
    "calibration_images": 128,
}
"""a variant's card as version 2 of the tables had it"""


def to_revision(database: Database, revision: str) -> None:
    """Bring the tables to the shape of another release."""
    config = Config()
    config.set_main_option("script_location", str(Path(database_module.__file__).parent / "migrations"))
    move = command.upgrade if revision == "head" else command.downgrade
    with database.write() as connection:
        config.attributes["connection"] = connection
        move(config, revision)


def write_older_version(database: Database, cards: dict[str, dict[str, Any]], *, default: str) -> None:
    job = {
        "id": "job_1", "owner": "ada", "name": "leaves", "dataset_id": "ds_1", "spec": "{}", "warnings": "[]",
        "spec_sha256": "5" * 64, "state": "succeeded", "priority": 0, "not_before": 0.0, "fence": 1, "crashes": 0,
        "max_crashes": 3, "progress": "{}", "checkpoints": "[]", "event_seq": 0, "created_at": 0.0,
    }  # fmt: skip
    version = {
        "id": "ver_1", "owner": "ada", "model": "leaves", "number": 1, "job_id": "job_1", "dataset_id": "ds_1",
        "default_variant": default, "card": '{"labels": ["x", "y"]}', "created_at": 0.0,
    }  # fmt: skip
    rows = [("model", {"owner": "ada", "name": "leaves", "created_at": 0.0}), ("job", job), ("version", version)]
    for name, card in cards.items():
        variant = {"version_id": "ver_1", "name": name, "blob": "a" * 64, "size_bytes": 1, "card": json.dumps(card)}
        rows.append(("variant", variant | {"accepted": card.get("accepted", True)}))
    with database.write() as connection:
        for table, row in rows:
            connection.execute(sqlalchemy.table(table, *map(sqlalchemy.column, row)).insert().values(row))


@pytest.fixture
def migrated(database: Database) -> Database:
    to_revision(database, "0002")
    fp32 = FLAT | {"kind": "fp32", "parent": None, "speedup": 1.0}
    write_older_version(database, {"fp32": fp32, "int8": FLAT}, default="int8")
    to_revision(database, "head")
    return database


def test_figures_of_earlier_releases_move_below_their_provider(migrated: Database) -> None:
    version = registry.version(migrated, "leaves", 1, owner="ada")

    cards = {variant.name: variant.card for variant in version.variants}
    figures = cards["int8"]["measured"]["cpu"]
    assert (figures["speedup"], figures["accepted"], figures["latency_ms"]) == (2.1, True, {"p50": 1.0, "p95": 1.5})
    assert set(cards["int8"]) == {"kind", "parent", "size_bytes", "temperature", "calibration_images", "measured"}
    assert version.defaults == {"cpu": "int8"}


def test_a_version_of_an_earlier_release_is_served_as_it_was(migrated: Database) -> None:
    meant = [
        registry.resolve(migrated, reference, owner="ada", provider="cpu").variant
        for reference in ("leaves", "leaves:1/fp32", "leaves:1/int8")
    ]

    assert meant == ["int8", "fp32", "int8"]


@pytest.mark.parametrize(
    ("card", "provider"),
    [(FLAT | {"provider": "CUDAExecutionProvider"}, "cuda"), ({"kind": "fp32"}, "cpu"), (FLAT, "cpu")],
)
def test_the_provider_is_the_one_that_it_was_measured_on(
    database: Database, card: dict[str, Any], provider: str
) -> None:
    to_revision(database, "0002")
    write_older_version(database, {"fp32": card}, default="fp32")

    to_revision(database, "head")

    version = registry.version(database, "leaves", 1, owner="ada")
    assert version.defaults == {provider: "fp32"}
    assert version.variants[0].card["measured"][provider]["accepted"] is True


def test_the_change_can_be_taken_back(migrated: Database) -> None:
    to_revision(migrated, "0002")

    with migrated.read() as connection:
        card = connection.execute(
            tables.variant.select().with_only_columns(tables.variant.c.card).where(tables.variant.c.name == "int8")
        ).scalar_one()
    assert card == FLAT


def test_jobs_of_an_earlier_release_are_claimed_and_listed(database: Database, settings: Settings) -> None:
    to_revision(database, "0003")
    row = {
        "owner": "ada", "name": "leaves", "dataset_id": "ds_1", "spec": "{}", "warnings": "[]", "spec_sha256": "5" * 64,
        "state": "queued", "not_before": 1.0, "fence": 0, "crashes": 0, "max_crashes": 3, "progress": "{}",
        "checkpoints": "[]", "event_seq": 0, "created_at": 0.0,
    }  # fmt: skip
    rows = [row | {"id": f"job_{number}", "priority": priority} for number, priority in enumerate((0, 0, 100))]
    with database.write() as connection:
        connection.execute(sqlalchemy.table("job", *map(sqlalchemy.column, rows[0])).insert(), rows)

    to_revision(database, "head")

    order = [claim.job.id for _ in range(3) if (claim := claims.claim(database, settings=settings))]
    assert order == ["job_2", "job_0", "job_1"]
    assert [job.id for job in jobs.listing(database, owner="ada")[0]] == ["job_2", "job_1", "job_0"]


def test_a_dataset_with_its_jobs_and_versions_survives_the_change_of_its_column(database: Database) -> None:
    to_revision(database, "0008")
    row = {
        "id": "ds_1", "owner": "ada", "name": "leaves", "digest": "d" * 64, "images_blob": "1" * 64,
        "manifest_blob": "2" * 64, "card": "{}", "report": "{}", "created_at": 0.0,
    }  # fmt: skip
    with database.write() as connection:
        connection.execute(sqlalchemy.table("dataset", *map(sqlalchemy.column, row)).insert().values(row))
    write_older_version(database, {"fp32": {"kind": "fp32"}}, default="fp32")
    with database.write() as connection:
        event = {"job_id": "job_1", "seq": 1, "kind": "state", "data": {}, "created_at": 0.0}
        connection.execute(tables.job_event.insert().values(event))

    to_revision(database, "head")

    assert datasets.find(database, "ds_1", owner="ada").content_blob == "1" * 64
    assert jobs.find(database, "job_1", owner="ada").dataset_id == "ds_1"
    version = registry.version(database, "leaves", 1, owner="ada")
    assert (version.dataset_id, version.auxiliary_blobs) == ("ds_1", {})
    assert {"1" * 64, "2" * 64} <= housekeeping.named_blobs(database)


def test_jobs_without_a_dataset_survive_when_the_change_is_taken_back(database: Database, settings: Settings) -> None:
    insert_dataset(database, owner="ada")
    spec = a_train_spec()
    with_data = submissions.submit(database, owner="ada", spec=spec, settings=settings)[0]
    without = submissions.submit(
        database, owner="ada", spec=spec.model_copy(update={"dataset": None}), settings=settings
    )[0]

    to_revision(database, "0008")

    with database.read() as connection:
        found = connection.execute(sqlalchemy.text("SELECT id, dataset_id FROM job ORDER BY id")).all()
    assert found == [(with_data.id, spec.dataset), (without.id, "")]


def test_an_alias_of_an_earlier_release_has_one_target_and_can_be_taken_back(database: Database) -> None:
    to_revision(database, "0009")
    write_older_version(database, {"fp32": {"kind": "fp32"}}, default="fp32")
    row = {"owner": "ada", "model": "leaves", "name": "live", "version_id": "ver_1", "updated_at": 0.0}
    with database.write() as connection:
        connection.execute(sqlalchemy.table("alias", *map(sqlalchemy.column, row)).insert().values(row))

    to_revision(database, "head")

    only = aliases.Alias((aliases.Target(1),))
    assert aliases.alias_of(database, "leaves", "live", owner="ada") == only
    shadowed = aliases.Alias((aliases.Target(1), aliases.Target(1, "fp32")), aliases.Shadow(1, "fp32", 0.5))
    aliases.set_alias(database, "leaves", "live", owner="ada", to=shadowed)
    to_revision(database, "0009")
    to_revision(database, "head")
    assert aliases.alias_of(database, "leaves", "live", owner="ada") == only


MIGRATE = """
import sys
from models_store.storage.database import Database
Database(sys.argv[1]).migrate()
"""


def test_processes_that_migrate_rows_at_the_same_time_do_it_once(database: Database) -> None:
    to_revision(database, "0008")
    write_older_version(database, {"fp32": {"kind": "fp32"}}, default="fp32")
    url = database.engine.url.render_as_string(hide_password=False)

    processes = [subprocess.Popen([sys.executable, "-c", MIGRATE, url]) for _ in range(2)]

    assert [process.wait(120) for process in processes] == [0, 0]
    version = registry.version(database, "leaves", 1, owner="ada")
    assert (version.dataset_id, version.auxiliary_blobs) == ("ds_1", {})
    assert jobs.find(database, "job_1", owner="ada").dataset_id == "ds_1"


def test_numbers_of_earlier_versions_are_counted_on(database: Database) -> None:
    to_revision(database, "0005")
    write_older_version(database, {"fp32": {"kind": "fp32"}}, default="fp32")

    to_revision(database, "head")

    with database.read() as connection:
        assert connection.execute(tables.version_counter.select()).all() == [("ada", "leaves", 1)]
    version = registry.version(database, "leaves", 1, owner="ada")
    assert (version.description, version.tags) == (None, [])
    assert registry.model(database, "leaves", owner="ada").tags == ()
