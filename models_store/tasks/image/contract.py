"""Contract of images: a class, labels or a number of each."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models_store.settings import Settings
from models_store.spec.train import ResolvedSpec, TrainSpec
from models_store.targets import Name
from models_store.tasks.image.formats import ALLOWED
from models_store.tasks.task import Contract

if TYPE_CHECKING:
    from models_store.tasks.image.codec import ImageCodec


class ImageContract(Contract):
    """Images on the shared ground."""

    targets: Mapping[str, Name] = {
        "image_classification": "class",
        "multilabel_classification": "labels",
        "image_regression": "number",
    }
    Spec = TrainSpec
    ResolvedSpec = ResolvedSpec

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
