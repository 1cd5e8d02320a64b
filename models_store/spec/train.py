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
        if pruning and backbone.freeze != "none" and pruning.recover_epochs == 0:
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
    warnings = []
    if spec.backbone.freeze is None:
        freeze = "none" if spec.backbone.weights is None else "backbone"
        spec = spec.model_copy(update={"backbone": spec.backbone.model_copy(update={"freeze": freeze})})
    if spec.input.size is None:
        spec = spec.model_copy(update={"input": spec.input.model_copy(update={"size": spec.backbone.input_size})})
    if spec.backbone.freeze == "backbone" and spec.augmentation:
        warnings.append(
            "augmentation with a frozen backbone: features can't be computed once, so every epoch runs the whole net"
        )
    if spec.training.batch_size > train_count:
        warnings.append(
            f"batch_size {spec.training.batch_size} is above the {train_count} training images: each epoch is one step"
        )
    if spec.backbone.weights is None and spec.backbone.kind != "small_cnn" and train_count < 100 * class_count:
        warnings.append(
            f"{spec.backbone.kind} from scratch on {train_count} images will overfit; consider `weights: imagenet`"
        )
    if spec.training.early_stopping and spec.training.early_stopping.patience >= spec.training.epochs:
        warnings.append(
            f"early_stopping.patience {spec.training.early_stopping.patience} can never act within {spec.training.epochs} epochs"
        )
    if spec.compression and spec.compression.quantize and spec.compression.quantize.calibration_images > train_count:
        warnings.append(f"calibration_images is cut to the {train_count} training images there are")
    return spec, warnings
