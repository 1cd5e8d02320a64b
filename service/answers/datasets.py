"""Answers for datasets: what one holds, what was checked, and samples of it."""

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import Field

from models_store.datasets import store as datasets
from models_store.datasets.stored_examples import StoredExample
from models_store.spec.facts import Target
from models_store.tasks import rooms
from service.answers.answer import Answer


class Values(Answer):
    """Distribution of the numbers of a dataset."""

    minimum: float
    maximum: float
    mean: float
    deviation: float = Field(description="standard deviation")


class Dataset(Answer):
    """A checked, fingerprinted, split set of labelled examples."""

    id: str = Field(examples=["ds_01hzx3v7k2m4n6p8q0r2s4"])
    name: str
    digest: str = Field(description="SHA-256 over split, target and content of every example: the dataset's version")
    created_at: datetime
    target: Target = Field(description="what each example has: one class, any number of labels, or a number")
    classes: list[str] = Field(description="names of the classes or labels, sorted; empty for numbers")
    counts: dict[str, dict[str, int]] = Field(description="split → class or label → examples")
    splits: dict[str, int] = Field(description="split → examples")
    values: Values | None = Field(description="for numbers: their distribution")
    examples: str = Field(examples=["images"], description="what its examples are, in one word")
    images: int = Field(description="number of its examples")
    grouped: bool = Field(
        description="whether labels.csv has groups: the examples of one group stay together in one split"
    )
    grey: bool = Field(description="of images: whether each is stored with a single channel")
    leaked: dict[str, int] = Field(
        {}, description="split → examples with a copy in train; splits without any are left out"
    )
    size_bytes: int
    largest_16_bit: int | None = Field(
        None,
        description="of images: largest value in those with 16 bits: a hint for `input.white_level`; 0: there are none "
        "with 16 bits; null: not checked",
    )
    median_side: int | None = Field(
        description="of images: median of their shorter sides, in pixels: a hint for `input.size`"
    )
    facts: dict[str, bool | int | float | str | None] = Field(
        examples=[{"median_side": 28, "grey": True, "largest_16_bit": 0}],
        description="facts of the examples as a whole, which the recipe looks at; each kind of examples has its own",
    )
    split: Literal["given", "made"] = Field(
        description="given: by the archive; made: 80/10/10, stratified by class, label or range of numbers"
    )
    warnings: int = Field(description="checks with severity `warning`; GET …/report lists them")
    description: str | None = Field(description="description by its owner")
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
            examples=rooms.kind_of(card),
            images=card["images"],
            grouped=card.get("grouped", False),
            grey=card.get("grey", False),
            largest_16_bit=card.get("largest_16_bit"),
            leaked=card.get("leaked", {}),
            size_bytes=card["size_bytes"],
            median_side=card.get("median_side"),
            facts=_facts(dataset),
            split=card["split"],
            warnings=sum(check["severity"] == "warning" for check in dataset.report["checks"]),
            description=dataset.description,
            tags=dataset.tags,
        )


def _facts(dataset: datasets.Dataset) -> dict[str, Any]:
    """Return the facts that its task knows; none of a task that is not known here."""
    with suppress(rooms.UnknownTask):
        return dataset.contract.known(dataset.card)
    return {}


class UploadedDataset(Dataset):
    """Result of an upload: a new dataset, or the existing one with the same content."""

    note: str = Field(
        "",
        description="a sentence that the same content is already stored under another name; left out for new content",
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
    reasons: dict[str, str] | None = Field(None, description="file → its own error, if files have different errors")


class Passed(Answer):
    """One check of a dataset that found nothing."""

    check: str = Field(examples=["duplicates_across_splits"])
    count: int = Field(description="number of examples, classes or groups that were checked")
    message: str


class Report(Answer):
    """All checks before the dataset was accepted."""

    checks: list[Check] = Field(description="findings, the worst first")
    passed: list[Passed] = Field(
        default_factory=list, description="checks that found nothing; empty for datasets of earlier releases"
    )


class Sample(Answer):
    """One labelled example of a dataset: with its class, its labels, or its number."""

    file: str = Field(description="path in the archive that was uploaded")
    label: str | None = Field(None, description="its class")
    labels: list[str] | None = Field(None, description="its labels, maybe empty")
    value: float | None = Field(None, description="its number")
    text: str | None = Field(None, description="its beginning, if it can be read as text")
    url: str = Field(description="path from which its content can be read")

    @classmethod
    def of(cls, example: StoredExample, dataset: datasets.Dataset, *, text: str | None) -> "Sample":
        """Return the answer for an example of a dataset; `text` is its beginning, where it can be read."""
        entry = example.entry
        has_labels = not entry.label and entry.value is None
        return cls(
            file=entry.file,
            label=entry.label or None,
            labels=[*entry.labels] if has_labels else None,
            value=entry.value,
            text=text,
            url=f"/datasets/{dataset.id}/images/{example.id}",
        )


class Samples(Answer):
    """Examples drawn from one split."""

    items: list[Sample]


class DatasetList(Answer):
    """A page of datasets, newest first."""

    items: list[Dataset]
    next: str | None = Field(description="cursor of the next page; null: this is the last page")
