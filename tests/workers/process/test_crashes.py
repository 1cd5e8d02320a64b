"""Why an attempt counts as crashed, as its owner reads it."""

import signal
from collections.abc import Callable

import pytest

from models_store.host import cgroups
from workers.process import crashes
from workers.process.crashes import BUSY_STALLS, Progress

STALL_S = 100.0


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def a_progress() -> tuple[Progress, Callable[[float], None]]:
    clock = Clock()

    def wait(seconds: float) -> None:
        clock.now += seconds

    return Progress(stall_s=STALL_S, clock=clock), wait


def test_a_trainer_that_says_nothing_for_the_stall_limit_is_ended_and_its_stage_is_named() -> None:
    progress, wait = a_progress()
    progress.take([("phase", {"phase": "exporting"}), ("progress", {"fraction": 0.4, "step": "pruned"})])

    wait(STALL_S + 1)
    crash = progress.crash()

    assert crash is not None
    assert "no progress for 100 s while exporting (pruned)" in crash.reason
    assert "memory" not in crash.reason + crash.advice


def test_a_trainer_that_dies_on_its_way_up_was_starting() -> None:
    progress, wait = a_progress()

    wait(STALL_S + 1)

    assert "while starting" in str(progress.crash())


def test_a_trainer_that_is_at_work_goes_on_beyond_the_stall_limit() -> None:
    progress, wait = a_progress()
    progress.take([("phase", {"phase": "training"})])

    for _ in range(6):
        wait(STALL_S * 0.9)
        progress.take([("alive", {"phase": "training", "step": "precision"})])

    assert progress.crash() is None
    assert progress.stage == "training (precision)"


def test_work_without_any_progress_is_ended_at_last() -> None:
    progress, wait = a_progress()
    progress.take([("phase", {"phase": "pruning"})])

    for _ in range(2 * BUSY_STALLS):
        assert progress.crash() is None
        wait(STALL_S / 2 + 1)
        progress.take([("alive", {"phase": "pruning", "step": ""})])
    crash = progress.crash()

    assert crash is not None
    assert "calculated for 800 s while pruning and made no progress" in crash.reason


def test_progress_lets_work_begin_anew() -> None:
    progress, wait = a_progress()

    for _ in range(4 * BUSY_STALLS):
        wait(STALL_S / 2)
        progress.take([("alive", {"phase": "training", "step": ""})])
        progress.take([("progress", {"fraction": 0.5})])

    assert progress.crash() is None


def test_a_new_phase_forgets_the_steps_of_the_last() -> None:
    progress, _ = a_progress()

    progress.take([("phase", {"phase": "training"}), ("progress", {"fraction": 1, "step": "validation"})])
    progress.take([("phase", {"phase": "exporting"})])

    assert progress.stage == "exporting"


@pytest.mark.parametrize(("kills", "suspected"), [(7, False), (8, True)])
def test_memory_is_suspected_only_where_the_kernel_counted_a_kill_for_it(
    monkeypatch: pytest.MonkeyPatch, kills: int, *, suspected: bool
) -> None:
    monkeypatch.setattr(cgroups, "memory_kills", lambda: kills)

    crash = crashes.of_exit(-signal.SIGKILL, stage="training", kills_before=7)

    assert "SIGKILL) while training" in crash.reason
    assert ("batch_size" in crash.advice) is suspected


@pytest.mark.parametrize("exit_code", [1, -signal.SIGSEGV, -signal.SIGILL, -signal.SIGBUS, None])
def test_other_ends_are_not_blamed_on_memory(monkeypatch: pytest.MonkeyPatch, exit_code: int | None) -> None:
    monkeypatch.setattr(cgroups, "memory_kills", lambda: 8)  # of somebody else: it was no SIGKILL

    crash = crashes.of_exit(exit_code, stage="training", kills_before=7)

    assert "memory" not in crash.reason + crash.advice
