"""Loss functions."""

from typing import Annotated, Literal

from pydantic import Field

from models_store.spec.part import Part

Weight = Annotated[float, Field(gt=0, le=1e6)]
ClassWeights = Annotated[
    Literal["balanced"] | Annotated[dict[str, Weight], Field(min_length=1, max_length=10_000)] | None,
    Field(
        description="balanced: weigh each class by the inverse of its frequency in the train split; {class: weight, …}: these weights, and 1 for other classes; null: all weights are 1"
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
    """Cross-entropy of a sigmoid for each label, for examples with any number of labels. For examples of one class it learns each class against the rest (Wightman et al. 2021, arXiv:2110.00476); the probabilities still come from the softmax."""

    kind: Literal["binary_cross_entropy"] = "binary_cross_entropy"
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="how far both targets are moved toward a half: 0 becomes half of this value"
    )
    class_weights: Annotated[
        Literal["balanced"] | Annotated[dict[str, Weight], Field(min_length=1, max_length=10_000)] | None,
        Field(
            description="weight of the examples with a label, relative to those without it; balanced: both groups have the same sum of weights; {label: weight, …}: these weights, and 1 for other labels; null: all weights are 1"
        ),
    ] = None


class Focal(Part):
    """Cross-entropy of the softmax with less weight on easy examples: each class's term is multiplied by (1 - p)^gamma (Lin et al. 2017, arXiv:1708.02002, with a softmax instead of sigmoids)."""

    kind: Literal["focal"] = "focal"
    gamma: float = Field(
        2.0, ge=0, le=10, description="how strongly the weight of easy examples is reduced; 0: cross-entropy"
    )
    label_smoothing: LabelSmoothing = 0.0
    class_weights: ClassWeights = None


class Poly1(Part):
    """Cross-entropy of the softmax plus epsilon * (1 - p): its first polynomial term is changed (Leng et al. 2022, arXiv:2204.12511)."""

    kind: Literal["poly1"] = "poly1"
    epsilon: float = Field(
        2.0, ge=-1, le=10, description="number that is added to the first term's factor; 0: cross-entropy"
    )
    label_smoothing: LabelSmoothing = 0.0
    class_weights: ClassWeights = None


class Mse(Part):
    """Mean squared error, for examples with a number."""

    kind: Literal["mse"] = "mse"


Loss = Annotated[CrossEntropy | BinaryCrossEntropy | Focal | Poly1 | Mse, Field(discriminator="kind")]
