"""Answers about the examples of a dataset."""

from typing import Literal

from pydantic import Field

from models_store.datasets import store as datasets
from models_store.datasets.stored_examples import StoredExample
from service.answers.answer import Answer

OTHERWISE = "application/octet-stream"


def media_type_of(example: StoredExample, dataset: datasets.Dataset) -> str:
    """Return the media type of an example's file."""
    return dataset.contract.stored_types.get(example.entry.member.rpartition(".")[2], OTHERWISE)


class DatasetImage(Answer):
    """One example of a dataset: with its class, its labels, or its number."""

    id: str = Field(examples=["img_17"], description="id of the example within its dataset")
    file: str = Field(examples=["daisy/0017.jpg"], description="path in the archive that was uploaded")
    split: Literal["train", "val", "test"]
    label: str | None = Field(description="its class; null: it has labels, or a number")
    labels: list[str] | None = Field(description="its labels, maybe empty; null: it has a class, or a number")
    value: float | None = Field(description="its number; null: it has a class, or labels")
    group: str | None = Field(description="name of its group; null: the dataset has no groups")
    width: int | None = Field(description="of an image: in pixels, upright")
    height: int | None = Field(description="of an image: in pixels, upright")
    size_bytes: int
    media_type: str = Field(
        examples=["image/jpeg"], description="by its content; the suffix of its name does not matter"
    )
    sha256: str = Field(description="of its file; examples with the same content have the same digest")
    findings: list[str] = Field(description="checks of the dataset's report that found it, such as `exact_duplicates`")
    url: str = Field(description="path from which its uploaded file can be read")
    text: str | None = Field(description="its beginning; null: it can't be read as text")
    thumbnail_url: str | None = Field(
        description="path from which its thumbnail can be read; null: it can't be shown as a picture"
    )

    @classmethod
    def of(cls, example: StoredExample, dataset: datasets.Dataset, *, text: str | None) -> "DatasetImage":
        """Return the answer for an example of a dataset; `text` is its beginning, where it can be read."""
        entry, path = example.entry, f"/datasets/{dataset.id}/images/{example.id}"
        has_labels = not entry.label and entry.value is None
        return cls(
            id=example.id,
            file=entry.file,
            split=entry.split,
            label=entry.label or None,
            labels=[*entry.labels] if has_labels else None,
            value=entry.value,
            group=entry.group or None,
            width=entry.facts.get("width"),
            height=entry.facts.get("height"),
            size_bytes=example.size_bytes,
            media_type=media_type_of(example, dataset),
            sha256=entry.sha256,
            findings=[*example.findings],
            url=path,
            text=text,
            thumbnail_url=None if dataset.contract.thumbnail_side is None else f"{path}/thumbnail",
        )


class DatasetImageList(Answer):
    """A page of examples, in the order of split, class and content."""

    items: list[DatasetImage]
    next: str | None = Field(description="cursor of the next page; null: this is the last page")
