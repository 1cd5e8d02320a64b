"""Kinds of jobs: one row for each. Nothing else distinguishes jobs by the name of their kind.

    search   children `trial`    what varies is set in the spec; a last child `train` publishes the winner
    k_fold   children `fold`     a part of the data is held out; a last child `train` publishes, when asked for
    repeats  children `repeat`   another seed; a last child `train` publishes, when asked for

A task whose jobs have other phases names them in its room (`Contract.phases`).

A new kind is a row here, a module of `workers.stories` that `workers.process.trainer` lists, a route that submits it,
and where they are new, its result in `results` and `service.answers.outcomes`, and its phases' seconds in `phases`.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from models_store.jobs import results

Story = Literal["supervised", "trial", "measure", "preview", "predict_dataset"]
"""module of `workers.stories` that a trainer follows"""
STAGES = (
    "validating",
    "training",
    "pruning",
    "exporting",
    "quantizing",
    "verifying",
    "evaluating",
    "measuring",
    "publishing",
)
URGENT = 100
"""priority of a job that somebody waits for at a screen; a thread of each worker does nothing else"""


def _publishes_nothing(spec: Mapping[str, Any]) -> set[str]:
    return set() if (spec.get("validation") or {}).get("publish", True) else {"publishing"}


def _makes_no_variants(spec: Mapping[str, Any]) -> set[str]:
    asked = spec.get("compression") or {}
    return {phase for phase, part in (("pruning", "prune"), ("quantizing", "quantize")) if not asked.get(part)}


def _none(_spec: Mapping[str, Any]) -> set[str]:
    return set()


@dataclass(frozen=True)
class Kind:
    """What is the same for all jobs of a kind."""

    name: str
    phases: tuple[str, ...]
    """in their order"""
    result: type[results.Result]
    again: str
    """how the same is done once more after a success; `{version}` is the path of the version that the job takes up"""
    story: Story | None = None
    """None: a parent, which has no trainer"""
    children: str | None = None
    """kind of the children that a parent compares; None: it is no parent"""
    trains: bool = False
    """whether it trains a net as its spec says"""
    publishes: bool = False
    """whether it ends with a version of a model, and a report"""
    takes_up_a_version: bool = False
    """whether its parameters name a version that it works on"""
    remeasures: bool = False
    """whether it replaces the figures of that version"""
    is_tried: bool = False
    """whether it is a child that is compared with its siblings, and publishes nothing"""
    stops_early: bool = False
    """whether it may end when its siblings are better"""
    priority: int = 0
    is_listed: bool = True
    """whether lists of jobs show it when its kind is not asked for"""
    left_out: Callable[[Mapping[str, Any]], Collection[str]] = _none
    """phases that a spec (a document) leaves out"""

    @property
    def is_parent(self) -> bool:
        """Return whether its work is done by children."""
        return self.children is not None

    @property
    def follows_its_spec(self) -> bool:
        """Return whether it, or its children, train what the spec says; others do what their parameters say."""
        return self.trains or self.is_parent

    @property
    def has_training(self) -> bool:
        """Return whether training is a phase of it."""
        return "training" in self.phases


CHILD = ("validating", "training", "evaluating")
LAST_CHILD = "train"
"""kind of the child that publishes what its siblings have shown"""
AGAIN = "post its spec to /train to train again"

KINDS: Mapping[str, Kind] = {
    each.name: each
    for each in (
        Kind(
            "train",
            STAGES,
            results.Published,
            AGAIN,
            story="supervised",
            trains=True,
            publishes=True,
            left_out=_makes_no_variants,
        ),
        Kind("search", ("trials", "publishing"), results.Searched, AGAIN, children="trial"),
        Kind(
            "k_fold",
            ("folds", "publishing"),
            results.Repeated,
            AGAIN,
            children="fold",
            left_out=_publishes_nothing,
        ),
        Kind(
            "repeats",
            ("repeats", "publishing"),
            results.Repeated,
            AGAIN,
            children="repeat",
            left_out=_publishes_nothing,
        ),
        Kind("trial", CHILD, results.Tried, AGAIN, story="trial", trains=True, is_tried=True, stops_early=True),
        Kind("fold", CHILD, results.Tried, AGAIN, story="trial", trains=True, is_tried=True),
        Kind("repeat", CHILD, results.Tried, AGAIN, story="trial", trains=True, is_tried=True),
        Kind(
            "preview",
            ("drawing",),
            results.Nothing,
            "ask its dataset for a preview to have another",
            story="preview",
            priority=URGENT,
            is_listed=False,
        ),
        Kind(
            "compress",
            tuple(stage for stage in STAGES if stage != "training"),
            results.Published,
            "post its spec's `compression` to {version}:compress to compress again",
            story="supervised",
            publishes=True,
            takes_up_a_version=True,
            left_out=_makes_no_variants,
        ),
        Kind(
            "measure",
            ("validating", "measuring", "publishing"),
            results.Remeasured,
            "POST {version}:measure measures again",
            story="measure",
            takes_up_a_version=True,
            remeasures=True,
        ),
        Kind(
            "predict_dataset",
            ("predicting",),
            results.Predicted,
            "POST {version}:predict_dataset predicts again",
            story="predict_dataset",
            takes_up_a_version=True,
        ),
    )
}
# for queries
PARENTS = tuple(kind.name for kind in KINDS.values() if kind.is_parent)
TRIED = tuple(kind.name for kind in KINDS.values() if kind.is_tried)
TAKES_UP_A_VERSION = tuple(kind.name for kind in KINDS.values() if kind.takes_up_a_version)


def of(name: str) -> Kind:
    """Return the kind of this name."""
    return KINDS[name]
