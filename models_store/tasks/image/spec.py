"""Training spec of images: what any task may ask, and what is asked of images alone."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from models_store.spec.facts import Target
from models_store.spec.recipe import Recipe
from models_store.spec.train import CHOSEN, ResolvedSpec, TrainSpec
from models_store.spec.vocabulary import Words
from models_store.tasks.image.augmentation import Augmentation
from models_store.tasks.image.backbones.backbone import Backbone
from models_store.tasks.image.backbones.network import Network
from models_store.tasks.image.evaluation import ImageEvaluation
from models_store.tasks.image.export import ImageExport
from models_store.tasks.image.input import Input
from models_store.tasks.image.recipe import ImageRecipe
from models_store.tasks.image.rules import refuse_what_contradicts_itself
from models_store.tasks.image.synonyms import WORDS

Task = Literal["image_classification", "multilabel_classification", "image_regression"]


class ImageSpec(TrainSpec):
    """A training spec: what to learn from which dataset, and how. Everything but `name` and `dataset` has a default."""

    targets: ClassVar[Mapping[str, Target]] = {
        "image_classification": "class",
        "multilabel_classification": "labels",
        "image_regression": "number",
    }
    recipe: ClassVar[Recipe[Any, Any]] = ImageRecipe()
    words: ClassVar[Words] = WORDS
    places: ClassVar[Mapping[str, str]] = {"input": "head", "backbone": "head", "augmentation": "regularizers"}

    task: Task | None = Field(
        None,
        description="what is learned: one class of an image, any number of labels, or a number; null: chosen by the recipe: the one that fits the dataset",
    )
    input: Input = Field(Input(), description="how images become the input of the net")
    backbone: Backbone | None = Field(
        None,
        description="the network below the head"
        + CHOSEN
        + "efficientnet_lite2 for images of 112 pixels or more, small_cnn for small grey images, efficientnet_lite0 for others",
    )
    augmentation: list[Augmentation] | None = Field(
        None,
        max_length=32,
        description="random changes of every image in every batch; empty: none"
        + CHOSEN
        + "crops, flips, colours and erasing; none for a head alone",
    )
    evaluation: ImageEvaluation = Field(ImageEvaluation(), description="what the report holds")
    export: ImageExport = Field(ImageExport(), description="what file comes out")

    @property
    def network(self) -> Network | None:
        """Return the backbone."""
        return self.backbone

    @model_validator(mode="after")
    def _refuse_what_images_contradict(self) -> Self:
        refuse_what_contradicts_itself(self)
        return self


class ResolvedImageSpec(ResolvedSpec, ImageSpec):
    """A spec with every default filled in: jobs store it, and workers carry it out."""

    asked: ClassVar[type[TrainSpec]] = ImageSpec

    task: Task
    backbone: Backbone
    augmentation: list[Augmentation]
    evaluation: ImageEvaluation = Field(ImageEvaluation(), description="what the report holds")
    export: ImageExport = Field(ImageExport(), description="what file comes out")

    def with_examples_as_they_are(self) -> Self:
        """Return the spec without augmentation."""
        return self.model_copy(update={"augmentation": []})


def of_images(spec: ResolvedSpec) -> ResolvedImageSpec:
    """Return a spec that its task says is of images."""
    assert isinstance(spec, ResolvedImageSpec), spec.task
    return spec
