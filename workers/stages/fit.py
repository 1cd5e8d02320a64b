"""Stage before the data: the plan of a training, fitted to its budget on the host that does it.

The recipe's plan is for a host that is quick enough. Here its steps are measured, and the best plan of the ladder that
fits is taken; what the user set stays as it is. The plan replaces the job's spec, and is kept in its checkpoint: a
later attempt trains by it, on whatever host.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from models_store.datasets.store import ManifestEntry
from models_store.jobs import kinds
from models_store.jobs.job import digest_of
from models_store.spec.facts import DatasetFacts
from models_store.spec.ladder import Rung, rungs
from models_store.spec.space import value_at
from models_store.spec.train import ResolvedSpec
from models_store.tasks.rooms import contract_of, read_resolved
from models_store.wording import counted
from workers.stages.context import Plan, Work
from workers.stages.train import teacher_of
from workers.training import targets
from workers.training.allocator import give_back
from workers.training.costs import Costs, Counts, Estimate
from workers.training.failures import explaining_errors

SHARE = 0.9
"""of the budget that estimates may fill; the rest is left to what they don't see, and to a host that gets busier"""
STAGE = "plan"
MINUTE = 60.0
SHOWN_IN_SECONDS_S = 100.0


@dataclass(frozen=True)
class Fitted:
    """A plan of the ladder with as many epochs as fit, and what they are estimated at."""

    spec: ResolvedSpec
    estimate: Estimate

    @property
    def total_s(self) -> float:
        """Return the estimated seconds of the whole training."""
        return self.estimate.total_s(self.spec.training.epochs)


def fit(work: Work, entries: Sequence[ManifestEntry]) -> Work:
    """Measure what the spec's steps cost, and lower what it leaves to the recipe until the estimate fits the budget.

    Returns the job with the spec that it trains by, and its plan.
    """
    training = work.spec.training
    is_trained_here = kinds.of(work.assignment.kind).trains and work.assignment.promoted is None
    if not is_trained_here or training.budget_minutes is None:
        return work
    saved = work.checkpoints.load(STAGE)
    if saved is not None:
        plan = Plan(saved["card"], saved["before_s"], saved["epoch_s"])
        return _expecting(_with_spec(work, read_resolved(saved["spec"])), plan)
    if not training.fit_to_budget and kinds.of(work.assignment.kind).is_tried:
        return work  # a sibling's plan, or all is set: nothing to find out
    counts = _counts(work, entries)
    return _fit(work, counts, budget_s=MINUTE * training.budget_minutes) if counts.train else work


def choose(ladder: list[Rung], costs: Costs, *, facts: DatasetFacts, budget_s: float) -> Fitted:
    """Return the first plan whose fewest epochs fit, with as many as do; when none fits, the one that takes least."""
    cheapest: Fitted | None = None
    for rung in ladder:
        estimate = costs.of(rung.spec)
        affordable = (budget_s - estimate.before_s) / max(estimate.epoch_s, 1e-9)
        epochs = min(rung.spec.training.epochs, max(rung.least_epochs, math.floor(min(affordable, 1e9))))
        spec = rung.spec if epochs == rung.spec.training.epochs else rung.with_epochs(epochs, facts)
        fitted = Fitted(spec, estimate)
        if affordable >= epochs:
            return fitted
        if cheapest is None or fitted.total_s < cheapest.total_s:
            cheapest = fitted
    assert cheapest is not None, "a ladder has the spec's own plan at least"
    return cheapest


def _fit(work: Work, counts: Counts, *, budget_s: float) -> Work:
    planned = work.spec
    work.reporter.progress(0.0, step="measuring")
    devices = [work.device] if work.device.type == "cuda" else []
    with explaining_errors(planned), torch.random.fork_rng(devices=devices):
        fitted, card = _measured(work, counts, budget_s=budget_s)
    give_back()
    plan = Plan(card, fitted.estimate.before_s, fitted.estimate.epoch_s)
    _log(work, planned, fitted, card, budget_s=budget_s)
    if not planned.training.fit_to_budget:
        return _expecting(work, plan)
    decided = fitted.spec.model_copy(update={"training": fitted.spec.training.model_copy(update={"fit_to_budget": []})})
    document = decided.model_dump(mode="json")
    work.reporter.say("plan", {"spec": document})
    saved = {"spec": document, "card": card, "before_s": plan.before_s, "epoch_s": plan.epoch_s}
    work.checkpoints.save(STAGE, saved)
    return _expecting(_with_spec(work, decided), plan)


