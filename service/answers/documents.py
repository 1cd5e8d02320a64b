"""Answers of each call: the shapes of the OpenAPI document, made from the store's rows.

Times are ISO 8601 in UTC; a name that ends in `_ms` is in milliseconds, in `_bytes` in bytes.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from models_store.spec import ladder
from models_store.spec.facts import DatasetFacts
from models_store.spec.train import ResolvedSpec
from models_store.wording import inflected
from service.answers.answer import Answer, ComponentOf
from service.answers.datasets import Report
from service.answers.outcomes import Children, Kind, Outcome, Parameters, State

Spec = Annotated[dict[str, Any], ComponentOf("ResolvedSpec")]


class Fault(Answer):
    """One thing wrong with a request."""

    pointer: str = Field(description="JSON pointer (RFC 6901) into the body, `query:name`, or a file's name")
    code: str = Field(description="stable name of the error, snake_case")
    message: str = Field(description="what was given, what is allowed")
    allowed: Any = Field(None, description="what is allowed: names, or limits as in JSON Schema")


class Problem(Answer):
    """A problem document (RFC 9457)."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "urn:espalier:problem:invalid_body",
                "title": "The body can't be used",
                "status": 422,
                "detail": "/epochs: 'epochs' is not a key here; did you mean 'training.epochs'?",
                "instance": "/train",
                "code": "invalid_body",
                "errors": [{"pointer": "/epochs", "code": "unknown_key", "message": "did you mean 'training.epochs'?"}],
            }
        }
    )

    type: str = Field(description="URN of the problem's kind")
    title: str = Field(description="the kind in words")
    status: int = Field(description="HTTP status")
    detail: str = Field(description="what was given, what is allowed, and what to do")
    instance: str | None = Field(None, description="path of the request")
    code: str = Field(description="stable name of the problem, snake_case")
    errors: list[Fault] = Field(description="each single error, if there are several or if its place is known")
    report: Report | None = Field(
        None, description="of an upload that can't be used as a dataset: all checks; left out otherwise"
    )


class Step(Answer):
    """One phase of a job."""

    name: str = Field(examples=["training"])
    state: Literal["pending", "running", "done", "failed", "canceled", "skipped"]
    started_at: datetime | None
    ended_at: datetime | None


class Progress(Answer):
    """Progress of a job; values that its phase does not know are left out, or null."""

    fraction: float = Field(
        ge=0, le=1, description="estimated share of the job's time that has passed; it never decreases"
    )
    epoch: int | None = Field(None, description="finished epochs, during training")
    epochs: int | None = None
    eta_s: float | None = Field(None, ge=0, description="estimated seconds until the job ends; null: not known yet")
    phase_fraction: float | None = Field(None, description="finished share of the phase")
    step: str | None = Field(None, description="current step of the phase")
    loss: float | None = Field(None, description="mean training loss of the current epoch")
    lr: float | None = Field(None, description="learning rate")
    images_per_s: float | None = Field(None, description="examples per second of the current step")
    rows: int | None = Field(None, description="for predictions: finished rows of the table")
    children: int | None = Field(None, description="for a parent: number of children that it will have")
    ended: int | None = Field(None, description="for a parent: number of children that have ended")


