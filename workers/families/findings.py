"""Findings of a family: the best trial and its gain on unseen examples, or the spread of its runs. No torch."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from models_store.jobs import kinds
from models_store.jobs.job import FOUND, Job
from models_store.jobs.results import Best, Child, Published, Repeated, Run, Searched, Tried
from models_store.spec.train import ResolvedSpec
from models_store.spec.validation import KFold
from models_store.storage.blobs import Blobs
from models_store.tasks.rooms import target_of
from models_store.wording import counted, inflected
from workers.families import comparison, folds, search

FEW_EXAMPLES = 500
FEW_RUNS = 5
SIGNIFICANT = 0.05
LEAST_DISCORDANT = 6  # of as many examples that one of two trials alone gets right, 2 * 0.5 ** 6 is below 0.05
SHARED = (
    "the folds' training examples overlap, so the runs are not independent, and the interval is narrower than it "
    "should be (Bengio and Grandvalet 2004)"
)
SEEDS = (
    "the runs differ only in their seed: the interval shows its effect on the figures, not the effect of other examples"
)


def of_family(blobs: Blobs, spec: ResolvedSpec, children: Sequence[Job]) -> tuple[Searched | Repeated, Sequence[int]]:
    """Return a finished parent's result, and the numbers of the children whose files stay."""
    tried = [child for child in children if kinds.of(child.kind).is_tried]
    last = next((child for child in children if not kinds.of(child.kind).is_tried), None)
    made = Published.of_document((last.result or {}) if last is not None else {})
    return _of_runs(spec, tried, made) if spec.search is None else _of_search(blobs, spec, tried, made)


def warnings_of(spec: ResolvedSpec, children: Sequence[Job]) -> Iterator[str]:
    """Yield what was found while a parent's children ran and its owner should know.

    That is all of the one that made the version. Trials of a search blow up now and then, which is what it is for; a
    fold or a repeat that does is part of the parent's figures.
    """
    for child in children:
        is_tried = kinds.of(child.kind).is_tried
        if is_tried and spec.search is not None:
            continue
        name = f"{child.kind} {child.number}: " if is_tried else ""
        for text in child.warnings:
            if text.startswith(FOUND):
                yield name + text.removeprefix(FOUND)


def _of_search(
    blobs: Blobs, spec: ResolvedSpec, tried: Sequence[Job], made: Published
) -> tuple[Searched, Sequence[int]]:
    assert spec.search is not None, "a search has one"
    monitor = spec.training.monitor
    trials = [search.trial_of(child.state, _found(child), parameters=child.parameters) for child in tried]
    number = search.best(trials, direction=search.direction_of(monitor))
    assert number is not None, "a winner was published"
    best = tried[number]
    gain, notes = _gain(blobs, spec, tried[0], best)
    count = sum(trial.outcome == "complete" for trial in trials)
    optimistic = f"the best trial's {monitor} is the best of {count} on the same examples, and so optimistic"
    result = Searched(
        model=made.model,
        version=made.version,
        monitor=monitor,
        winner=spec.search.winner,
        best=Best(number=number, job=best.id, parameters=best.parameters, value=trials[number].value),
        trials=[Child(**_line(child)) for child in tried],
        gain=gain,
        notes=[optimistic, *notes],
    )
    return result, sorted({0, number})


def _gain(blobs: Blobs, spec: ResolvedSpec, own: Job, best: Job) -> tuple[dict[str, Any] | None, list[str]]:
    """Return the best trial's gain over the spec's own values, and what is to be said about it."""
    if best.id == own.id:
        return None, ["no trial was better than the spec's own values (trial 0): there is no gain to measure"]
    names = [(child.files or {}).get("answers") for child in (own, best)]
    if names[0] is None or names[1] is None:
        return None, ["trial 0, the spec's own values, came to no result: there is nothing to compare the winner with"]
    target = target_of(spec.task)
    with np.load(blobs.local(names[0])) as before, np.load(blobs.local(names[1])) as after:
        gain = comparison.compare(before, after, target=target, seed=spec.seed)
    if gain is None:
        return None, ["the dataset has no test split: how much better the winner is on unseen examples is not known"]
    notes = []
    if gain["low"] <= 0 <= gain["high"]:
        notes.append(
            "the gain's interval contains 0: on these test examples the winner may be no better than the original spec"
        )
    if gain["p_value"] >= SIGNIFICANT:
        notes.append(f"the paired test's p is {gain['p_value']:.2g}: such a difference comes by chance often enough")
    if gain["images"] < LEAST_DISCORDANT and target.right_or_wrong:
        notes.append(f"with {counted(gain['images'], 'test example')} every gain is within sampling noise")
    elif gain["images"] < FEW_EXAMPLES and target.right_or_wrong:
        least = LEAST_DISCORDANT / gain["images"]
        notes.append(
            f"with {counted(gain['images'], 'test example')} a gain below {least:.1%} is within sampling noise"
        )
    return gain, notes


def _of_runs(spec: ResolvedSpec, tried: Sequence[Job], made: Published) -> tuple[Repeated, Sequence[int]]:
    done = [child for child in tried if child.state == "succeeded"]
    figures = [_found(child).metrics or {} for child in done]
    notes = [SHARED if isinstance(spec.validation, KFold) else SEEDS]
    if len(done) < len(tried):
        lost = len(tried) - len(done)
        left_out = f"came to no result and {inflected(lost, 'is', 'are')} left out of the figures"
        notes.append(f"{lost} of {counted(len(tried), 'run')} {left_out}")
    if 1 < len(done) < FEW_RUNS:
        notes.append(f"an interval of {len(done)} runs is wide and rests on the figures being normally distributed")
    result = Repeated(
        model=made.model,
        version=made.version,
        monitor=spec.training.monitor,
        runs=[Run(**_line(child), metrics=_found(child).metrics) for child in tried],
        summary={split: folds.summary([of_run.get(split, {}) for of_run in figures]) for split in (figures or [{}])[0]},
        notes=notes,
    )
    return result, ()


def _found(child: Job) -> Tried:
    return Tried.of_document(child.result or {})


def _line(child: Job) -> dict[str, Any]:
    found = _found(child)
    return {
        "number": child.number,
        "job": child.id,
        "state": child.state,
        "value": found.value,
        "pruned": found.pruned,
    }