def _measured(work: Work, counts: Counts, *, budget_s: float) -> tuple[Fitted, dict[str, Any]]:
    """Return the plan that fits, and what its version's card says of it."""
    planned, began = work.spec, time.monotonic()
    costs = _costs(work, counts)
    own = Fitted(planned, costs.of(planned))
    fitted = own
    if planned.training.fit_to_budget and own.total_s > SHARE * budget_s:
        facts = contract_of(planned.task).Facts(**work.assignment.facts)
        left_s = SHARE * budget_s - (time.monotonic() - began)
        fitted = choose(rungs(planned, facts), costs, facts=facts, budget_s=left_s)
    step_s = costs.known_step_s(planned.freeze)
    return fitted, {
        "budget_minutes": planned.training.budget_minutes,
        "planned": _figures_of(planned),
        "planned_s": round(own.total_s, 1),
        "fitted": _figures_of(fitted.spec),
        "estimated_s": round(fitted.total_s, 1),
        "step_ms_per_image": None if step_s is None else round(1000 * step_s, 3),
        "forward_ms_per_image": round(1000 * costs.forward_s, 3),
        "measured_in_s": round(time.monotonic() - began, 2),
        "device": work.device.type,
    }


def _with_spec(work: Work, spec: ResolvedSpec) -> Work:
    document = spec.model_dump(mode="json")
    assignment = replace(work.assignment, spec=document, spec_sha256=digest_of(document))
    return replace(work, spec=spec, assignment=assignment)


def _expecting(work: Work, plan: Plan) -> Work:
    """Return the job with its plan, and have its progress expect what the plan takes."""
    work.reporter.expect("training", plan.before_s + plan.epoch_s * work.spec.training.epochs)
    return replace(work, plan=plan)


def _costs(work: Work, counts: Counts) -> Costs:
    """Return the costs of a net of the spec's kind; its weights are random, which costs the same."""
    classes = work.dataset.classes
    examples = work.task.noise(work.spec, classes=classes, count=max(counts.train, len(classes), 2), start=work.start)
    aim = targets.build(work.spec.task, examples)
    net = work.task.build(
        work.spec.from_random_weights(),
        class_count=aim.output_count,
        weights_dir=work.staging,
        examples=examples,
        last_layer=aim.last_layer(),
    )
    return Costs(
        net,
        examples,
        spec=work.spec,
        counts=counts,
        work_of=work.task.work,
        device=work.device,
        teacher=teacher_of(work, examples) if work.spec.distillation is not None else None,
        alive=lambda: work.reporter.progress(0.0, step="measuring"),
    )


def _counts(work: Work, entries: Sequence[ManifestEntry]) -> Counts:
    """Return the examples of train and val; of a fold, about as many as its parts will have."""
    train, val = (sum(entry.split == split for entry in entries) for split in ("train", "val"))
    if work.assignment.fold is None:
        return Counts(train, val)
    folds = work.assignment.fold.folds
    rest = (train + val) * (folds - 1) // folds
    return Counts(rest - rest // 10, rest // 10)


def _figures_of(spec: ResolvedSpec) -> dict[str, Any]:
    """Return those parts of a plan that the specs of its task have."""
    document = spec.model_dump(mode="json")
    return {path: value_at(document, path) for path in spec.recipe.planned}


def _log(work: Work, planned: ResolvedSpec, fitted: Fitted, card: dict[str, Any], *, budget_s: float) -> None:
    step_ms = card["step_ms_per_image"]
    answer = f"{card['forward_ms_per_image']:.3g} ms"
    each = f"per {contract_of(planned.task).example}"
    measured = (
        f"an answer takes {answer} {each} here"
        if step_ms is None
        else f"a step takes {step_ms:.3g} ms {each} here and an answer {answer}"
    )
    plan, takes = _in_words(work, planned), _duration(card["planned_s"])
    own = f"{plan} would take about {takes}"
    budget = f"`training.budget_minutes` is {planned.training.budget_minutes:g}"
    log = work.reporter.log if fitted.total_s <= budget_s else work.reporter.warn
    if fitted.spec == planned and fitted.total_s <= budget_s:
        text = (
            f"{_in_words(work, planned)} will take about {_duration(card['planned_s'])}, within its budget ({budget})"
        )
    elif fitted.spec == planned:
        why = "nothing cheaper is left" if planned.training.fit_to_budget else "the spec leaves nothing to change"
        text = f"{own}, and {budget}; {why}, so it is trained as it is"
    else:
        over = "" if fitted.total_s <= budget_s else ", the cheapest plan"
        text = f"{own}, and {budget}: {_in_words(work, fitted.spec)} instead, about {_duration(fitted.total_s)}{over}"
    log(f"{measured}: {text}")


def _in_words(work: Work, spec: ResolvedSpec) -> str:
    epochs = counted(spec.training.epochs, "epoch")
    if spec.freeze == "backbone":
        return f"a head alone on the backbone's features{work.task.in_words(spec)} for {epochs}"
    frozen = "" if spec.freeze == "none" else f" with the backbone frozen ({spec.freeze})"
    return f"{epochs}{work.task.in_words(spec)}{frozen}"


def _duration(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds < SHOWN_IN_SECONDS_S else f"{seconds / MINUTE:.1f} min"
