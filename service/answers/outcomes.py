"""Answers for results of jobs: a version, a child's figures, a search's winner, the spread of folds and repeats."""

import operator
from functools import reduce
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from models_store.jobs import kinds
from models_store.jobs.job import Job
from models_store.jobs.results import Tried
from models_store.tasks import rooms
from service.answers.answer import Answer, ShapeOf

State = Literal["queued", "running", "waiting", "succeeded", "failed", "canceled"]
ChildState = Literal["queued", "running", "succeeded", "failed", "canceled"]
if TYPE_CHECKING:
    Kind = str
    ListedKind = str
else:
    Kind = Literal[tuple(kinds.KINDS)]
    ListedKind = Literal[tuple(kind.name for kind in kinds.KINDS.values() if not kind.is_tried)]
Metrics = dict[str, dict[str, float | None]]


Changes = Annotated[dict[str, Any], Field(title="Changes")]
"""Dotted path in the spec → value"""


class TakenUp(Answer):
    """The version that a compressing or a measuring job takes up."""

    model: str
    version: int


Parameters = Annotated[dict[str, Any], ShapeOf(reduce(operator.or_, (TakenUp, *rooms.previews(), Changes)))]


class Best(Answer):
    """The trial that a search has chosen."""

    number: int
    job: str
    parameters: Changes = Field(description="dotted path → value")
    value: float = Field(description="the watched figure on the validation split: the best of many, so optimistic")


class Gain(Answer):
    """How much better the winner answers unseen images than the spec as it stood (trial 0)."""

    split: Literal["test"]
    images: int
    metric: str = Field(examples=["accuracy"])
    baseline: float = Field(description="the figure of trial 0")
    best: float = Field(description="the figure of the winning trial")
    gain: float = Field(description="the difference per image; above 0 the winner is better")
    low: float = Field(description="lower end of the gain's 95 % interval (bootstrap over images)")
    high: float = Field(description="upper end of the gain's 95 % interval")
    test: Literal["mcnemar_exact", "wilcoxon_signed_rank"] = Field(description="paired test on the same images")
    p_value: float
    only_best_right: int | None = Field(None, description="images that the winner alone has right")
    only_baseline_right: int | None = Field(None, description="images that trial 0 alone has right")


class Run(Answer):
    """A child in its parent's result."""

    number: int
    job: str
    state: ChildState
    value: float | None
    pruned: bool = False
    metrics: Metrics | None = None


class Spread(Answer):
    """A figure over several runs."""

    mean: float
    standard_deviation: float | None
    low: float | None = Field(description="lower end of the mean's 95 % interval (Student's t)")
    high: float | None = Field(description="upper end of the mean's 95 % interval")
    runs: int


class Standing(Answer):
    """How a variant stood on a provider; its card has every figure."""

    accuracy: dict[str, float | None] | None = Field(None, description="split → share of right answers, or R²")
    accuracy_drop: float | None = None
    latency_ms: dict[str, float] | None = Field(None, description="p50 and p95 of one image at a time")
    speedup: float | None = None
    accepted: bool | None = None
    reasons: list[str] | None = None
    unmeasurable: str | None = Field(None, description="why the file can't be measured there")


class Remeasured(Answer):
    """A variant's figures on a provider, measured again."""

    variant: str
    provider: Literal["cpu", "cuda"]
    before: Standing | None = Field(description="null: it had not been measured there")
    after: Standing


class Defaults(Answer):
    """provider → the variant that answers there when none is named."""

    before: dict[str, str]
    after: dict[str, str]


class Outcome(Answer):
    """What a finished job has published and found; what its kind of job does not find is left out."""

    model_config = ConfigDict(extra="allow")

    model: str | None = Field(
        None, description="model that a version was added to, or measured again of; null: the job publishes nothing"
    )
    version: int | None = None
    measured: list[Remeasured] | None = Field(None, description="of a measuring job: what it has replaced")
    defaults: Defaults | None = Field(None, description="of a measuring job: what answers by default")
    value: float | None = Field(None, description="of a child: the watched figure, at its best epoch")
    metrics: Metrics | None = Field(None, description="of a child: split → figures")
    pruned: bool = Field(default=False, description="of a trial: it was stopped early")
    epochs: int | None = Field(None, description="of a child: epochs that it was trained for")
    best_epoch: int | None = Field(None, description="of a child: the epoch whose weights were kept, from 1")
    precision: str | None = Field(None, description="of a child: precision that it was trained at")
    batch_size: int | None = Field(None, description="of a child: images in a batch")
    winner: str | None = Field(None, description="of a search: how the winner is trained for publishing")
    monitor: str | None = Field(None, description="of a parent: the figure that was watched")
    best: Best | None = Field(None, description="of a search: the winner")
    gain: Gain | None = Field(None, description="of a search: the winner's gain over the spec as it stood")
    trials: list[Run] | None = Field(None, description="of a search: its trials")
    runs: list[Run] | None = Field(None, description="of folds and repeats: the runs")
    summary: dict[str, dict[str, Spread]] | None = Field(
        None, description="of folds and repeats: split → figure → spread; `held_out` is the part that a fold held out"
    )
    notes: list[str] = Field(default_factory=list, description="how sure the findings are, and what limits them")

    @model_serializer(mode="wrap")
    def _found(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in serialize(self).items() if key in self.model_fields_set}


class Children(Answer):
    """How many children a parent has, by state."""

    planned: int = Field(description="all that it will have")
    queued: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    canceled: int = 0


class Trial(Answer):
    """A child of a search, a cross-validation or a repetition."""

    number: int = Field(description="among its siblings, from 0; trial 0 is the spec as it stands")
    job: str
    kind: Kind
    state: ChildState
    parameters: Changes | None = Field(description="what differs from the parent's spec: dotted path → value")
    value: float | None = Field(description="the watched figure on the validation split, at its best epoch")
    pruned: bool = Field(description="it was stopped early")
    epochs: int | None = Field(description="epochs that it was trained for")
    metrics: Metrics | None = Field(description="split → figures")
    problem: str | None = Field(description="why it failed")

    @classmethod
    def of(cls, child: Job) -> "Trial":
        """Return the answer for a stored child."""
        found = Tried.of_document(child.result or {})
        assert child.number is not None, "a child has one"
        return cls.model_validate(
            {
                "number": child.number,
                "job": child.id,
                "kind": child.kind,
                "state": child.state,
                "parameters": child.parameters,
                "value": found.value,
                "pruned": found.pruned,
                "epochs": found.epochs,
                "metrics": found.metrics,
                "problem": (child.problem or {}).get("detail"),
            }
        )


class TrialList(Answer):
    """A page of a parent's children, by number."""

    items: list[Trial]
    next: str | None = Field(description="cursor of the next page; null on the last one")
