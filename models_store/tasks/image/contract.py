"""Contract of images: a class, labels or a number of each."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from models_store.datasets.example import Example, Inspected
from models_store.datasets.manifest import ManifestEntry
from models_store.datasets.report import Check
from models_store.settings import Settings
from models_store.spec import train
from models_store.spec.facts import DatasetFacts
from models_store.tasks.image import checks
from models_store.tasks.image.facts import ImageFacts, fitting_white
from models_store.tasks.image.formats import ALLOWED, MEDIA_TYPES, is_for_an_image
from models_store.tasks.image.preview import Preview
from models_store.tasks.image.spec import ImageSpec, ResolvedImageSpec
from models_store.tasks.task import Contract, Demo, Passed, PreviewForm

if TYPE_CHECKING:
    from models_store.tasks.image.codec import ImageCodec
    from models_store.tasks.image.intake import ArchiveBudget

LARGEST_VALUE = 65535
SAMPLES = Path(__file__).with_name("samples.json")


class ImageContract(Contract):
    """Images on the shared ground."""

    Spec = ImageSpec
    ResolvedSpec = ResolvedImageSpec
    Facts = ImageFacts

    @property
    def samples(self) -> Mapping[str, Any]:
        """Return those of the file beside this one."""
        found: dict[str, Any] = json.loads(SAMPLES.read_text())
        return found

    demo = Demo(
        "demo.zip",
        {
            "input": {"size": 128},
            "backbone": {"kind": "efficientnet_lite0", "weights": "imagenet", "freeze": "backbone"},
            "regularizers": [{"kind": "dropout", "probability": 0.5}],
            "training": {"epochs": 40, "batch_size": 32},
        },
    )
    findings = ("tiny_images",)
    stored_types = MEDIA_TYPES
    thumbnail_side = 160

    def is_example(self, path: PurePosixPath, head: bytes) -> bool:
        """Return whether a user means the file to be an image."""
        return is_for_an_image(path, head)

    def most_bytes(self, settings: Settings) -> int:
        """Return the setting for it."""
        return settings.image_max_bytes

    def budget(self, archive_bytes: int) -> "ArchiveBudget":
        """Return how many pixels the archive's images may have."""
        from models_store.tasks.image.intake import ArchiveBudget  # noqa: PLC0415  Pillow is slow to import

        return ArchiveBudget.of(archive_bytes)

    def inspect(self, data: bytes, *, settings: Settings, budget: "ArchiveBudget") -> Inspected | str:
        """Return the image's size, and whether it is grey or has 16 bits."""
        from models_store.tasks.image.intake import inspect  # noqa: PLC0415  the same

        return inspect(data, max_pixels=settings.image_max_pixels, budget=budget)

    def check_files(self, examples: Sequence[Example]) -> list[Check]:
        """Look at images of 16 bits."""
        return checks.check_depth(examples)

    def check_entries(self, entries: Sequence[ManifestEntry]) -> list[Check]:
        """Look at the sizes of images."""
        return checks.check_sizes(entries)

    def passed(self, entries: Sequence[ManifestEntry], found: Collection[str]) -> Passed:
        """Yield what is in order with the sizes of images."""
        yield from checks.passed(entries, found)

    def card_facts(self, examples: Iterable[Example], entries: Sequence[ManifestEntry]) -> dict[str, Any]:
        """Return `grey`, `largest_16_bit` and `median_side`."""
        return checks.card_facts(examples, entries)

    def facts(self, card: Mapping[str, Any]) -> ImageFacts:
        """Return the facts of any dataset, and those of its images."""
        found = super().facts(card)
        assert isinstance(found, ImageFacts), "the class is named above"
        return replace(
            found,
            median_side=card["median_side"],
            grey=card.get("grey", False),
            largest_16_bit=card.get("largest_16_bit"),
        )

    def thumbnail(self, data: bytes, *, facts: Mapping[str, Any], card: Mapping[str, Any], settings: Settings) -> bytes:
        """Return the image, upright and in its own proportions.

        Where the dataset's images of 16 bits use fewer, white is the largest value of so many bits.
        """
        from models_store.tasks.image.thumbnails import thumbnail  # noqa: PLC0415  Pillow is slow to import

        return thumbnail(
            data,
            width=facts["width"],
            height=facts["height"],
            longest_side=self.thumbnail_side,
            max_pixels=settings.image_max_pixels,
            white_level=fitting_white(card.get("largest_16_bit") or LARGEST_VALUE),
        )

    preview = Preview
    preview_forms: Mapping[str, PreviewForm] = {"png": PreviewForm("preview", "image/png")}

    def preview_spec(self, wanted: Preview, *, dataset_id: str, facts: DatasetFacts) -> train.ResolvedSpec:
        """Return a spec with these augmentations, and nothing else that changes images."""
        given = {"name": "preview", "dataset": dataset_id, "seed": wanted.seed, "compression": None}
        asked = ImageSpec.model_validate(given | {"augmentation": wanted.augmentation, "regularizers": []})
        return self.resolve(asked, facts)[0]

    example, examples = "image", "images"
    json_example = str
    json_meaning = "image files as base64 (RFC 4648, section 4) or data: URLs"
    json_sample = "/9j/4AAQSkZJRg…"
    media_types = ("image/*",)
    formats = ALLOWED

    def codec(self, card: Mapping[str, Any], *, files: Mapping[str, Path], settings: Settings) -> "ImageCodec":  # noqa: ARG002  images need none
        """Return the codec of the card's `input`."""
        from models_store.tasks.image.codec import ImageCodec  # noqa: PLC0415  Pillow is slow to import

        return ImageCodec.of(card["input"], settings)


IMAGE = ImageContract()
