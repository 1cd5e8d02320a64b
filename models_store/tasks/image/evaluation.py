"""Evaluation of images: what any task calculates, and answers averaged over changed copies of an image."""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from models_store.spec.evaluation import Evaluation
from models_store.spec.part import Part
from models_store.tasks.image.augmentation import Augmentation, RandomFlip


class TestTimeAugmentation(Part):
    """Average the answers to several changed copies of each image, and report the gain. The exported file still answers one image at a time."""

    views: int = Field(8, ge=2, le=64, description="copies of each image; the first one is unchanged")
    augmentation: list[Augmentation] = Field(
        default=[RandomFlip()], min_length=1, max_length=32, description="augmentation that changes the copies"
    )


class ImageEvaluation(Evaluation):
    """Content of the report."""

    places: ClassVar[Mapping[str, str]] = {"test_time_augmentation": "bootstrap_samples"}

    test_time_augmentation: TestTimeAugmentation | None = Field(None, description="null: none")

    @property
    def views(self) -> int:
        """Return how many copies of each image are answered and averaged beside the image itself; 0: none."""
        return self.test_time_augmentation.views if self.test_time_augmentation else 0
