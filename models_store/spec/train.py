"""Training spec: what any task may ask, and what it resolves to once the dataset is known. A task's room adds its own."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, ValidationInfo, model_validator

from models_store.spec import patterns
from models_store.spec.compression import Compression
from models_store.spec.contradiction import contradiction
from models_store.spec.distillation import Distillation
from models_store.spec.evaluation import Evaluation
from models_store.spec.export import Export
from models_store.spec.facts import DatasetFacts, Target
from models_store.spec.head import Head
from models_store.spec.loss import Loss
from models_store.spec.network import Network
from models_store.spec.optimizer import Optimizer
from models_store.spec.part import Part
from models_store.spec.recipe import FROM_SCRATCH, NetCosts, Recipe
from models_store.spec.regularizer import Regularizer
from models_store.spec.rules import refuse_what_contradicts_itself, refuse_what_does_not_fit
from models_store.spec.schedule import Schedule
from models_store.spec.search import Search
from models_store.spec.space import refuse_what_cannot_vary
from models_store.spec.training import ResolvedTraining, Training
from models_store.spec.transfer import Transfer
from models_store.spec.validation import Validation

ModelName = Annotated[str, Field(pattern=patterns.NAME, description="letters, digits, `.`, `_`, `-`; at most 63")]
CHOSEN = "; null: chosen by the recipe: "
"""`dry_run` shows the choice and the reason"""


class TrainSpec(Part):
    """What to learn from which dataset, and how. Everything but `name` and `dataset` has a default."""

    targets: ClassVar[Mapping[str, Target]]
    """the tasks that this spec is for, and what each learns"""
    recipe: ClassVar[Recipe[Any, Any]] = FROM_SCRATCH

    task: str | None = Field(None, description="what is learned; null: chosen by the recipe: what the dataset holds")
    name: ModelName = Field(description="name of the model; a finished job adds a version to it")
    dataset: str = Field(pattern=patterns.DATASET_ID, description="id of the dataset, as returned by POST /datasets")
    seed: int = Field(
        0,
        ge=0,
        le=2**32 - 1,
        description="seed of all random numbers; with the same seed, a run on a CPU repeats bit by bit",
    )
    head: Head = Field(Head(), description="the layers between the network's features and the classes")
    transfer: Transfer | None = Field(
        None,
        description="how pretrained weights are trained further"
        + CHOSEN
        + "for fine-tuning, some epochs of the head alone first, and a higher rate for the head",
    )
    distillation: Distillation | None = Field(None, description="a trained model to learn from; null: none")
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

    @property
    def target(self) -> Target | None:
        """Return what the task learns; None: the recipe chooses the task."""
        return None if self.task is None else self.targets[self.task]

    @property
    def network(self) -> Network | None:
        """Return the network below the head; None: the task has no choice of one, or the recipe chooses."""
        return None

    @model_validator(mode="after")
    def _refuse_what_contradicts_itself(self) -> Self:
        refuse_what_contradicts_itself(self)
        return self


class ResolvedSpec(TrainSpec):
    """A spec with every default filled in: jobs store it, and workers carry it out."""

    asked: ClassVar[type[TrainSpec]]
    """the class of specs that resolve to this one"""

    task: str
    transfer: Transfer
    regularizers: list[Regularizer]
    loss: Loss
    optimizer: Optimizer
    schedule: Schedule
    training: ResolvedTraining

    @property
    def freeze(self) -> str:
        """Return what of the network stays as it is: `none`, `backbone`, `norms` or `until:<stage>`."""
        return (self.network and self.network.freeze) or "none"

    @property
    def costs(self) -> NetCosts:
        """Return what the time of the net depends on."""
        return self.recipe.costs(self.model_dump())

    def with_frozen(self, freeze: str) -> Self:
        """Return the spec with so much of its network frozen; a task without a choice of networks trains all of it."""
        if self.network is None:
            return self
        return self.model_copy(update={"backbone": self.network.model_copy(update={"freeze": freeze})})

    def with_examples_as_they_are(self) -> Self:
        """Return the spec with no random changes of examples; a task that has some overrides this."""
        return self

    def from_random_weights(self) -> Self:
        """Return the spec with a network that starts from random weights."""
        if self.network is None:
            return self
        return self.model_copy(update={"backbone": self.network.model_copy(update={"weights": None})})

    @model_validator(mode="after")
    def _refuse_what_does_not_fit(self, info: ValidationInfo) -> Self:
        if self.optimizer.lr is None:
            raise contradiction("optimizer/lr", "a resolved spec has its learning rate", {"exclusiveMinimum": 0})
        if isinstance(info.context, DatasetFacts):
            refuse_what_does_not_fit(self, info.context)
            refuse_what_cannot_vary(self, info.context)
        return self