class Job(Answer):
    """A training job, or a family of them."""

    id: str = Field(examples=["job_01hzx3v7k2m4n6p8q0r2s4"])
    kind: Kind = Field(
        description="train; for a parent: search, k_fold or repeats; for its children: trial, fold or repeat, and "
        "train for the last one, which publishes; preview; for an existing version: compress or measure"
    )
    parent: str | None = Field(description="its parent job")
    number: int | None = Field(description="number among its siblings, from 0")
    parameters: Parameters | None = Field(
        description="for a child: the values that it changes in its parent's spec, as path → value; for compress and "
        "measure: `model` and `version`; for a preview: the request"
    )
    children: Children | None = Field(description="for a parent: number of children in each state")
    name: str = Field(description="name of the model to which it adds a version")
    dataset: str | None = Field(description="the dataset on which it trains and measures; null: its task has no data")
    state: State = Field(description="waiting: it waits for its children; succeeded, failed and canceled are final")
    phase: str | None = Field(description="current phase while it runs")
    progress: Progress
    steps: list[Step]
    cancel_requested: bool
    attempts: int = Field(description="number of times that a worker has started it")
    crashes: int
    result: Outcome | None
    problem: Problem | None = Field(description="why it failed")
    warnings: list[str] = Field(
        description="settings in the spec that are allowed but probably not meant; after `found while it ran: `, "
        "probable problems of the result"
    )
    spec: Spec = Field(description="the spec with every default filled in; it can be sent to POST /train unchanged")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class Plan(Answer):
    """One plan to train a spec, before a host has measured its time."""

    size: int = Field(description="side of the images, in pixels")
    freeze: str = Field(description="frozen part of the backbone")
    epochs: int = Field(description="largest number of epochs; the budget may reduce it down to `least_epochs`")
    least_epochs: int


class Budget(Answer):
    """Budget of the training on its host, and the plans from which the trainer chooses."""

    minutes: float | None = Field(description="`training.budget_minutes`; null: nothing is measured or changed")
    may_change: list[str] = Field(description="`training.fit_to_budget`: values that the spec leaves to the trainer")
    plans: list[Plan] = Field(
        description="the best plan first, which is the spec's own. The trainer measures its steps at the start and "
        "takes the first plan that fits, with as many epochs as fit, or else the cheapest plan"
    )
    summary: str = Field(description="summary in one sentence")

    @classmethod
    def of(cls, spec: ResolvedSpec, facts: DatasetFacts) -> "Budget":
        """Return the answer for a resolved spec and its dataset."""
        training, minutes = spec.training, spec.training.budget_minutes
        budget = "" if minutes is None else f"{minutes:g} {inflected(minutes, 'minute')}"
        plans = ladder.rungs(spec, facts)
        if not budget:
            summary = "no budget: the spec is trained unchanged, however long that takes"
        elif len(plans) == 1 and plans[0].least_epochs == training.epochs:
            summary = f"the spec is trained unchanged; an estimate above {budget} is only reported"
        else:
            summary = (
                f"at most about {budget} of training: the trainer measures a step on its "
                "host and takes the first of these plans that fits; the later phases of the job are added to that"
            )
        return cls(
            minutes=minutes,
            may_change=list(training.fit_to_budget),
            plans=[
                Plan(
                    size=plan.spec.costs.size,
                    freeze=plan.spec.freeze,
                    epochs=plan.spec.training.epochs,
                    least_epochs=plan.least_epochs,
                )
                for plan in plans
            ],
            summary=summary,
        )


class JobList(Answer):
    """A page of jobs, newest first."""

    items: list[Job]
    next: str | None = Field(description="cursor of the next page; null: this is the last page")


class Addresses(Answer):
    """The addresses from which to start."""

    name: Literal["Espalier"] = "Espalier"
    version: str = Field(description="version of the service", examples=["0.1.0"])
    docs: str = Field("/docs", description="a page that documents every call and can send it")
    openapi: str = Field("/openapi.json", description="the OpenAPI document, for generators of clients")
    schema_train: str = Field("/schema/train", description="JSON Schema of a train spec")
    health: str = Field("/health/ready", description="address that answers whether the service is ready")
    metrics: str = Field("/metrics", description="counters in Prometheus's format")


class Alive(Answer):
    """The process answers."""

    status: Literal["ok"]


class Readiness(Answer):
    """State of the services that this one needs.

    `degraded` still serves everything, because workers look for jobs by themselves.
    """

    status: Literal["ok", "degraded", "unavailable"]
    database: Literal["ok", "unavailable"]
    broker: Literal["ok", "unavailable"]
    providers: list[str] = Field(
        description="execution providers on which sessions really run here, the preferred first"
    )
    device: str = Field(description="cpu, cuda, or `unavailable` if DEVICE=cuda and there is none")
