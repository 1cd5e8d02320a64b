"""Costs of a job's stages as this installation has measured them, and estimates of a job that is still to come.

A trainer reports what each finished stage took. An estimate scales the seconds of the jobs that are most like the new
one by the work that both have to do: examples, pixels, epochs and the backbone's multiplications. How far it may be off
comes from how far those jobs lie apart, and from how much they are like it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import Any

from sqlalchemy import Connection, Row, insert, select

from models_store.host.processes import this_process
from models_store.jobs.kinds import STAGES
from models_store.spec.stage_work import Features, work_of
from models_store.storage import tables
from models_store.storage.database import Database, now
from models_store.tasks.rooms import contract_of

MOST_ROWS = 400
"""newest measurements of a stage that an estimate looks at"""
INTERVAL = 1.2816
"""standard deviations on either side of the middle that hold 80 % of a normal distribution"""
PRIOR_JOBS = 3
"""measured jobs that the expected spread of a likeness counts as much as"""
LIKENESS: tuple[tuple[str, tuple[str, ...], float], ...] = (
    ("this backbone, input size and way of training", ("device", "backbone", "size", "way"), 0.15),
    ("this backbone and way of training", ("device", "backbone", "way"), 0.3),
    ("other backbones trained this way", ("device", "way"), 0.6),
    ("other ways of training", ("device",), 1.0),
)
"""name, what both jobs have in common, standard deviation of the logarithm of their ratio; the most alike first"""


@dataclass(frozen=True)
class Cost:
    """What one finished stage took; memory is the peak of the trainer's process, and of its GPU's allocator."""

    stage: str
    seconds: float
    epochs: int | None = None
    """epochs that were trained, where they are known: early stopping ends some runs"""
    memory_bytes: int | None = None
    gpu_memory_bytes: int | None = None
    device: str = "cpu"


@dataclass(frozen=True)
class Range:
    """A figure that is expected: the middle, and what 8 of 10 jobs lie between."""

    low: float
    middle: float
    high: float


@dataclass(frozen=True)
class StageEstimate:
    """What a stage is expected to take, and how many jobs of what likeness say so."""

    stage: str
    seconds: Range
    memory_bytes: Range | None
    gpu_memory_bytes: Range | None
    jobs: int
    likeness: str


def features_of(spec: Mapping[str, Any], card: Mapping[str, Any], *, device: str = "cpu") -> Features:
    """Return what the stages of a resolved spec (a document) depend on, with a dataset of such a card."""
    splits = card.get("splits") or {split: sum(counts.values()) for split, counts in card["counts"].items()}
    net = contract_of(spec["task"]).Spec.recipe.costs(dict(spec))
    return Features.of(
        spec, net, train=splits.get("train", 0), val=splits.get("val", 0), images=sum(splits.values()), device=device
    )


def record(database: Database, job_id: str, cost: Cost) -> None:
    """Keep what a stage of a job took on this host, beside what that depends on."""
    job, dataset = tables.job, tables.dataset
    query = select(job.c.spec, dataset.c.card).join(dataset, dataset.c.id == job.c.dataset_id).where(job.c.id == job_id)
    with database.write() as connection:
        row = connection.execute(query).first()
        if row is None:
            return  # the dataset is gone, and with it what the seconds depend on
        features = features_of(row.spec, row.card, device=cost.device)
        features = features if cost.epochs is None else replace(features, epochs=cost.epochs)
        measured = {name: value for name, value in asdict(cost).items() if name not in {"epochs", "device"}}
        document = features.as_document()
        values = {"job_id": job_id, "host": this_process().host, "features": document, "created_at": now()}
        connection.execute(insert(tables.stage_cost).values(**measured, **values))


def estimates(database: Database, features: Features, *, stages: Sequence[str] = STAGES) -> dict[str, StageEstimate]:
    """Return stage → what it is expected to take; stages that nothing is known of are left out."""
    with database.read() as connection:
        measured = {stage: _measured(connection, stage) for stage in stages}
    found = ((stage, _of_stage(stage, rows, features)) for stage, rows in measured.items())
    return {stage: each for stage, each in found if each is not None}


def expected_s(
    database: Database, spec: Mapping[str, Any], card: Mapping[str, Any], *, device: str = "cpu"
) -> dict[str, float]:
    """Return stage → seconds that a resolved spec (a document) is expected to take, of the stages that are known."""
    found = estimates(database, features_of(spec, card, device=device))
    return {stage: each.seconds.middle for stage, each in found.items()}


def total(ranges: Iterable[Range]) -> Range:
    """Return the sum: what makes one stage late (a busy host) makes the others late, so the ends add up."""
    lows, middles, highs = zip(*((each.low, each.middle, each.high) for each in ranges), strict=True)
    return Range(sum(lows), sum(middles), sum(highs))


def most(ranges: Iterable[Range]) -> Range | None:
    """Return the largest by its middle; None: there is none."""
    return max(ranges, key=lambda each: each.middle, default=None)


def newest_device(database: Database) -> str | None:
    """Return the type of device that the newest stage was measured on; None: none was."""
    cost = tables.stage_cost
    with database.read() as connection:
        features = connection.execute(select(cost.c.features).order_by(cost.c.id.desc()).limit(1)).scalar_one_or_none()
    return None if features is None else str(features["device"])


def _measured(connection: Connection, stage: str) -> list[Row[Any]]:
    cost = tables.stage_cost
    columns = (cost.c.job_id, cost.c.seconds, cost.c.memory_bytes, cost.c.gpu_memory_bytes, cost.c.features)
    query = select(*columns).where(cost.c.stage == stage).order_by(cost.c.id.desc()).limit(MOST_ROWS)
    return [*connection.execute(query)]


def _of_stage(stage: str, rows: Sequence[Row[Any]], features: Features) -> StageEstimate | None:
    wanted, work = features.as_document(), work_of(stage, features)
    for likeness, shared, spread in LIKENESS:
        alike = [row for row in rows if all(row.features.get(name) == wanted[name] for name in shared)]
        if alike:
            seconds = [work * row.seconds / work_of(stage, Features.of_document(row.features)) for row in alike]
            return StageEstimate(
                stage,
                seconds=_range(seconds, spread=spread),
                memory_bytes=_memory([row.memory_bytes for row in alike], spread=spread),
                gpu_memory_bytes=_memory([row.gpu_memory_bytes for row in alike], spread=spread),
                jobs=len({row.job_id for row in alike}),
                likeness=likeness,
            )
    return None


def _memory(measured: Sequence[int | None], *, spread: float) -> Range | None:
    known = [float(each) for each in measured if each]
    return _range(known, spread=spread) if known else None


def _range(values: Sequence[float], *, spread: float) -> Range:
    """Return the range of the next value, of whose logarithm `spread` is the deviation that is expected beforehand."""
    logs = [math.log(max(value, 1e-3)) for value in values]
    middle = fmean(logs)
    squares = sum((each - middle) ** 2 for each in logs) + PRIOR_JOBS * spread**2
    deviation = math.sqrt(squares / (len(logs) - 1 + PRIOR_JOBS) * (1 + 1 / len(logs)))
    reach = INTERVAL * deviation
    return Range(math.exp(middle - reach), math.exp(middle), math.exp(middle + reach))
