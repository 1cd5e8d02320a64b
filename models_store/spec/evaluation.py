"""Evaluation of the answers, beyond the metrics that are always calculated."""

from pydantic import Field

from models_store.spec.part import Part
from models_store.tasks.image.augmentation import Augmentation, RandomFlip


class TestTimeAugmentation(Part):
    """Average the answers to several number of changed copies of each image, and report the gain. The exported file still answers one image at a time."""

    views: int = Field(8, ge=2, le=64, description="copies of each image; the first one is unchanged")
    augmentation: list[Augmentation] = Field(
        default=[RandomFlip()], min_length=1, max_length=32, description="augmentation that changes the copies"
    )


class Evaluation(Part):
    """Content of the report."""

    temperature_scaling: bool = Field(
        default=True,
        description="divide the logits by one number, chosen on the validation split, so that probabilities match the observed frequencies (Guo et al. 2017, arXiv:1706.04599); it is part of the exported graph",
    )
    test_time_augmentation: TestTimeAugmentation | None = Field(None, description="null: none")
    bootstrap_samples: int = Field(
        1000, ge=100, le=100_000, description="resamples behind each 95 % interval (percentile bootstrap, Efron 1979)"
    )
    mistakes: int = Field(
        16, ge=0, le=100, description="most confident mistakes that the report shows as thumbnails; 0: none"
    )
