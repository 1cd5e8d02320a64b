"""Progress of a whole job as a share of its time, as its trainer reports it."""

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from models_store.jobs import claims, submissions
from models_store.jobs.store import Job
from models_store.settings import Settings
from models_store.storage.database import Database
from tests.samples import a_train_spec, insert_dataset
from workers.families.family_progress import of_family
from workers.process.reporting import PipeReporter

TICK_S = 0.5
SHORT = {"validating": 2, "training": 4, "exporting": 12, "quantizing": 25, "verifying": 9, "measuring": 20}
LONG = {"validating": 10, "training": 3000, "exporting": 10, "evaluating": 5, "measuring": 15, "publishing": 2}
TRIAL = {"validating": 2, "training": 30, "evaluating": 3}
COMPRESSION = {"validating": 3, "pruning": 200, "exporting": 20, "quantizing": 60, "verifying": 15, "measuring": 40}


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def progress(
    folder: Path,
    took: Mapping[str, float],
    *,
    expected: Mapping[str, float] | None = None,
    silent: tuple[str, ...] = (),
    done: float = 0.0,
) -> list[tuple[float, float]]:
    """Report a job whose phases take so many seconds; return (share of the time, fraction) of each report."""
    descriptor = os.open(folder / "reports", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    clock = Clock()
    plan = dict(expected or took)
    reporter = PipeReporter(descriptor, plan=[*plan.items()], done=done, clock=clock)
    for phase, seconds in plan.items():
        reporter.expect(phase, seconds)
    moments = []
    for phase, seconds in took.items():
        reporter.phase(phase)
        moments.append(clock.now)
        spent, tick_s = 0.0, max(TICK_S, seconds / 100)
        while spent < seconds:
            spent += tick_s
            clock.now += tick_s
            if phase not in silent or spent >= seconds:
                eta = {"eta_s": seconds - spent} if phase == "training" else {}
                reporter.progress(spent / seconds, **eta)
                moments.append(clock.now)
    os.close(descriptor)
    reports = [json.loads(line) for line in (folder / "reports").read_text().splitlines()]
    fractions = [report["data"]["fraction"] for report in reports if report["kind"] == "progress"]
    total = sum(took.values())
    return [((moment - 1000) / total, fraction) for moment, fraction in zip(moments, fractions, strict=True)]


@pytest.mark.parametrize("took", [SHORT, LONG, TRIAL, COMPRESSION], ids=["short", "long", "trial", "compression"])
@pytest.mark.parametrize("silent", [(), ("exporting", "quantizing", "pruning")], ids=["telling", "silent"])
def test_progress_is_the_share_of_the_time_where_the_costs_are_known(
    tmp_path: Path, took: Mapping[str, float], silent: tuple[str, ...]
) -> None:
    told = progress(tmp_path, took, silent=silent)

    fractions = [fraction for _, fraction in told]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1.0, abs=1e-3)
    assert max(abs(time - fraction) for time, fraction in told) < 0.05


@pytest.mark.parametrize("factor", [0.25, 4.0])
@pytest.mark.parametrize("took", [SHORT, LONG, COMPRESSION], ids=["short", "long", "compression"])
def test_progress_rises_to_the_end_also_where_the_costs_are_far_off(
    tmp_path: Path, took: Mapping[str, float], factor: float
) -> None:
    told = progress(tmp_path, took, expected={phase: seconds * factor for phase, seconds in took.items()})

    fractions = [fraction for _, fraction in told]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1.0, abs=1e-3)
    assert max(abs(time - fraction) for time, fraction in told) < 0.5


def test_a_phase_that_comes_out_longer_than_expected_does_not_stand_still(tmp_path: Path) -> None:
    told = progress(tmp_path, LONG, expected=LONG | {"training": 60})

    assert max(fraction for time, fraction in told if time < 0.5) < 0.75
    assert told[-1][1] == pytest.approx(1.0, abs=1e-3)


def test_progress_goes_on_by_time_while_one_call_takes_long(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path / "reports", os.O_WRONLY | os.O_CREAT)
    clock = Clock()
    reporter = PipeReporter(descriptor, plan=[("exporting", 20.0), ("measuring", 20.0)], clock=clock)
    reporter.expect("exporting", 20.0)
    reporter.phase("exporting")

    for _ in range(10):
        clock.now += 2.0
        reporter.tick()
    reporter.tick()  # too soon: nothing has passed
    reporter.phase("measuring")

    os.close(descriptor)
    reports = [json.loads(line) for line in (tmp_path / "reports").read_text().splitlines()]
    ticks = [report["data"] for report in reports if report["kind"] == "tick"]
    last = [report["data"]["fraction"] for report in reports if report["kind"] == "progress"][-1]
    assert [tick["fraction"] for tick in ticks[:9]] == pytest.approx(
        [0.05 * number for number in range(1, 10)], abs=1e-3
    )
    assert len(ticks) == 10
    assert ticks[-1]["fraction"] <= last < 0.55
    assert ticks[0]["eta_s"] > ticks[-1]["eta_s"] > 0


def test_a_new_attempt_goes_on_where_the_last_one_had_come(tmp_path: Path) -> None:
    told = progress(tmp_path, SHORT, done=0.6)

    fractions = [fraction for _, fraction in told]
    assert 0.6 <= fractions[0] < 0.62
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1.0, abs=1e-3)
    assert fractions[len(fractions) // 2] == pytest.approx(0.8, abs=0.06)


@pytest.fixture
def child(database: Database, settings: Settings) -> Job:
    insert_dataset(database, owner="ada")
    submissions.submit(database, owner="ada", spec=a_train_spec(), settings=settings)
    claim = claims.claim(database, settings=settings)
    assert claim is not None
    return claim.job


MEASURED = {"validating": 2.0, "training": 16.0, "evaluating": 2.0, "exporting": 10.0, "verifying": 5.0}


def test_a_familys_progress_is_by_what_its_children_took(child: Job) -> None:
    parent = replace(child, kind="repeats", started_at=100.0, progress={"fraction": 0.0})
    ended = [
        replace(child, state="succeeded", started_at=100.0 + 20 * number, finished_at=120.0 + 20 * number)
        for number in range(3)
    ]

    begun = of_family(parent, [child], total=4, publishes=False, measured_s=MEASURED)
    alone = of_family(parent, [*ended, child], total=4, publishes=False, measured_s=MEASURED)
    publishing = of_family(parent, [*ended, child], total=4, publishes=True, measured_s=MEASURED)

    assert begun == {"fraction": 0.0}
    assert alone == {"fraction": 0.75, "eta_s": 20.0}
    assert 0.3 < publishing["fraction"] < 0.7
    assert publishing["eta_s"] > 20 + 35


def test_a_familys_progress_never_falls(child: Job) -> None:
    parent = replace(child, kind="repeats", started_at=100.0, progress={"fraction": 0.5})
    slow = replace(child, state="succeeded", started_at=100.0, finished_at=101.0)

    assert of_family(parent, [slow], total=9, publishes=True, measured_s=MEASURED)["fraction"] == 0.5
