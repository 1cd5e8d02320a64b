"""What a spec may not say: parts that don't go together, and parts that don't fit the dataset; and what it hardly means."""

from typing import TYPE_CHECKING, Any

from pydantic_core import PydanticCustomError

from models_store.spec.facts import DatasetFacts

if TYPE_CHECKING:
    from models_store.spec.train import ResolvedSpec, TrainSpec


def refuse_what_contradicts_itself(spec: "TrainSpec") -> None:
    """Check what stands in the spec alone; fields that are left out are no contradiction yet.

    Raises:
        PydanticCustomError: of type `contradiction`, with a pointer and what is allowed.
    """
    backbone = spec.backbone
    if backbone is None:
        return
    if backbone.freeze not in {None, "none"} and backbone.weights is None:
        raise _contradiction(
            "backbone/freeze",
            "a backbone without pretrained weights can't be frozen; set `freeze: none` or give weights",
            ["none"],
        )
    smallest = {"vgg16": 32, "small_cnn": 16}.get(backbone.kind, 32)
    if spec.input.size is not None and spec.input.size < smallest:
        raise _contradiction("input/size", f"{backbone.kind} needs at least {smallest} pixels", {"minimum": smallest})
    pruning = spec.compression.prune if spec.compression else None
    is_frozen = backbone.freeze == "backbone" or (backbone.freeze is None and backbone.weights is not None)
    if pruning and is_frozen and pruning.recover_epochs == 0:
        raise _contradiction(
            "compression/prune/recover_epochs",
            "a frozen backbone that is pruned must train on to recover; give at least 1",
            {"minimum": 1},
        )


def refuse_what_does_not_fit(spec: "ResolvedSpec", facts: DatasetFacts) -> None:
    """Check the whole spec against its dataset.

    Raises:
        PydanticCustomError: as above.
    """
    fitting = {"class": "image_classification", "labels": "multilabel_classification", "number": "image_regression"}
    if spec.task != fitting[facts.target]:
        raise _contradiction(
            "task",
            f"the dataset holds {facts.target} targets, which `task: {fitting[facts.target]}` learns",
            [fitting[facts.target]],
        )


def doubts(spec: "ResolvedSpec", facts: DatasetFacts) -> list[str]:
    """Return warnings about what is allowed and unlikely to be meant."""
    return [message for is_so, message in _doubts(spec, facts) if is_so]


def _doubts(spec: "ResolvedSpec", facts: DatasetFacts) -> list[tuple[bool, str]]:
    backbone, training = spec.backbone, spec.training
    patience = training.early_stopping.patience if training.early_stopping else 0
    quantize = spec.compression.quantize if spec.compression else None
    return [
        (
            backbone.freeze == "backbone" and bool(spec.augmentation),
            "augmentation with a frozen backbone: features can't be computed once, so every epoch runs the whole net",
        ),
        (
            isinstance(training.batch_size, int) and training.batch_size > facts.train_count,
            f"batch_size {training.batch_size} is above the {facts.train_count} training images: each epoch is one step",
        ),
        (
            training.batch_size == 1,
            "batches of one image give batch norm nothing to norm by: small inputs fail with batch_too_small",
        ),
        (
            backbone.weights is None
            and backbone.kind not in {"small_cnn", "cifar_resnet18"}
            and facts.train_count < 100 * facts.class_count,
            f"{backbone.kind} from scratch on {facts.train_count} images will overfit; consider `weights: imagenet`",
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
            quantize is not None and quantize.calibration_images > facts.train_count,
            f"calibration_images is cut to the {facts.train_count} training images there are",
        ),
    ]


def _contradiction(pointer: str, message: str, allowed: Any) -> PydanticCustomError:  # noqa: ANN401  any JSON
    return PydanticCustomError(
        "contradiction", "{message}", {"message": message, "pointer": pointer, "allowed": allowed}
    )
