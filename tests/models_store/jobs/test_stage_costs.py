"""Costs of stages: kept as they are measured, and scaled to jobs that are still to come."""

import pytest

from models_store.datasets import store as datasets
from models_store.jobs import stage_costs, submissions
from models_store.jobs import store as jobs
from models_store.jobs.kinds import STAGES
from models_store.jobs.stage_costs import Cost
from models_store.settings import Settings
from models_store.spec.stage_work import Features
from models_store.storage.database import Database
from models_store.tasks.image.backbones.backbone import KINDS
from models_store.tasks.image.backbones.multiplications import GIGA_MACS, giga_macs
from models_store.tasks.image.backbones.own import CifarResNet18
from tests.samples import a_train_spec, insert_dataset

OWNER = "ada"
LITE0 = Features(
    backbone="efficientnet_lite0", size=224, way="fine_tune", freeze="none", epochs=10, train=1000, val=100,
    images=1200, giga_macs=0.384,
)  # fmt: skip


@pytest.fixture
def job_id(database: Database, settings: Settings) -> str:
    insert_dataset(database, owner=OWNER)
    job, _ = submissions.submit(database, owner=OWNER, spec=a_train_spec(), settings=settings)
    return job.id


def features_of_job(database: Database, job_id: str) -> Features:
    job = jobs.find(database, job_id, owner=OWNER)
    return stage_costs.features_of(job.spec, datasets.find(database, job.dataset_id, owner=OWNER).card)


def test_nothing_is_estimated_before_a_job_has_run(database: Database) -> None:
    assert stage_costs.estimates(database, LITE0) == {}


def test_the_same_job_again_is_expected_to_take_what_it_took(database: Database, job_id: str) -> None:
    features = features_of_job(database, job_id)
    stage_costs.record(database, job_id, Cost("training", 100.0, features.epochs, memory_bytes=1 << 30))

    found = stage_costs.estimates(database, features)["training"]

    assert found.seconds.middle == pytest.approx(100)
    assert 50 < found.seconds.low < 100 < found.seconds.high < 200
    assert found.memory_bytes is not None
    assert found.memory_bytes.middle == pytest.approx(1 << 30)
    assert (found.jobs, found.likeness) == (1, "this backbone, input size and way of training")


def test_twice_the_epochs_take_twice_the_time(database: Database, job_id: str) -> None:
    features = features_of_job(database, job_id)
    stage_costs.record(database, job_id, Cost("training", 100.0, epochs=features.epochs))
    longer = Features.of_document(features.as_document() | {"epochs": 2 * features.epochs})

    assert stage_costs.estimates(database, longer)["training"].seconds.middle == pytest.approx(200)


def test_a_run_that_was_stopped_early_counts_for_the_epochs_that_it_had(database: Database, job_id: str) -> None:
    features = features_of_job(database, job_id)
    stage_costs.record(database, job_id, Cost("training", 10.0, epochs=1))

    assert stage_costs.estimates(database, features)["training"].seconds.middle == pytest.approx(10 * features.epochs)


def test_what_is_less_alike_is_less_sure(database: Database, job_id: str) -> None:
    features = features_of_job(database, job_id)
    stage_costs.record(database, job_id, Cost("training", 100.0))
    other = Features.of_document(features.as_document() | {"backbone": "resnet18"})

    own = stage_costs.estimates(database, features)["training"].seconds
    found = stage_costs.estimates(database, other)["training"]

    assert found.likeness == "other backbones trained this way"
    assert found.seconds.high / found.seconds.low > own.high / own.low


def test_jobs_that_lie_apart_widen_the_range(database: Database, job_id: str) -> None:
    features = features_of_job(database, job_id)
    for seconds in (100.0, 100.0, 100.0):
        stage_costs.record(database, job_id, Cost("training", seconds))
    steady = stage_costs.estimates(database, features)["training"].seconds

    for seconds in (20.0, 500.0):
        stage_costs.record(database, job_id, Cost("training", seconds))
    uneven = stage_costs.estimates(database, features)["training"].seconds

    assert uneven.high / uneven.low > 2 * steady.high / steady.low


def test_another_device_says_nothing(database: Database, job_id: str) -> None:
    features = features_of_job(database, job_id)
    stage_costs.record(database, job_id, Cost("training", 1.0, device="cuda"))

    assert stage_costs.estimates(database, features) == {}


def test_every_stage_of_every_backbone_is_some_work(database: Database, job_id: str) -> None:
    for stage in STAGES:
        stage_costs.record(database, job_id, Cost(stage, 2.0))

    found = stage_costs.estimates(database, LITE0)

    assert set(found) == set(STAGES)
    assert all(0 < each.seconds.low < each.seconds.middle < each.seconds.high for each in found.values())
    assert stage_costs.total(each.seconds for each in found.values()).middle > 0


def test_every_backbone_has_its_count_of_multiplications() -> None:
    assert set(GIGA_MACS) | {"small_cnn", "cifar_resnet18"} == set(KINDS)
    assert giga_macs(CifarResNet18().model_dump(), 64) == pytest.approx(4 * giga_macs(CifarResNet18().model_dump(), 32))
