"""Answers of each call: the shapes of the OpenAPI document, and how the store's rows become them.

Times are ISO 8601 in UTC; a name that ends in `_ms` is in milliseconds, in `_bytes` in bytes.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from models_store.datasets import store as datasets
from models_store.spec import ladder
from models_store.spec.facts import DatasetFacts, Target
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


class Values(Answer):
    """Where the numbers of a dataset lie."""

    minimum: float
    maximum: float
    mean: float
    deviation: float = Field(description="standard deviation")


class Dataset(Answer):
    """A checked, fingerprinted, split set of labelled images."""

    id: str = Field(examples=["ds_01hzx3v7k2m4n6p8q0r2s4"])
    name: str
    digest: str = Field(description="SHA-256 over split, target and content of every image: the dataset's version")
    created_at: datetime
    target: Target = Field(description="what each image has: one class, any number of labels, or a number")
    classes: list[str] = Field(description="names of the classes or labels, sorted; none for numbers")
    counts: dict[str, dict[str, int]] = Field(description="split → class or label → images")
    splits: dict[str, int] = Field(description="split → images")
    values: Values | None = Field(description="of numbers: where they lie")
    images: int
    grouped: bool = Field(description="labels.csv gave groups: their images stay together in one split")
    grey: bool = Field(description="every image is stored with a single channel")
    size_bytes: int
    largest_16_bit: int | None = Field(
        None,
        description="largest value in images of 16 bits: a hint for `input.white_level`; 0: there are no such images; "
        "null: it was not looked at",
    )
    median_side: int | None = Field(
        description="of images: median of their shorter sides, in pixels: a hint for `input.size`"
    )
    split: Literal["given", "made"] = Field(
        description="given: by the archive; made: 80/10/10, stratified by class, label or range of numbers"
    )
    warnings: int = Field(description="checks with severity `warning`; GET …/report lists them")
    description: str | None = Field(description="what its owner has written about it")
    tags: list[str]

    @classmethod
    def of(cls, dataset: datasets.Dataset) -> "Dataset":
        """Return the answer for a stored dataset."""
        card = dataset.card
        return cls(
            id=dataset.id,
            name=dataset.name,
            digest=dataset.digest,
            created_at=datetime.fromtimestamp(dataset.created_at, UTC),
            target=card.get("target", "class"),
            classes=card["classes"],
            counts=card["counts"],
            splits=card.get("splits") or {split: sum(counts.values()) for split, counts in card["counts"].items()},
            values=Values.model_validate(card["values"]) if "values" in card else None,
            images=card["images"],
            grouped=card.get("grouped", False),
            grey=card.get("grey", False),
            largest_16_bit=card.get("largest_16_bit"),
            size_bytes=card["size_bytes"],
            median_side=card.get("median_side"),
            split=card["split"],
            warnings=sum(check["severity"] == "warning" for check in dataset.report["checks"]),
            description=dataset.description,
            tags=dataset.tags,
        )


class UploadedDataset(Dataset):
    """What an upload has become: a new dataset, or the earlier one that has the same content."""

    note: str = Field(
        "",
        description="in plain words, that the same content was there already under another name; left out: it was not",
    )

    @classmethod
    def made(cls, dataset: datasets.Dataset, *, known: bool, name: str | None) -> Dataset:
        """Return the answer for an upload under a name, or without one."""
        made = Dataset.of(dataset)
        if not known or name is None or name.strip() == dataset.name:
            return made
        note = (
            f"this archive is already here as {dataset.name!r} ({dataset.id}): nothing new was stored, and it keeps "
            f"its name; PATCH /datasets/{dataset.id} with a `name` renames it"
        )
        return cls(**made.model_dump(), note=note)


class Check(Answer):
    """One check of a dataset, with the files that it found."""

    check: str = Field(examples=["exact_duplicates"])
    severity: Literal["error", "warning", "info"]
    count: int
    message: str
    files: list[str | list[str]] = Field(default_factory=list, description="up to 200 names, or groups of names")
    reasons: dict[str, str] | None = Field(None, description="file → what is wrong with this one, where files differ")


class Passed(Answer):
    """One check of a dataset that found nothing."""

    check: str = Field(examples=["duplicates_across_splits"])
    count: int = Field(description="images, classes or groups that were looked at")
    message: str


class Report(Answer):
    """Everything that was checked before the dataset was accepted."""

    checks: list[Check] = Field(description="what was found, the worst first")
    passed: list[Passed] = Field(
        default_factory=list, description="what was looked at and is in order; none for datasets of earlier releases"
    )


class Sample(Answer):
    """One labelled image of a dataset: with its class, its labels, or its number."""

    file: str = Field(description="path in the archive that was uploaded")
    label: str | None = Field(None, description="its class")
    labels: list[str] | None = Field(None, description="its labels, maybe none")
    value: float | None = Field(None, description="its number")

    @classmethod
    def of(cls, entry: datasets.ManifestEntry) -> "Sample":
        """Return the answer for an image of a dataset."""
        if entry.value is not None:
            return cls(file=entry.file, value=entry.value)
        return cls(file=entry.file, label=entry.label) if entry.label else cls(file=entry.file, labels=[*entry.labels])


class Samples(Answer):
    """Images drawn from one split."""

    items: list[Sample]


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


class DatasetList(Answer):
    """A page of datasets, newest first."""

    items: list[Dataset]
    next: str | None = Field(description="cursor of the next page; null: this is the last")


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
