"""What is minimised."""

from typing import Literal

from pydantic import Field

from models_store.spec.part import Part


class CrossEntropy(Part):
    """Cross-entropy of the softmax, with optional label smoothing (Szegedy et al. 2015) and class weights."""

    kind: Literal["cross_entropy"] = "cross_entropy"
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of the target spread evenly over all classes")
    class_weights: Literal["balanced"] | None = Field(
        None,
        description="balanced: weigh each class by the inverse of its frequency in the train split; null: all alike",
    )


Loss = CrossEntropy
