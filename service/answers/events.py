"""Events and log lines of jobs, as they are streamed: one shape for each `event`, which its `data` repeats.

state      the job has another state, or its owner has asked for a cancel
phase      it has entered a phase
progress   how far it is
metrics    figures of an epoch, or of the finished file
log        a line for people
child      of a parent: a child has ended
"""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, RootModel

from models_store.jobs.logs import Level
from service.answers.answer import Answer
from service.answers.documents import Problem, Progress
from service.answers.outcomes import ChildState, Kind, Outcome, State


class StateEvent(Answer):
    """The job has another state, or its owner has asked for a cancel."""

    event: Literal["state"]
    state: State
    attempt: int | None = Field(None, description="of `running`: which attempt this is, from 1")
    cancel_requested: bool = Field(default=False, description="its owner has asked for a cancel; its worker will stop")
    reason: str | None = Field(None, description="of `queued`: why the job went back to the queue")
    retry_in_s: float | None = Field(None, description="of `queued`: seconds until a worker may take it")
    crashes: int | None = Field(None, description="how often the job has crashed")
    result: Outcome | None = Field(None, description="of `succeeded`")
    problem: Problem | None = Field(None, description="of `failed`: why")


class PhaseEvent(Answer):
    """The job has entered a phase."""

    event: Literal["phase"]
    phase: str = Field(examples=["training"])


class ProgressEvent(Progress):
    """How far the job is; at most about once a second."""

    event: Literal["progress"]


class MetricsEvent(Answer):
    """Figures that stay: of each epoch, and of the finished file on each split. Every other key is one too, or null."""

    # not `number`: TypeScript allows no key besides of another type, as `event` is, and some generators fail at it
    model_config = ConfigDict(extra="allow", json_schema_extra={"additionalProperties": {}})
    __pydantic_extra__: dict[str, float | None]

    event: Literal["metrics"]
    epoch: int | None = Field(None, description="the epoch that has ended, from 1")
    lr: float | None = Field(None, description="of an epoch: the learning rate it ended with")
    train_loss: float | None = Field(None, description="of an epoch")
    val_loss: float | None = None


class LogEvent(Answer):
    """A line for people."""

    event: Literal["log"]
    text: str
    level: Level = Field("info", description="how much it matters")
    stage: str | None = Field(None, description="phase of the job that it was written in")
    attempt: int | None = Field(None, description="which attempt at the job wrote it, from 1")


class ChildEvent(Answer):
    """A child of the job has ended."""

    event: Literal["child"]
    job: str
    number: int = Field(description="among its siblings, from 0")
    kind: Kind
    state: ChildState
    value: float | None = Field(None, description="the watched figure, at its best epoch")
    pruned: bool = Field(default=False, description="it was stopped early")
    model: str | None = Field(None, description="of the child that publishes")
    version: int | None = None
    problem: str | None = Field(None, description="why it failed")


class JobEvent(
    RootModel[
        Annotated[
            StateEvent | PhaseEvent | ProgressEvent | MetricsEvent | LogEvent | ChildEvent,
            Field(discriminator="event"),
        ]
    ]
):
    """What one event's `data` holds; `event` in it is the stream's own `event`, and its `id` counts from 1."""


class LogLine(Answer):
    """One line of a job's log."""

    seq: int = Field(description="its number among the job's events; later lines have higher ones")
    at: datetime
    attempt: int | None = Field(description="which attempt at the job wrote it, from 1; null: before the first")
    level: Level
    stage: str | None = Field(description="phase of the job that it was written in")
    message: str


class LogPage(Answer):
    """Lines of a job's log, the oldest first."""

    items: list[LogLine]
    next: str | None = Field(description="`cursor` of the next page; null: that is all so far")


class LogLineEvent(LogLine):
    """A line of the log, as it is streamed."""

    event: Literal["log"]


class LogStreamEvent(RootModel[Annotated[LogLineEvent | StateEvent, Field(discriminator="event")]]):
    """What one event's `data` holds in a stream of log lines."""
