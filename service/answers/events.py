"""Events and log lines of jobs in streams: one shape for each `event`; `data` repeats its name.

state      the job has changed its state, or its owner has asked to cancel it
phase      it has entered a phase
progress   progress
metrics    figures for an epoch, or of the exported file
log        a log line
child      for a parent: a child has ended
"""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, RootModel

from models_store.jobs.logs import Level
from service.answers.answer import Answer
from service.answers.documents import Problem, Progress
from service.answers.outcomes import ChildState, Kind, Outcome, State


class StateEvent(Answer):
    """The job has changed its state, or its owner has asked to cancel it."""

    event: Literal["state"]
    state: State
    attempt: int | None = Field(None, description="for `running`: number of this attempt, from 1")
    cancel_requested: bool = Field(
        default=False, description="whether its owner has asked to cancel it; its worker will stop"
    )
    reason: str | None = Field(None, description="for `queued`: why the job went back to the queue")
    retry_in_s: float | None = Field(None, description="for `queued`: seconds until a worker may take it")
    crashes: int | None = Field(None, description="number of crashes of the job")
    result: Outcome | None = Field(None, description="for `succeeded`")
    problem: Problem | None = Field(None, description="for `failed`: why")


class PhaseEvent(Answer):
    """The job has entered a phase."""

    event: Literal["phase"]
    phase: str = Field(examples=["training"])


class ProgressEvent(Progress):
    """Progress of the job, at most about once a second."""

    event: Literal["progress"]


class MetricsEvent(Answer):
    """Figures of each epoch, and of the exported file on each split. Every other key is a figure too, or null."""

    # not `number`: TypeScript allows no key besides of another type, as `event` is, and some generators fail at it
    model_config = ConfigDict(extra="allow", json_schema_extra={"additionalProperties": {}})
    __pydantic_extra__: dict[str, float | None]

    event: Literal["metrics"]
    epoch: int | None = Field(None, description="the epoch that has ended, from 1")
    lr: float | None = Field(None, description="for an epoch: its last learning rate")
    train_loss: float | None = Field(None, description="for an epoch")
    val_loss: float | None = None


class LogEvent(Answer):
    """A log line."""

    event: Literal["log"]
    text: str
    level: Level = Field("info", description="severity")
    stage: str | None = Field(None, description="phase of the job in which it was written")
    attempt: int | None = Field(None, description="number of the attempt that wrote it, from 1")


class ChildEvent(Answer):
    """A child of the job has ended."""

    event: Literal["child"]
    job: str
    number: int = Field(description="number among its siblings, from 0")
    kind: Kind
    state: ChildState
    value: float | None = Field(None, description="the monitored figure at its best epoch")
    pruned: bool = Field(default=False, description="whether it was stopped early")
    model: str | None = Field(None, description="for the child that publishes")
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
    """Content of one event's `data`; its `event` equals the stream's `event`, and `id` counts from 1."""


class LogLine(Answer):
    """One line of a job's log."""

    seq: int = Field(description="its number among the job's events; later lines have higher numbers")
    at: datetime
    attempt: int | None = Field(
        description="number of the attempt that wrote it, from 1; null: before the first attempt"
    )
    level: Level
    stage: str | None = Field(description="phase of the job in which it was written")
    message: str


class LogPage(Answer):
    """Lines of a job's log, the oldest first."""

    items: list[LogLine]
    next: str | None = Field(description="`cursor` of the next page; null: there are no more lines so far")


class LogLineEvent(LogLine):
    """A line of the log in a stream."""

    event: Literal["log"]


class LogStreamEvent(RootModel[Annotated[LogLineEvent | StateEvent, Field(discriminator="event")]]):
    """Content of one event's `data` in a stream of log lines."""
