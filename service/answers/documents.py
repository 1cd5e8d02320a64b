"""Answers of each call: the shapes of the OpenAPI document, and how the store's rows become them.

Times are ISO 8601 in UTC; a name that ends in `_ms` is in milliseconds, in `_bytes` in bytes.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from models_store.spec import ladder
from models_store.spec.facts import DatasetFacts
from models_store.spec.train import ResolvedSpec
from service.answers.answer import Answer, ShapeOf
from service.answers.outcomes import Children, Kind, Outcome, Parameters, State

Spec = Annotated[dict[str, Any], ShapeOf(ResolvedSpec)]


class Fault(Answer):
    """One thing wrong with a request."""

    pointer: str = Field(description="JSON pointer (RFC 6901) into the body, `query:name`, or a file's name")
    code: str = Field(description="stable name of the fault, snake_case")
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
    detail: str = Field(description="what was given, what is allowed, what to do")
    instance: str | None = Field(None, description="path of the request")
    code: str = Field(description="stable name of the problem, snake_case")
    errors: list[Fault] = Field(description="each single fault, where there are several or a place to name")


class Step(Answer):
    """One phase of a job."""

    name: str = Field(examples=["training"])
    state: Literal["pending", "running", "done", "failed", "canceled", "skipped"]
    started_at: datetime | None
    ended_at: datetime | None


class Progress(Answer):
    """How far a job is; what its phase does not know is left out, or null."""

    fraction: float = Field(
        ge=0, le=1, description="share of the job's time that has passed, as far as it can be told: it never falls"
    )
    epoch: int | None = Field(None, description="epochs done, while it trains")
    epochs: int | None = None
    eta_s: float | None = Field(
        None, ge=0, description="seconds until the job ends, as its pace has it; null: not known yet"
    )
    phase_fraction: float | None = Field(None, description="share of the phase that is done")
    step: str | None = Field(None, description="what the phase does now")
    loss: float | None = Field(None, description="mean training loss of the epoch under way")
    lr: float | None = Field(None, description="learning rate")
    images_per_s: float | None = Field(None, description="images that the step under way takes in a second")
    children: int | None = Field(None, description="of a parent: how many children it will have")
    ended: int | None = Field(None, description="of a parent: how many of them have ended")


class Job(Answer):
    """A training job, or a family of them."""

    id: str = Field(examples=["job_01hzx3v7k2m4n6p8q0r2s4"])
    kind: Kind = Field(
        description="train; a parent: search, k_fold or repeats; one of its children: trial, fold or repeat, and train "
        "for the last one, which publishes; preview; of a version: compress or measure"
    )
    parent: str | None = Field(description="the job that this is a part of")
    number: int | None = Field(description="among its siblings, from 0")
    parameters: Parameters | None = Field(
        description="what a child changes in its parent's spec: path → value; of compress and measure: the `model` and "
        "`version` that they take up; of a preview: what was asked for"
    )
    children: Children | None = Field(description="of a parent: how many are in each state")
    name: str = Field(description="name of the model that it makes a version of")
    dataset: str | None = Field(description="what it trains on and measures with; null: its task has no data")
    state: State = Field(description="waiting: for its children; succeeded, failed and canceled are final")
    phase: str | None = Field(description="where in `running` it is")
    progress: Progress
    steps: list[Step]
    cancel_requested: bool
    attempts: int = Field(description="how often a worker has taken it up")
    crashes: int
    result: Outcome | None
    problem: Problem | None = Field(description="why it failed")
    warnings: list[str] = Field(
        description="what the spec allows and is unlikely to mean; after `found while it ran: `, what is likely to be "
        "wrong with the result"
    )
    spec: Spec = Field(description="the spec with every default decided, which may be sent to POST /train as it is")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class Plan(Answer):
    """One way to train a spec, before a host has measured what it takes there."""

    size: int = Field(description="side of the images, in pixels")
    freeze: str = Field(description="how much of the backbone is frozen")
    epochs: int = Field(description="most epochs; fewer, down to `least_epochs`, where the budget wants it")
    least_epochs: int


class Budget(Answer):
    """How long training may take on the host that does it, and the plans that its trainer chooses from."""

    minutes: float | None = Field(description="`training.budget_minutes`; null: nothing is measured or changed")
    may_change: list[str] = Field(description="`training.fit_to_budget`: what the spec leaves to the trainer")
    plans: list[Plan] = Field(
        description="the best first, which is the spec's own; the trainer measures its steps at the start and takes "
        "the first that fits, with as many epochs as fit, or else the cheapest"
    )
    summary: str = Field(description="the same in one sentence")

    @classmethod
    def of(cls, spec: ResolvedSpec, facts: DatasetFacts) -> "Budget":
        """Return the answer for a resolved spec and its dataset."""
        training = spec.training
        plans = ladder.rungs(spec, facts)
        if training.budget_minutes is None:
            summary = "no budget: it trains as it stands, however long that takes"
        elif len(plans) == 1 and plans[0].least_epochs == training.epochs:
            summary = f"it trains as it stands; an estimate above {training.budget_minutes:g} minutes is only reported"
        else:
            summary = (
                f"at most about {training.budget_minutes:g} minutes of training: the trainer measures a step on its "
                "host and takes the first of these plans that fits; the rest of the job comes after that"
            )
        return cls(
            minutes=training.budget_minutes,
            may_change=list(training.fit_to_budget),
            plans=[
                Plan(
                    size=plan.spec.input.size or 0,
                    freeze=plan.spec.backbone.freeze or "none",
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
    next: str | None = Field(description="cursor of the next page; null: this is the last")


class Addresses(Answer):
    """Where to start."""

    name: Literal["Espalier"] = "Espalier"
    version: str = Field(description="version of the service", examples=["0.1.0"])
    docs: str = Field("/docs", description="a page that shows and tries every call")
    openapi: str = Field("/openapi.json", description="the OpenAPI document, for generators of clients")
    schema_train: str = Field("/schema/train", description="JSON Schema of a train spec")
    health: str = Field("/health/ready", description="whether it is ready")
    metrics: str = Field("/metrics", description="counters in Prometheus's format")


class Alive(Answer):
    """The process answers."""

    status: Literal["ok"]


class Readiness(Answer):
    """What the service stands on; `degraded` still serves everything (workers look for jobs by themselves)."""

    status: Literal["ok", "degraded", "unavailable"]
    database: Literal["ok", "unavailable"]
    broker: Literal["ok", "unavailable"]
    providers: list[str] = Field(
        description="execution providers that sessions really run on here, the preferred first"
    )
    device: str = Field(description="cpu, cuda, or `unavailable` when DEVICE=cuda is not there")
