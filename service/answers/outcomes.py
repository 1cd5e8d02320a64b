"""Answers for results of jobs: a version, a child's figures, a search's winner, the spread of folds and repeats."""

import operator
from functools import reduce
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from models_store.jobs import kinds
from models_store.jobs.job import Job
from models_store.jobs.results import Tried
from models_store.models import dataset_predictions
from models_store.models.providers import Provider
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
    """The version that a job compresses or measures."""

    model: str
    version: int


class DatasetTakenUp(TakenUp):
    """The version that a job predicts with, and what was asked for."""

    dataset: str | None = Field(None, description="left out: the files of an archive")
    split: Literal["train", "val", "test", "all"] | None = Field(None, description="left out: the files of an archive")
    variant: str | None = Field(description="null: the default of the provider")
    provider: Provider | None = Field(description="null: chosen by the worker")
    format: dataset_predictions.Format
    top_k: int | None


TAKEN_UP = (DatasetTakenUp, TakenUp)
Parameters = Annotated[dict[str, Any], ShapeOf(reduce(operator.or_, (*TAKEN_UP, *rooms.previews(), Changes)))]


class Best(Answer):
    """The winning trial of a search."""

    number: int
    job: str
    parameters: Changes = Field(description="dotted path → value")
    value: float = Field(
        description="the monitored figure on the validation split; as the best of many it is optimistic"
    )


class Gain(Answer):
    """Gain of the winner over the original spec (trial 0) on unseen examples."""

    split: Literal["test"]
    images: int
    metric: str = Field(examples=["accuracy"])
    baseline: float = Field(description="figure of trial 0")
    best: float = Field(description="figure of the winning trial")
    gain: float = Field(description="difference per example; if it is above 0, the winner is better")
    low: float = Field(description="lower end of the gain's 95 % interval (bootstrap over examples)")
    high: float = Field(description="upper end of the gain's 95 % interval")
    test: Literal["mcnemar_exact", "wilcoxon_signed_rank"] = Field(description="paired test on the same examples")
    p_value: float
    only_best_right: int | None = Field(None, description="number of examples that only the winner answers correctly")
    only_baseline_right: int | None = Field(None, description="number of examples that only trial 0 answers correctly")


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
    """Summary of a variant on a provider; its card has every figure."""

    accuracy: dict[str, float | None] | None = Field(None, description="split → share of right answers, or R²")
    accuracy_drop: float | None = None
    latency_ms: dict[str, float] | None = Field(None, description="p50 and p95 for one example at a time")
    speedup: float | None = None
    accepted: bool | None = None
    reasons: list[str] | None = None
    unmeasurable: str | None = Field(None, description="why the file can't be measured there")


class Remeasured(Answer):
    """A variant's figures on a provider, measured again."""

    variant: str
    provider: Literal["cpu", "cuda"]
    before: Standing | None = Field(description="null: it had not been measured there before")
    after: Standing


class Defaults(Answer):
    """provider → the variant that answers there if none is named."""

    before: dict[str, str]
    after: dict[str, str]


class Outcome(Answer):
    """Result of a finished job; fields that its kind of job does not have are left out."""

    model_config = ConfigDict(extra="allow")

    model: str | None = Field(
        None,
        description=(
            "model to which a version was added, or whose version was measured again or has predicted; null: the job "
            "publishes nothing"
        ),
    )
    version: int | None = None
    measured: list[Remeasured] | None = Field(None, description="for a measuring job: the figures that it replaced")
    defaults: Defaults | None = Field(None, description="for a measuring job: the variants that answer by default")
    value: float | None = Field(None, description="for a child: the monitored figure at its best epoch")
    metrics: Metrics | None = Field(
        None, description="for a child: split → figures; for predictions: the same, of the compared rows"
    )
    variant: str | None = Field(None, description="for predictions: the variant that has answered")
    provider: Provider | None = Field(None, description="for predictions: where its file ran")
    format: dataset_predictions.Format | None = Field(None, description="for predictions: format of the table")
    size_bytes: int | None = Field(None, description="for predictions: size of the table")
    rows: int | None = Field(None, description="for predictions: number of rows of the table")
    failed: int | None = Field(None, description="for predictions: rows whose example can't be decoded")
    compared: int | None = Field(
        None, description="for predictions: rows with a truth that is among the answers of the model"
    )
    pruned: bool = Field(default=False, description="for a trial: whether it was stopped early")
    epochs: int | None = Field(None, description="for a child: number of trained epochs")
    best_epoch: int | None = Field(None, description="for a child: the epoch whose weights were kept, from 1")
    precision: str | None = Field(None, description="for a child: precision of its training")
    batch_size: int | None = Field(None, description="for a child: examples per batch")
    winner: str | None = Field(None, description="for a search: how the winner is trained for publishing")
    monitor: str | None = Field(None, description="for a parent: the monitored figure")
    best: Best | None = Field(None, description="for a search: the winner")
    gain: Gain | None = Field(None, description="for a search: the winner's gain over the original spec")
    trials: list[Run] | None = Field(None, description="for a search: its trials")
    runs: list[Run] | None = Field(None, description="for folds and repeats: the runs")
    summary: dict[str, dict[str, Spread]] | None = Field(
        None,
        description="for folds and repeats: split → figure → spread; `held_out` is the part that a fold held out",
    )
    notes: list[str] = Field(default_factory=list, description="how certain the findings are, and their limits")

    @model_serializer(mode="wrap")
    def _found(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in serialize(self).items() if key in self.model_fields_set}


class Children(Answer):
    """Number of a parent's children by state."""

    planned: int = Field(description="all children that it will have")
    queued: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    canceled: int = 0


class Trial(Answer):
    """A child of a search, a cross-validation or a repetition."""

    number: int = Field(description="number among its siblings, from 0; trial 0 is the original spec")
    job: str
    kind: Kind
    state: ChildState
    parameters: Changes | None = Field(description="differences from the parent's spec: dotted path → value")
    value: float | None = Field(description="the monitored figure on the validation split at its best epoch")
    pruned: bool = Field(description="whether it was stopped early")
    epochs: int | None = Field(description="number of trained epochs")
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
    next: str | None = Field(description="cursor of the next page; null: this is the last page")
