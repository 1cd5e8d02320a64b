"""What calls about the images of a dataset answer."""

from typing import Literal

from pydantic import Field

from models_store.datasets import store as datasets
from models_store.datasets.images import Image
from service.answers.answer import Answer

MEDIA_TYPES = {
    "jpg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "bmp": "image/bmp",
    "gif": "image/gif",
    "tif": "image/tiff",
    "ppm": "image/x-portable-pixmap",
    "pgm": "image/x-portable-graymap",
    "pbm": "image/x-portable-bitmap",
    "pnm": "image/x-portable-anymap",
    "avif": "image/avif",
    "heic": "image/heic",
    "heif": "image/heif",
    "jp2": "image/jp2",
}
"""by the ending that a stored image has, which follows from its content"""
OTHERWISE = "application/octet-stream"


def media_type_of(image: Image) -> str:
    """Return the media type of an image's file."""
    return MEDIA_TYPES.get(image.entry.member.rpartition(".")[2], OTHERWISE)


class DatasetImage(Answer):
    """One image of a dataset: with its class, its labels, or its number."""

    id: str = Field(examples=["img_17"], description="id of the image within its dataset")
    file: str = Field(examples=["daisy/0017.jpg"], description="path in the archive that was uploaded")
    split: Literal["train", "val", "test"]
    label: str | None = Field(description="its class; null: it has labels, or a number")
    labels: list[str] | None = Field(description="its labels, maybe none; null: it has a class, or a number")
    value: float | None = Field(description="its number; null: it has a class, or labels")
    group: str | None = Field(description="what its group is called; null: the dataset has no groups")
    width: int = Field(description="in pixels, upright")
    height: int = Field(description="in pixels, upright")
    size_bytes: int
    media_type: str = Field(examples=["image/jpeg"], description="by its content, whatever its name ends with")
    sha256: str = Field(description="of its file; images of one content have the same")
    findings: list[str] = Field(description="checks of the dataset's report that found it, as `exact_duplicates`")
    url: str = Field(description="path of its file, as it was uploaded")
    thumbnail_url: str = Field(description="path of a small JPEG of it")

    @classmethod
    def of(cls, image: Image, dataset: datasets.Dataset) -> "DatasetImage":
        """Return the answer for an image of a dataset."""
        entry, path = image.entry, f"/datasets/{dataset.id}/images/{image.id}"
        has_labels = not entry.label and entry.value is None
        return cls(
            id=image.id,
            file=entry.file,
            split=entry.split,
            label=entry.label or None,
            labels=[*entry.labels] if has_labels else None,
            value=entry.value,
            group=entry.group or None,
            width=entry.width,
            height=entry.height,
            size_bytes=image.size_bytes,
            media_type=media_type_of(image),
            sha256=entry.sha256,
            findings=[*image.findings],
            url=path,
            thumbnail_url=f"{path}/thumbnail",
        )


class DatasetImageList(Answer):
    """A page of images, in the order of split, class and content."""

    items: list[DatasetImage]
    next: str | None = Field(description="cursor of the next page; null: this is the last")
