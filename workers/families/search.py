"""Choice of a trial's values, and of trials to stop: Optuna's samplers and pruners over our own rows. No torch.

The trials are rows of the job table, and what they measured are events; a study is built from them in memory whenever
something is to be decided, and thrown away. So there is one truth, and any process may decide next
(docs/decisions/0004-trials-are-rows.md).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from models_store.jobs.job import TERMINAL
from models_store.jobs.results import Tried
from models_store.spec.search import Distribution, Grid, Random, Search, SuccessiveHalving, Tpe
from models_store.spec.space import Parameters, grid_values
from models_store.spec.training import FALLING

if TYPE_CHECKING:
    import optuna

Outcome = Literal["running", "complete", "pruned", "failed"]
Direction = Literal["maximize", "minimize"]


@dataclass(frozen=True)
class Trial:
    """A trial as far as it is known: `by_epoch` has the watched value after each epoch from 1, `value` the best one.

    `parameters` are dotted path → value; of trial 0, the spec's own values.
    """

    parameters: Parameters
    outcome: Outcome
    value: float | None = None
    by_epoch: dict[int, float] = field(default_factory=dict)


def trial_of(
    state: str,
    result: Tried,
    *,
    parameters: Parameters | None,
    by_epoch: dict[int, float] | None = None,
) -> Trial:
    """Return a trial as its row has it, with what its events say of its epochs."""
    known = parameters or {}
    if state not in TERMINAL:
        return Trial(known, "running", None, by_epoch or {})
    if state != "succeeded":
        return Trial(known, "failed", None, by_epoch or {})
    return Trial(known, "pruned" if result.pruned else "complete", result.value, by_epoch or {})


def direction_of(monitor: str) -> Direction:
    """Return which way the watched figure gets better."""
    return "minimize" if monitor in FALLING else "maximize"


def suggest(search: Search, trials: Sequence[Trial], *, seed: int, direction: Direction) -> Parameters:
    """Return the values of trial number `len(trials)`, which is at least 1; `trials` are those before it, in order.

    Grid and random values depend on the spec and the number alone; the estimator's on what the others have shown.
    """
    number = len(trials)
    assert number > 0, "trial 0 is the spec as it stands"
    if isinstance(search, Grid):
        axes = [grid_values(each, steps=search.steps) for each in search.space.values()]
        return dict(zip(search.space, list(product(*axes))[number - 1], strict=True))
    import optuna  # noqa: PLC0415  0.7 s that supervisors without a search are spared

    drawn = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    sampler: optuna.samplers.BaseSampler = optuna.samplers.RandomSampler(seed=drawn)
    if isinstance(search, Tpe):
        sampler = optuna.samplers.TPESampler(
            seed=drawn, n_startup_trials=search.startup_trials, multivariate=False, constant_liar=True
        )
    study = _study(search, trials, direction=direction, sampler=sampler)
    chosen = study.ask(_distributions(search)).params
    return {path: _value(search.space[path], chosen[path]) for path in search.space}


def prunes(search: Search) -> bool:
    """Return whether trials of this search may be stopped early."""
    return isinstance(search, SuccessiveHalving) or (isinstance(search, Tpe) and search.prune)


def should_stop(search: Search, trials: Sequence[Trial], number: int, *, direction: Direction) -> bool:
    """Return whether trial `number`, after its newest epoch, is worth no more epochs. Trial 0 never stops early."""
    if number == 0 or not prunes(search) or not trials[number].by_epoch:
        return False
    import optuna  # noqa: PLC0415  as above

    if isinstance(search, SuccessiveHalving):
        pruner: optuna.pruners.BasePruner = optuna.pruners.SuccessiveHalvingPruner(
            min_resource=search.min_epochs, reduction_factor=search.reduction_factor
        )
        return _is_outdone(search, trials, number, direction=direction, pruner=pruner)
    assert isinstance(search, Tpe), "the others stop no trial"
    pruner = optuna.pruners.MedianPruner(n_startup_trials=search.startup_trials)
    study = _study(search, trials, direction=direction)
    return bool(pruner.prune(study, study.trials[number]))


def best(trials: Sequence[Trial], *, direction: Direction) -> int | None:
    """Return the number of the best complete trial, the first of equals; None when there is none."""
    values = {
        number: trial.value
        for number, trial in enumerate(trials)
        if trial.outcome == "complete" and trial.value is not None and math.isfinite(trial.value)
    }
    sign = 1 if direction == "maximize" else -1
    return max(values, key=lambda number: (sign * values[number], -number), default=None)


def _is_outdone(
    search: SuccessiveHalving,
    trials: Sequence[Trial],
    number: int,
    *,
    direction: Direction,
    pruner: "optuna.pruners.BasePruner",
) -> bool:
    """Tell whether a trial falls short of the others at the rung that it has just reached.

    A pruner notes in its study what each trial had at each rung, so the trials are led past their rungs again.
    """
    import optuna  # noqa: PLC0415  as above

    epoch = max(trials[number].by_epoch)
    rungs = _rungs(search, epoch)
    if epoch not in rungs:
        return False
    study = optuna.create_study(direction=direction, pruner=pruner, sampler=optuna.samplers.RandomSampler(seed=0))
    others = [trial for position, trial in enumerate(trials) if position != number]
    verdict = False
    for trial in [*others, trials[number]]:
        asked = study.ask()
        for rung in rungs:
            if rung in trial.by_epoch:
                asked.report(trial.by_epoch[rung], rung)
                verdict = asked.should_prune()
    return verdict


def _rungs(search: SuccessiveHalving, epoch: int) -> list[int]:
    rungs = [search.min_epochs]
    while rungs[-1] * search.reduction_factor <= epoch:
        rungs.append(rungs[-1] * search.reduction_factor)
    return rungs


def _study(
    search: Random | Tpe | SuccessiveHalving,
    trials: Sequence[Trial],
    *,
    direction: Direction,
    sampler: "optuna.samplers.BaseSampler | None" = None,
) -> "optuna.Study":
    import optuna  # noqa: PLC0415  as above

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    states = {
        "running": optuna.trial.TrialState.RUNNING,
        "complete": optuna.trial.TrialState.COMPLETE,
        "pruned": optuna.trial.TrialState.PRUNED,
        "failed": optuna.trial.TrialState.FAIL,
    }
    study = optuna.create_study(direction=direction, sampler=sampler or optuna.samplers.RandomSampler(seed=0))
    distributions = _distributions(search)
    for trial in trials:
        is_finite = trial.value is not None and math.isfinite(trial.value)
        outcome: Outcome = "failed" if trial.outcome == "complete" and not is_finite else trial.outcome
        known = {
            path: _internal(search.space[path], trial.parameters[path])
            for path in search.space
            if path in trial.parameters and _holds(search.space[path], trial.parameters[path])
        }
        study.add_trial(
            optuna.trial.create_trial(
                state=states[outcome],
                value=trial.value if outcome in {"complete", "pruned"} else None,
                params=known,
                distributions={path: distributions[path] for path in known},
                intermediate_values=dict(sorted(trial.by_epoch.items())),
            )
        )
    return study


def _distributions(search: Search) -> dict[str, "optuna.distributions.BaseDistribution"]:
    from optuna import distributions  # noqa: PLC0415  as above

    made: dict[str, optuna.distributions.BaseDistribution] = {}
    for path, each in search.space.items():
        if each.choice is not None:
            made[path] = distributions.CategoricalDistribution(range(len(each.choice)))
        elif each.int_uniform is not None:
            made[path] = distributions.IntDistribution(*each.int_uniform)
        else:
            low, high = each.log_uniform or each.uniform or (0.0, 0.0)
            made[path] = distributions.FloatDistribution(low, high, log=each.log_uniform is not None)
    return made


def _value(distribution: Distribution, internal: Any) -> Any:  # noqa: ANN401  any JSON
    """Return the spec's value for Optuna's: choices go by their position, since they may be whole parts."""
    return distribution.choice[internal] if distribution.choice is not None else internal


def _internal(distribution: Distribution, value: Any) -> Any:  # noqa: ANN401  any JSON
    return distribution.choice.index(value) if distribution.choice is not None else value


def _holds(distribution: Distribution, value: Any) -> bool:  # noqa: ANN401  any JSON
    """Tell whether a value is one of the distribution's: the spec's own need not be."""
    if distribution.choice is not None:
        return value in distribution.choice
    low, high = distribution.int_uniform or distribution.log_uniform or distribution.uniform or (0, 0)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and low <= value <= high
