"""How long a job still takes, as its progress tells it."""

import json
import os
from pathlib import Path

import pytest

from tests.samples import a_train_spec
from tests.workers.training_runs import Recorder, run, some_arrays, ticking
from workers.process.progress import Stretch
from workers.process.remaining import Remaining
from workers.process.reporting import PipeReporter

PLAN = [("validating", 10.0), ("training", 60.0), ("exporting", 30.0)]


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_nothing_is_said_before_the_training_is_known() -> None:
    clock = Clock()
    remaining = Remaining(PLAN, clock=clock)
    remaining.enter("validating")

    clock.now = 5.0

    assert remaining.left_s(0.5, own_s=None) is None


def test_an_expected_training_and_what_follows_it_count_before_they_begin() -> None:
    clock = Clock()
    remaining = Remaining(PLAN, clock=clock)
    remaining.expect("training", 600.0)
    remaining.enter("validating")
    remaining.left_s(0.0, own_s=None)

    clock.now = 50.0
    left_s = remaining.left_s(0.5, own_s=None)

    assert left_s == pytest.approx(50 + 600 + 30 * 700 / 70)


def test_a_phase_without_an_estimate_of_its_own_goes_by_its_pace() -> None:
    clock = Clock()
    remaining = Remaining([("exporting", 1.0)], clock=clock)
    remaining.enter("exporting")
    remaining.left_s(0.5, own_s=None)  # taken up where an earlier attempt had left it

    clock.now = 10.0

    assert remaining.left_s(0.75, own_s=None) == pytest.approx(10.0)


def test_estimates_are_smooth_and_never_below_zero() -> None:
    clock = Clock()
    remaining = Remaining([("training", 1.0)], clock=clock)
    remaining.enter("training")
    before = remaining.left_s(0.1, own_s=100.0)

    clock.now = 1.0
    jumped = remaining.left_s(0.2, own_s=1_000.0)
    clock.now = 5_000.0
    late = remaining.left_s(0.9, own_s=-7.0)

    assert before is not None
    assert jumped is not None
    assert 99 < jumped < 200  # of a tenfold estimate, one second takes over a twentieth
    assert late == 0.0


@pytest.mark.parametrize("epoch_s", [None, 3.0])
def test_a_run_tells_how_long_it_still_takes(epoch_s: float | None) -> None:
    told = Recorder()
    spec = a_train_spec(training={"epochs": 4, "batch_size": 2, "precision": "fp32"})

    run(spec, some_arrays(), reporter=told, clock=ticking(), epoch_s=epoch_s)

    etas = [float(facts["eta_s"]) for facts in told.facts if "eta_s" in facts]
    assert len(etas) > 10
    assert all(eta >= 0 for eta in etas)
    assert etas[-1] == 0
    assert etas[len(etas) // 2] < max(etas[: len(etas) // 4])


def test_a_part_of_a_phase_adds_what_comes_after_it() -> None:
    told = Recorder()

    Stretch(told, start=0.0, end=0.1, after_s=60.0).progress(0.5, eta_s=2.0)
    Stretch(told, start=0.0, end=0.1).progress(0.5, eta_s=2.0)

    assert [facts.get("eta_s") for facts in told.facts] == [62.0, None]


def test_what_is_reported_is_the_whole_jobs(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path / "reports", os.O_WRONLY | os.O_CREAT)
    reporter = PipeReporter(descriptor, plan=PLAN)

    reporter.phase("training")
    reporter.progress(1.0, eta_s=7.0)

    os.close(descriptor)
    last = json.loads((tmp_path / "reports").read_text().splitlines()[-1])["data"]
    assert last["eta_s"] > 7.0  # the export follows


def test_each_phase_tells_its_cost_when_it_ends(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path / "reports", os.O_WRONLY | os.O_CREAT)
    reporter = PipeReporter(descriptor, plan=PLAN, memory=lambda: {"memory_bytes": 5, "device": "cpu"})

    for name, _ in PLAN:
        reporter.phase(name)
        reporter.progress(1.0, epoch=3)
    reporter.end_phase()

    os.close(descriptor)
    reports = [json.loads(line) for line in (tmp_path / "reports").read_text().splitlines()]
    costs = [report["data"] for report in reports if report["kind"] == "cost"]
    assert [cost["stage"] for cost in costs] == [name for name, _ in PLAN]
    assert all((cost["epochs"], cost["memory_bytes"]) == (3, 5) and cost["seconds"] >= 0 for cost in costs)
