"""TrainSpec: one request whole, and what it resolves to once the dataset is known."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from models_store.spec.augmentation import Augmentation
from models_store.spec.backbone import Backbone, SmallCnn
from models_store.spec.compression import Compression
from models_store.spec.data import Input
from models_store.spec.export import Export
from models_store.spec.head import Head
from models_store.spec.loss import CrossEntropy, Loss
from models_store.spec.optimizer import AdamW, Optimizer
from models_store.spec.part import Part
from models_store.spec.regularizer import Regularizer
from models_store.spec.schedule import Cosine, Schedule
from models_store.spec.training import Training

ModelName = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$", description="letters, digits, `.`, `_`, `-`; at most 63")
]


class TrainSpec(Part):
    """A training spec: what to learn from which dataset, and how. Everything but `name` and `dataset` has a default."""

    task: Literal["image_classification"] = Field("image_classification", description="what is learned")
    name: ModelName = Field(description="name of the model; a finished job adds a version to it")
    dataset: str = Field(pattern=r"^ds_[0-9a-z]{8,40}$", description="id of the dataset, as POST /datasets answered it")
    seed: int = Field(
        0,
        ge=0,
        le=2**32 - 1,
        description="seed of every random draw; with the same seed a CPU run is repeatable bit by bit",
    )
    input: Input = Field(Input(), description="what the net sees of an image")
    backbone: Backbone = Field(SmallCnn(), description="the network below the head")
    head: Head = Field(Head(), description="what stands between the backbone's features and the classes")
    augmentation: list[Augmentation] = Field(
        default_factory=list,
        max_length=32,
        description="changes drawn anew for every image of every batch; empty: none",
    )
    regularizers: list[Regularizer] = Field(
        default_factory=list, max_length=16, description="penalties and noise; empty: none"
    )
    loss: Loss = Field(CrossEntropy(), description="what is minimised")
    optimizer: Optimizer = Field(AdamW(), description="what moves the weights")
    schedule: Schedule = Field(Cosine(), description="how the learning rate changes over the run")
    training: Training = Field(Training(), description="how long, in what batches, at what precision")
    compression: Compression | None = Field(Compression(), description="smaller forms to make; null: fp32 alone")
    export: Export = Field(Export(), description="what file comes out")

    @model_validator(mode="after")
    def _refuse_what_contradicts_itself(self) -> "TrainSpec":
        backbone = self.backbone
        if backbone.freeze == "backbone" and backbone.weights is None:
            raise _contradiction(
                "backbone/freeze",
                "a backbone without pretrained weights can't be frozen; set `freeze: none` or give weights",
                ["none"],
            )
        if self.input.channels == 1 and backbone.weights is not None:
            raise _contradiction(
                "input/channels",
                "pretrained weights expect 3 channels; set `channels: 3` (grey images are widened) or `weights: null`",
                [3],
            )
        smallest = {"vgg16": 32, "small_cnn": 16}.get(backbone.kind, 32)
        if self.input.size is not None and self.input.size < smallest:
            raise _contradiction(
                "input/size", f"{backbone.kind} needs at least {smallest} pixels", {"minimum": smallest}
            )
        pruning = self.compression.prune if self.compression else None
        is_frozen = backbone.freeze == "backbone" or (backbone.freeze is None and backbone.weights is not None)
        if pruning and is_frozen and pruning.recover_epochs == 0:
            raise _contradiction(
                "compression/prune/recover_epochs",
                "a frozen backbone that is pruned must train on to recover; give at least 1",
                {"minimum": 1},
            )
        return self


def _contradiction(pointer: str, message: str, allowed: Any) -> PydanticCustomError:  # noqa: ANN401  any JSON
    return PydanticCustomError(
        "contradiction", "{message}", {"message": message, "pointer": pointer, "allowed": allowed}
    )


def resolve(spec: TrainSpec, *, class_count: int, train_count: int) -> tuple[TrainSpec, list[str]]:
    """Return the spec with every default decided, and warnings about what is allowed but unlikely to be meant.

    `class_count` and `train_count` are the dataset's classes and images in the train split.
    """
    if spec.backbone.freeze is None:
        freeze = "none" if spec.backbone.weights is None else "backbone"
        spec = spec.model_copy(update={"backbone": spec.backbone.model_copy(update={"freeze": freeze})})
    if spec.input.size is None:
        spec = spec.model_copy(update={"input": spec.input.model_copy(update={"size": spec.backbone.input_size})})
    doubts = _doubts(spec, class_count=class_count, train_count=train_count)
    return spec, [message for is_so, message in doubts if is_so]


def _doubts(spec: TrainSpec, *, class_count: int, train_count: int) -> list[tuple[bool, str]]:
    """Return what is allowed and unlikely to be meant: whether it is so here, and what to say of it."""
    backbone, training = spec.backbone, spec.training
    patience = training.early_stopping.patience if training.early_stopping else 0
    quantize = spec.compression.quantize if spec.compression else None
    return [
        (
            backbone.freeze == "backbone" and bool(spec.augmentation),
            "augmentation with a frozen backbone: features can't be computed once, so every epoch runs the whole net",
        ),
        (
            training.batch_size > train_count,
            f"batch_size {training.batch_size} is above the {train_count} training images: each epoch is one step",
        ),
        (
            training.batch_size == 1,
            "batches of one image give batch norm nothing to norm by: small inputs fail with batch_too_small",
        ),
        (
            backbone.weights is None and backbone.kind != "small_cnn" and train_count < 100 * class_count,
            f"{backbone.kind} from scratch on {train_count} images will overfit; consider `weights: imagenet`",
        ),
        (
            patience >= training.epochs,
            f"early_stopping.patience {patience} can never act within {training.epochs} epochs",
        ),
        (
            spec.schedule.warmup_epochs >= training.epochs,
            f"the warm-up takes all {training.epochs} epochs: the learning rate never reaches its peak",
        ),
        (
            spec.optimizer.kind == "sgd" and spec.optimizer.nesterov and spec.optimizer.momentum == 0,
            "nesterov does nothing without momentum",
        ),
        (
            not spec.head.hidden_sizes and spec.head.dropout > 0,
            "head.dropout acts after hidden layers, and there are none; use the dropout regularizer",
        ),
        (
            quantize is not None and quantize.calibration_images > train_count,
            f"calibration_images is cut to the {train_count} training images there are",
        ),
    ]
