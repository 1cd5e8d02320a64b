"""One step of a family: look at the children, submit the next ones and let go; or write down what came of them.

A step takes a moment, needs no torch, and is decided by rows alone. So any worker takes the next one, and one that is
killed in the middle has neither lost nor doubled anything.

Children are compared, so they train by one plan: where the spec leaves something to fit to its budget, the first child
goes alone, its trainer fits it to its host, and all others take the plan from its row. `training.budget_minutes` is for
each child.

EveryChildFailed   nothing is left to choose from
LastChildFailed    the job that was to publish did not
"""

import copy
from typing import Any

from pydantic import ValidationError

from models_store.datasets import store as datasets
from models_store.errors import Invalid
from models_store.jobs import children, claims, housekeeping, kinds, stage_costs
from models_store.jobs import store as jobs
from models_store.jobs.children import NewChild
from models_store.jobs.claims import Claim, Stale
from models_store.jobs.job import TERMINAL, Job
from models_store.jobs.results import Tried
from models_store.models import references
from models_store.settings import Settings
from models_store.spec.facts import DatasetFacts
from models_store.spec.space import Parameters, applied, planned, value_at
from models_store.spec.validation import KFold
from models_store.storage.blobs import Blobs
from models_store.storage.database import Database
from models_store.tasks.rooms import read_resolved
from models_store.wording import counted
from workers.families import family_progress, findings, search
from workers.families.search import Trial


class EveryChildFailed(Invalid):
    """No child came to a result."""

    code = "every_child_failed"
    title = "No part of the job came to a result"


class LastChildFailed(Invalid):
    """What was tried is known, and the model could not be made."""

    code = "last_child_failed"
    title = "The last part of the job did not publish"


class TrialInvalid(Invalid):
    """Values that are allowed one by one contradict each other."""

    code = "trial_invalid"
    title = "The trial's values don't go together"


def step(database: Database, blobs: Blobs, claim: Claim, *, settings: Settings) -> str:
    """Take the next step of a claimed parent and return how it stands then: waiting, succeeded or canceled.

    Raises:
        claims.Stale: if the claim is no longer ours.
        EveryChildFailed, LastChildFailed: the parent has failed, then.
    """
    family = _Family(database, claim.job)
    try:
        new = family.next_children()
        if new is None:
            result, kept = findings.of_family(blobs, family.spec, family.children)
            for warning in findings.warnings_of(family.spec, family.children):
                claims.keep_warning(database, claim, warning)
            children.finish(database, claim, result, keep_files_of=kept)
            return "succeeded"
        queued = children.wait_for(
            database, claim, new, ended=family.ended, phase=family.phase, progress=family.progress()
        )
    except Stale:
        if claims.beat(database, claim, settings=settings).cancel:
            claims.confirm_cancel(database, claim)
            return "canceled"
        raise
    for child_id in queued[1:]:  # this worker is about to take the first
        housekeeping.wake(database, child_id, settings=settings)
    return f"waiting for {counted(len(family.children) - family.ended + len(queued), 'child', 'children')}"


def trials_of(database: Database, parent_id: str, *, monitor: str) -> list[Trial]:
    """Return a search's trials as its samplers and pruners see them, by number."""
    measured = children.metrics(database, parent_id)
    trials = []
    for each in children.standings(database, parent_id):
        rows = [row for row in measured.get(each.job_id, ()) if row.get(monitor) is not None]
        by_epoch = {int(row["epoch"]): float(row[monitor]) for row in rows}
        trials.append(
            search.trial_of(
                each.state, Tried.of_document(each.result or {}), parameters=each.parameters, by_epoch=by_epoch
            )
        )
    return trials


