import math

import pytest
from pydantic import TypeAdapter

from models_store.spec.search import Search
from workers.families import search
from workers.families.search import Trial

LR = {"optimizer.lr": {"log_uniform": [1e-6, 10.0]}}


def a_search(kind: str, **given: object) -> Search:
    return TypeAdapter(Search).validate_python({"kind": kind, "space": LR} | given)


def quality(lr: float) -> float:
    """Return how good a learning rate is: best at 0.01."""
    return 1 - abs(math.log10(lr) + 2) / 4


def a_trial(*values: float, outcome: search.Outcome = "complete", lr: float = 0.1) -> Trial:
    by_epoch = dict(enumerate(values, 1))
    value = max(values) if outcome in {"complete", "pruned"} else None
    return Trial({"optimizer.lr": lr}, outcome, value, by_epoch)


def test_the_estimator_prefers_what_has_worked() -> None:
    wanted = a_search("tpe", trials=30, startup_trials=8)
    trials = [Trial({"optimizer.lr": 10.0}, "complete", quality(10.0))]

    for _ in range(29):
        lr = search.suggest(wanted, trials, seed=0, direction="maximize")["optimizer.lr"]
        trials.append(Trial({"optimizer.lr": lr}, "complete", quality(lr)))

    found = [trial.value or 0.0 for trial in trials]
    assert sum(found[-8:]) > sum(found[1:9])


def test_trials_that_still_run_push_the_next_one_elsewhere() -> None:
    wanted = a_search("tpe", trials=30, startup_trials=2)
    done = [Trial({"optimizer.lr": lr}, "complete", quality(lr)) for lr in (1e-6, 1e-4, 0.009, 0.011, 1.0, 10.0)]
    running = [Trial({"optimizer.lr": 0.01 + 1e-5 * number}, "running") for number in range(30)]

    alone = search.suggest(wanted, done, seed=3, direction="maximize")["optimizer.lr"]
    crowded = search.suggest(wanted, [*done, *running], seed=3, direction="maximize")["optimizer.lr"]

    assert abs(math.log10(crowded) + 2) > abs(math.log10(alone) + 2)


@pytest.mark.parametrize("kind", ["random", "tpe", "successive_halving"])
def test_values_stay_within_the_space_and_follow_the_seed_and_the_number(kind: str) -> None:
    space = {
        "optimizer.lr": {"log_uniform": [1e-5, 1e-2]},
        "head.dropout": {"uniform": [0.1, 0.2]},
        "training.epochs": {"int_uniform": [3, 5]},
        "optimizer": {"choice": [{"kind": "sgd"}, {"kind": "adamw"}, None]},
    }
    wanted = a_search(kind, space=space, trials=30)
    own = [Trial({"optimizer.lr": 5.0}, "complete", 0.5)]

    drawn = [search.suggest(wanted, own * number, seed=1, direction="minimize") for number in range(1, 20)]
    again = [search.suggest(wanted, own * number, seed=1, direction="minimize") for number in range(1, 20)]

    assert drawn == again
    assert len({each["optimizer.lr"] for each in drawn}) == 19
    for each in drawn:
        assert 1e-5 <= each["optimizer.lr"] <= 1e-2
        assert 0.1 <= each["head.dropout"] <= 0.2
        assert each["training.epochs"] in {3, 4, 5}
        assert each["optimizer"] in space["optimizer"]["choice"]


def test_failed_trials_and_values_outside_the_space_are_no_obstacle() -> None:
    wanted = a_search("tpe", trials=30, startup_trials=1)
    trials = [
        Trial({"optimizer.lr": 1e6}, "complete", 0.9),
        Trial({"optimizer.lr": 0.1}, "failed", None, {1: 0.3}),
        Trial({"optimizer.lr": 0.1}, "complete", math.nan),
        Trial({"optimizer.lr": 0.1}, "pruned", 0.2, {1: 0.2}),
    ]

    assert 1e-6 <= search.suggest(wanted, trials, seed=0, direction="maximize")["optimizer.lr"] <= 10


def test_the_median_of_the_finished_decides_who_goes_on() -> None:
    wanted = a_search("tpe", trials=30, startup_trials=3)
    finished = [a_trial(0.5, 0.6), a_trial(0.6, 0.7), a_trial(0.7, 0.8)]

    def stops(*values: float) -> bool:
        trials = [*finished, a_trial(*values, outcome="running")]
        return search.should_stop(wanted, trials, 3, direction="maximize")

    assert [stops(0.5), stops(0.65), stops(0.65, 0.65), stops(0.5, 0.75)] == [True, False, True, False]


def test_nobody_is_stopped_before_enough_trials_have_finished() -> None:
    wanted = a_search("tpe", trials=30, startup_trials=3)
    trials = [a_trial(0.5, 0.6), a_trial(0.6, 0.7), a_trial(0.01, outcome="running")]

    assert not search.should_stop(wanted, trials, 2, direction="maximize")


def test_a_loss_is_watched_the_other_way() -> None:
    wanted = a_search("tpe", trials=30, startup_trials=1)
    trials = [Trial({}, "complete", 0.5, {1: 0.5}), Trial({}, "running", None, {1: 0.9})]

    assert search.should_stop(wanted, trials, 1, direction="minimize")
    assert not search.should_stop(wanted, trials, 1, direction="maximize")


@pytest.mark.parametrize("kind", ["random", "tpe"])
def test_without_pruning_nobody_is_stopped(kind: str) -> None:
    wanted = a_search(kind, trials=30, **({"prune": False, "startup_trials": 1} if kind == "tpe" else {}))

    assert not search.should_stop(wanted, [a_trial(0.9), a_trial(0.1, outcome="running")], 1, direction="maximize")


def test_at_each_rung_the_better_share_goes_on() -> None:
    wanted = a_search("successive_halving", trials=30, reduction_factor=2, min_epochs=1)
    others = [a_trial(0.9, 0.9, 0.9, 0.9), a_trial(0.8, 0.85, outcome="pruned"), a_trial(0.3, outcome="pruned")]

    def stops(*values: float) -> bool:
        trials = [*others, a_trial(*values, outcome="running")]
        return search.should_stop(wanted, trials, 3, direction="maximize")

    assert stops(0.5)  # third of four at the first rung
    assert not stops(0.85)  # second of four
    assert stops(0.85, 0.86)  # second of three at the second rung, of which one goes on
    assert not stops(0.85, 0.95)
    assert not stops(0.85, 0.95, 0.1)  # three epochs are no rung


@pytest.mark.parametrize("kind", ["tpe", "successive_halving"])
def test_trial_0_is_never_stopped(kind: str) -> None:
    wanted = a_search(kind, trials=30, **({"startup_trials": 1} if kind == "tpe" else {}))
    trials = [a_trial(0.01, outcome="running"), a_trial(0.9), a_trial(0.9), a_trial(0.9)]

    assert not search.should_stop(wanted, trials, 0, direction="maximize")


def test_the_best_is_complete_and_the_first_of_equals() -> None:
    trials = [
        a_trial(0.5),
        a_trial(0.7),
        a_trial(0.7),
        a_trial(0.99, outcome="pruned"),
        a_trial(0.98, outcome="failed"),
        Trial({}, "complete", math.nan),
    ]

    assert search.best(trials, direction="maximize") == 1
    assert search.best(trials, direction="minimize") == 0
    assert search.best(trials[3:], direction="maximize") is None
