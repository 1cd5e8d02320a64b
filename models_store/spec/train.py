"""TrainSpec: a whole request, and the resolved spec once the dataset is known."""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, model_validator

from models_store.spec import wordings
from models_store.spec.compression import Compression
from models_store.spec.contradiction import contradiction
from models_store.spec.distillation import Distillation
from models_store.spec.evaluation import Evaluation
from models_store.spec.export import Export
from models_store.spec.facts import DatasetFacts
from models_store.spec.head import Head
from models_store.spec.loss import Loss
from models_store.spec.optimizer import Optimizer
from models_store.spec.part import Part
from models_store.spec.regularizer import Regularizer
from models_store.spec.rules import doubts, refuse_what_contradicts_itself, refuse_what_does_not_fit
from models_store.spec.schedule import Schedule
from models_store.spec.search import Search
from models_store.spec.space import refuse_what_cannot_vary
from models_store.spec.training import ResolvedTraining, Training
from models_store.spec.transfer import Transfer
from models_store.spec.validation import Validation
from models_store.tasks.image import recipe
from models_store.tasks.image.augmentation import Augmentation
from models_store.tasks.image.backbones.backbone import Backbone
from models_store.tasks.image.input import Input

Task = Literal["image_classification", "multilabel_classification", "image_regression"]
ModelName = Annotated[str, Field(pattern=wordings.NAME, description="letters, digits, `.`, `_`, `-`; at most 63")]
CHOSEN = "; null: chosen by the recipe: "
"""`dry_run` shows the choice and the reason"""


class TrainSpec(Part):
    """A training spec: what to learn from which dataset, and how. Everything but `name` and `dataset` has a default."""

    task: Task | None = Field(
        None,
        description="what is learned: one class of an image, any number of labels, or a number; null: chosen by the recipe: the one that fits the dataset",
    )
    name: ModelName = Field(description="name of the model; a finished job adds a version to it")
    dataset: str = Field(pattern=wordings.DATASET_ID, description="id of the dataset, as returned by POST /datasets")
    seed: int = Field(
        0,
        ge=0,
        le=2**32 - 1,
        description="seed of all random numbers; with the same seed, a run on a CPU repeats bit by bit",
    )
    input: Input = Field(Input(), description="how images become the input of the net")
    backbone: Backbone | None = Field(
        None,
        description="the network below the head"
        + CHOSEN
        + "efficientnet_lite2 for images of 112 pixels or more, small_cnn for small grey images, efficientnet_lite0 for others",
    )
    head: Head = Field(Head(), description="the layers between the backbone's features and the classes")
    transfer: Transfer | None = Field(
        None,
        description="how pretrained weights are trained further"
        + CHOSEN
        + "for fine-tuning, some epochs of the head alone first, and a higher rate for the head",
    )
    distillation: Distillation | None = Field(None, description="a trained model to learn from; null: none")
    augmentation: list[Augmentation] | None = Field(
        None,
        max_length=32,
        description="random changes of every image in every batch; empty: none"
        + CHOSEN
        + "crops, flips, colours and erasing; none for a head alone",
    )
    regularizers: list[Regularizer] | None = Field(
        None,
        max_length=16,
        description="penalties, noise and averages; empty: none"
        + CHOSEN
        + "dropout and an average of the weights; l2 for a head alone",
    )
    loss: Loss | None = Field(
        None,
        description="the loss that is minimised"
        + CHOSEN
        + "cross_entropy, with larger weights for rare classes; binary_cross_entropy for labels, mse for numbers",
    )
    optimizer: Optimizer | None = Field(
        None,
        description="the optimizer that updates the weights"
        + CHOSEN
        + "adamw, with a learning rate from 3e-4 (fine-tuning photographs) to 3e-3 (a head, or small nets from scratch)",
    )
    schedule: Schedule | None = Field(
        None,
        description="how the learning rate changes over the run"
        + CHOSEN
        + "cosine, one_cycle from scratch, constant for schedule_free_adamw",
    )
    training: Training = Field(Training(), description="length, batches, precision and end of the training")
    evaluation: Evaluation = Field(Evaluation(), description="content of the report")
    validation: Validation | None = Field(
        None,
        description="k-fold cross-validation or repeated seeds, as a parent job with child jobs; null: one training",
    )
    search: Search | None = Field(
        None, description="values to vary, and the method, as a parent job whose trials are jobs; null: no search"
    )
    compression: Compression | None = Field(Compression(), description="smaller variants to make; null: none")
    export: Export = Field(Export(), description="properties of the exported file")

    @model_validator(mode="after")
    def _refuse_what_contradicts_itself(self) -> "TrainSpec":
        refuse_what_contradicts_itself(self)
        return self


class ResolvedSpec(TrainSpec):
    """A spec with every default filled in: jobs store it, and workers carry it out."""

    task: Task
    backbone: Backbone
    transfer: Transfer
    augmentation: list[Augmentation]
    regularizers: list[Regularizer]
    loss: Loss
    optimizer: Optimizer
    schedule: Schedule
    training: ResolvedTraining

    @model_validator(mode="after")
    def _refuse_what_does_not_fit(self, info: ValidationInfo) -> "ResolvedSpec":
        if self.optimizer.lr is None:
            raise contradiction("optimizer/lr", "a resolved spec has its learning rate", {"exclusiveMinimum": 0})
        if isinstance(info.context, DatasetFacts):
            refuse_what_does_not_fit(self, info.context)
            refuse_what_cannot_vary(self, info.context)
        return self


def resolve(spec: TrainSpec, facts: DatasetFacts) -> tuple[ResolvedSpec, list[str]]:
    """Return the spec with every default filled in, and warnings about values that are allowed but probably not meant.

    Raises:
        pydantic.ValidationError: if the spec does not fit the dataset, or contradicts the recipe's choices.
    """
    resolved = ResolvedSpec.model_validate(recipe.fill(spec.model_dump(), facts), context=facts)
    return resolved, doubts(resolved, facts)