class EarlyStopping:
    """Decision after each epoch of a trial whether it goes on."""

    def __init__(self, database: Database, trial: Job) -> None:
        assert trial.parent_id is not None, "a trial has a parent"
        assert trial.number is not None, "and a number"
        parent = read_resolved(jobs.find(database, trial.parent_id, owner=trial.owner).spec)
        assert parent.search is not None, "the parent is a search"
        self._database, self._parent_id, self._number = database, trial.parent_id, trial.number
        self._search, self._monitor = parent.search, parent.training.monitor
        self._epochs = int(trial.spec["training"]["epochs"])

    def verdict(self) -> Tried | None:
        """Return the result of a trial that is to stop now; None: it goes on."""
        if self._number == 0 or not search.prunes(self._search):
            return None
        trials = trials_of(self._database, self._parent_id, monitor=self._monitor)
        by_epoch = trials[self._number].by_epoch
        direction = search.direction_of(self._monitor)
        if not by_epoch or max(by_epoch) >= self._epochs:
            return None
        if not search.should_stop(self._search, trials, self._number, direction=direction):
            return None
        value = max(by_epoch.values()) if direction == "maximize" else min(by_epoch.values())
        return Tried(value=value, epochs=max(by_epoch), pruned=True)


class _Family:
    """A parent and its children as the rows have them."""

    def __init__(self, database: Database, parent: Job) -> None:
        self.database, self.parent = database, parent
        self.spec = read_resolved(parent.spec)
        self.children = children.of(database, parent.id)
        self.tried = [child for child in self.children if kinds.of(child.kind).is_tried]
        self.last = next((child for child in self.children if not kinds.of(child.kind).is_tried), None)
        self.ended = sum(child.state in TERMINAL for child in self.children)
        self.total = planned(self.spec)
        self.publishes = self.spec.validation is None or self.spec.validation.publish
        kind = kinds.of(parent.kind)
        assert kind.children is not None, "a parent has children"
        self.child, self.phase = kind.children, kind.phases[0]
        self.fitted = self.spec.training.fit_to_budget
        self.planner = next((child for child in self.tried if _has_a_plan(child)), None)

    def next_children(self) -> list[NewChild] | None:
        """Return what is to be submitted now, which may be nothing yet; None: all is done."""
        if self.last is not None:
            self.phase = "publishing"
            if self.last.state not in TERMINAL:
                return []
            if self.last.state != "succeeded":
                raise LastChildFailed(f"{self.last.id}, which was to publish the model, {_how(self.last)}")
            return None
        is_searched = len(self.tried) == self.total and self.ended == self.total
        if not is_searched:
            return self._runs() if self.spec.search is None else self._trials()
        if not any(child.state == "succeeded" for child in self.tried):
            first = self.tried[0]
            raise EveryChildFailed(f"none of the {self.total} parts succeeded; the first, {first.id}, {_how(first)}")
        if not self.publishes:
            return None
        self.phase = "publishing"
        return [self._plain() if self.spec.search is None else self._winner()]

    def progress(self) -> dict[str, object]:
        """Return the parent's progress: how many of its children have ended, and what share of its time that is."""
        dataset = self._dataset()
        measured_s = {} if dataset is None else stage_costs.expected_s(self.database, self.parent.spec, dataset.card)
        done = family_progress.of_family(
            self.parent, self.tried, total=self.total, publishes=self.publishes, measured_s=measured_s
        )
        return {**done, "children": self.total + self.publishes, "ended": self.ended}

    def _trials(self) -> list[NewChild]:
        wanted, facts = self.spec.search, self._facts()
        assert wanted is not None, "a search has one"
        monitor = self.spec.training.monitor
        trials = trials_of(self.database, self.parent.id, monitor=monitor)
        new = []
        for _ in range(self._room(wanted.parallel)):
            number = len(trials)
            if number == 0:
                own = {path: value_at(self.parent.spec, path) for path in wanted.space}
                child = NewChild(0, self.child, self._document(), parameters=own)
            else:
                direction = search.direction_of(monitor)
                values = search.suggest(wanted, trials, seed=self.spec.seed, direction=direction)
                child = self._trial(number, values, facts)
            assert child.parameters is not None, "a trial has them"
            trials.append(Trial(child.parameters, "running" if child.problem is None else "failed"))
            new.append(child)
        return new

    def _trial(self, number: int, values: Parameters, facts: DatasetFacts) -> NewChild:
        owner, dataset = self.parent.owner, self._dataset()
        classes = [] if dataset is None else dataset.card["classes"]
        document = self._document()
        try:
            document = applied(read_resolved(self._planned(self.parent.spec)), values, facts)
            spec = type(self.spec).model_validate(document, context=facts)
            document = references.pin(spec, self.database, owner=owner, classes=classes).model_dump(mode="json")
        except (references.SourceNotFound, references.SourceUnfit) as error:
            return NewChild(number, self.child, document, parameters=values, problem=error.as_problem())
        except ValidationError as error:
            said = "; ".join(fault["msg"] for fault in error.errors()[:3])
            problem = TrialInvalid(f"these values contradict each other: {said}").as_problem()
            return NewChild(number, self.child, document, parameters=values, problem=problem)
        except (LookupError, TypeError, ValueError) as error:  # one value has taken away what another is to change
            problem = TrialInvalid(f"these values can't be set together: {error!r}").as_problem()
            return NewChild(number, self.child, document, parameters=values, problem=problem)
        return NewChild(number, self.child, document, parameters=values)

    def _runs(self) -> list[NewChild]:
        """Return the next folds or repeats."""
        validation = self.spec.validation
        assert validation is not None, "these kinds have one"
        numbers = range(len(self.tried), len(self.tried) + self._room(validation.parallel))
        if isinstance(validation, KFold):
            return [NewChild(number, self.child, self._document()) for number in numbers]
        seeds = [(number, (self.spec.seed + number) % 2**32) for number in numbers]
        return [
            NewChild(number, self.child, self._document() | {"seed": seed}, parameters={"seed": seed})
            for number, seed in seeds
        ]

    def _winner(self) -> NewChild:
        """Return the last child of a search: the best trial's spec, and its weights when they are promoted."""
        monitor = self.spec.training.monitor
        trials = trials_of(self.database, self.parent.id, monitor=monitor)
        number = search.best(trials, direction=search.direction_of(monitor))
        if number is None:
            raise EveryChildFailed(f"none of the {self.total} trials was trained to its end; see GET /jobs/ID/trials")
        best = self.tried[number]
        assert self.spec.search is not None, "a search has one"
        files = {"trained": (best.files or {})["weights"]} if self.spec.search.winner == "promote" else None
        return NewChild(self.total, kinds.LAST_CHILD, self._planned(best.spec), parameters=best.parameters, files=files)

    def _plain(self) -> NewChild:
        return NewChild(self.total, kinds.LAST_CHILD, self._document())

    def _document(self) -> dict[str, Any]:
        return self._planned(self.parent.spec) | {"search": None, "validation": None}

    def _room(self, parallel: int) -> int:
        """Return how many children may begin now: as long as the plan has to be found, one at a time."""
        most = 1 if self.fitted and self.planner is None else parallel
        return max(0, min(self.total - len(self.tried), most - (len(self.tried) - self.ended)))

    def _planned(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return a spec by the plan that a child's trainer has fitted; as it is while there is none."""
        if self.planner is None:
            return document
        changed = copy.deepcopy(document)
        for path in self.fitted:
            *above, last = path.split(".")
            here = value_at(changed, ".".join(above)) if above else changed
            here[last] = value_at(self.planner.spec, path)
        changed["training"]["fit_to_budget"] = []
        return changed

    def _facts(self) -> DatasetFacts:
        return datasets.facts(self._dataset())

    def _dataset(self) -> datasets.Dataset | None:
        if self.parent.dataset_id is None:
            return None
        return datasets.find(self.database, self.parent.dataset_id, owner=self.parent.owner)


def _has_a_plan(child: Job) -> bool:
    """Tell whether the child's trainer has fitted its spec to the budget, and nothing is left to fit; or has ended."""
    return child.state == "succeeded" or not child.spec["training"].get("fit_to_budget")


def _how(child: Job) -> str:
    return f"failed: {child.problem.get('detail')}" if child.problem else f"was {child.state}"
