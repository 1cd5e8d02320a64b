"""What is minimised."""

from typing import Annotated, Literal

from pydantic import Field

from models_store.spec.part import Part

Weight = Annotated[float, Field(gt=0, le=1e6)]
ClassWeights = Annotated[
    Literal["balanced"] | Annotated[dict[str, Weight], Field(min_length=1, max_length=10_000)] | None,
    Field(
        description="balanced: weigh each class by the inverse of its frequency in the train split; {class: weight, …}: those given, the others 1; null: all alike"
    ),
]
LabelSmoothing = Annotated[
    float, Field(ge=0, lt=1, description="share of the target spread evenly over all classes (arXiv:1512.00567)")
]


class CrossEntropy(Part):
    """Cross-entropy of the softmax, with optional label smoothing (Szegedy et al. 2015, arXiv:1512.00567) and class weights."""

    kind: Literal["cross_entropy"] = "cross_entropy"
    label_smoothing: LabelSmoothing = 0.0
    class_weights: ClassWeights = None


class BinaryCrossEntropy(Part):
    """Cross-entropy of a sigmoid for each label, for images with any number of labels. For images of one class it learns each class against the rest (Wightman et al. 2021, arXiv:2110.00476); the probabilities are the softmax's all the same."""

    kind: Literal["binary_cross_entropy"] = "binary_cross_entropy"
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="how far both targets are drawn toward a half: 0 becomes half of this"
    )
    class_weights: Annotated[
        Literal["balanced"] | Annotated[dict[str, Weight], Field(min_length=1, max_length=10_000)] | None,
        Field(
            description="how much the images that bear a label weigh, beside those that don't; balanced: as much in sum; {label: weight, …}: those given, the others 1; null: all alike"
        ),
    ] = None


class Focal(Part):
    """Cross-entropy of the softmax, less for what is already right: each class's term times (1 - p)^gamma (Lin et al. 2017, arXiv:1708.02002, whose sigmoids are a softmax here)."""

    kind: Literal["focal"] = "focal"
    gamma: float = Field(2.0, ge=0, le=10, description="how much less the easy examples count; 0: cross-entropy")
    label_smoothing: LabelSmoothing = 0.0
    class_weights: ClassWeights = None


class Poly1(Part):
    """Cross-entropy of the softmax plus epsilon * (1 - p): its first polynomial term set anew (Leng et al. 2022, arXiv:2204.12511)."""

    kind: Literal["poly1"] = "poly1"
    epsilon: float = Field(2.0, ge=-1, le=10, description="what is added to the first term's factor; 0: cross-entropy")
    label_smoothing: LabelSmoothing = 0.0
    class_weights: ClassWeights = None


class Mse(Part):
    """Mean squared error, for images with a number."""

    kind: Literal["mse"] = "mse"


Loss = Annotated[CrossEntropy | BinaryCrossEntropy | Focal | Poly1 | Mse, Field(discriminator="kind")]
