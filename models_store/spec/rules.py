"""Rules that a spec must keep: parts must fit each other and the dataset. Also warnings about values that are probably not meant."""

from typing import TYPE_CHECKING

from models_store.spec.compression_rules import doubts_of_compression, refuse_what_the_backbone_can_not_lose
from models_store.spec.contradiction import contradiction as _contradiction
from models_store.spec.facts import DatasetFacts, fitting_white
from models_store.spec.training_rules import doubts_of_training, refuse_contradictions_of_training

if TYPE_CHECKING:
    from models_store.spec.network import Network
    from models_store.spec.train import ResolvedSpec, TrainSpec

FITTING_LOSSES = {
    "image_classification": ["cross_entropy", "binary_cross_entropy", "focal", "poly1"],
    "multilabel_classification": ["binary_cross_entropy"],
    "image_regression": ["mse"],
}

MIXING = {"mixup", "cutmix"}
ONLY_ON_COLORS = {"random_grayscale", "channel_shuffle"}


def refuse_what_contradicts_itself(spec: "TrainSpec") -> None:
    """Check the spec by itself, without its dataset; fields that are left out contradict nothing yet.

    Raises:
        PydanticCustomError: of type `contradiction`, with a pointer and what is allowed.
    """
    if spec.search is not None and spec.validation is not None:
        raise _contradiction(
            "validation",
            "a search compares its trials on the dataset's own validation split; search first, then cross-validate the "
            "winner's spec: give `search` or `validation`, not both",
            None,
        )
    _refuse_parts_of_learning_that_do_not_go_together(spec)
    _refuse_mixing_while_testing(spec)
    refuse_contradictions_of_training(spec)
    backbone = spec.backbone
    if backbone is None:
        return
    _refuse_what_the_backbone_can_not(backbone, spec)
    refuse_what_the_backbone_can_not_lose(spec)


def _refuse_what_the_backbone_can_not(backbone: "Network", spec: "TrainSpec") -> None:
    freeze = backbone.freeze or "none"
    if freeze != "none" and backbone.weights is None:
        raise _contradiction(
            "backbone/freeze",
            "a backbone without pretrained weights can't be frozen; set `freeze: none` or give weights",
            ["none"],
        )
    stages = [f"until:{stage}" for stage in backbone.stages]
    if freeze.startswith("until:") and freeze not in stages:
        raise _contradiction(
            "backbone/freeze", f"{backbone.kind} has no such stage; there are {', '.join(stages)}", stages
        )
    size, step = spec.input.size, backbone.size_step
    if size is not None and size < backbone.smallest_size:
        raise _contradiction(
            "input/size",
            f"{backbone.kind} needs at least {backbone.smallest_size} pixels",
            {"minimum": backbone.smallest_size},
        )
    if size is not None and size % step:
        raise _contradiction(
            "input/size", f"{backbone.kind} takes multiples of {step} pixels", {"multipleOf": step, "minimum": step}
        )
    paths = [number for number, part in enumerate(spec.regularizers or []) if part.kind == "drop_path"]
    if paths and not backbone.has_drop_path:
        raise _contradiction(
            f"regularizers/{paths[0]}",
            f"{backbone.kind} has no residual branches that can be dropped; leave drop_path out, or take another backbone",
            None,
        )


def _refuse_parts_of_learning_that_do_not_go_together(spec: "TrainSpec") -> None:
    if spec.task and spec.loss and spec.loss.kind not in FITTING_LOSSES[spec.task]:
        allowed = FITTING_LOSSES[spec.task]
        raise _contradiction("loss/kind", f"`task: {spec.task}` is learned with {' or '.join(allowed)}", allowed)
    if spec.schedule and spec.schedule.kind == "multistep":
        milestones = spec.schedule.milestones
        ascending = sorted(set(milestones))
        if milestones != ascending:
            raise _contradiction("schedule/milestones", "milestones are given once each, in ascending order", ascending)


def _refuse_mixing_while_testing(spec: "TrainSpec") -> None:
    testing = spec.evaluation.test_time_augmentation
    for number, part in enumerate(testing.augmentation if testing else []):
        if part.kind in MIXING:
            raise _contradiction(
                f"evaluation/test_time_augmentation/augmentation/{number}",
                f"{part.kind} blends several images, so a copy has no answer of its own; use it for training only",
                None,
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
    _refuse_weights_of_unknown_classes(spec, facts)
    _refuse_folds_that_do_not_fit(spec, facts)


def _refuse_folds_that_do_not_fit(spec: "ResolvedSpec", facts: DatasetFacts) -> None:
    if spec.validation is None or spec.validation.kind != "k_fold":
        return
    if spec.validation.group and not facts.grouped:
        raise _contradiction(
            "validation/group", "the dataset's labels.csv has no `group` column; set it to false", [False]
        )
    most = max(facts.counts.values(), default=facts.train_count) if facts.target == "class" else facts.train_count
    if spec.validation.folds > most:
        raise _contradiction(
            "validation/folds", f"no class has {spec.validation.folds} training images", {"minimum": 2, "maximum": most}
        )


def _refuse_weights_of_unknown_classes(spec: "ResolvedSpec", facts: DatasetFacts) -> None:
    weights = None if spec.loss.kind == "mse" else spec.loss.class_weights
    unknown = sorted(set(weights) - set(facts.counts)) if isinstance(weights, dict) else []
    if unknown:
        raise _contradiction(
            "loss/class_weights", f"the dataset has no class {', '.join(map(repr, unknown[:5]))}", sorted(facts.counts)
        )


def doubts(spec: "ResolvedSpec", facts: DatasetFacts) -> list[str]:
    """Return warnings about values that are allowed but probably not meant."""
    return [message for is_so, message in _doubts(spec, facts) if is_so]


def _doubts(spec: "ResolvedSpec", facts: DatasetFacts) -> list[tuple[bool, str]]:
    return [
        *_doubts_of_learning(spec),
        *_doubts_of_input(spec, facts),
        *_doubts_of_augmentation(spec),
        *doubts_of_training(spec, facts),
        *_doubts_of_the_rest(spec, facts),
        *doubts_of_compression(spec, facts),
    ]


def _doubts_of_input(spec: "ResolvedSpec", facts: DatasetFacts) -> list[tuple[bool, str]]:
    white, largest = spec.input.white_level, facts.largest_16_bit
    fitting = fitting_white(largest) if largest else None
    return [
        (
            white is None and fitting is not None,
            f"images with 16 bits use only the values 0 to {largest} of 65535 and are nearly black: set `input.white_level` to {fitting}",
        ),
        (
            white is not None and largest == 0,
            "the dataset has no images with 16 bits, so `input.white_level` does nothing",
        ),
        (
            white is not None and (largest or 0) > white,
            f"images with 16 bits have values up to {largest}, and all values above `input.white_level` {white} become white",
        ),
    ]


def _doubts_of_augmentation(spec: "ResolvedSpec") -> list[tuple[bool, str]]:
    kinds = {part.kind for part in spec.augmentation}
    idle = sorted(kinds & ONLY_ON_COLORS)
    mixing = sorted(kinds & MIXING)
    return [
        (
            spec.input.channels == 1 and bool(idle),
            f"{' and '.join(idle)}: has no effect, because grey images have no colours to change",
        ),
        (
            spec.training.batch_size == 1 and bool(mixing),
            f"{' and '.join(mixing)}: has no effect, because a batch of one image has no other image to mix with",
        ),
    ]


def _doubts_of_learning(spec: "ResolvedSpec") -> list[tuple[bool, str]]:
    schedule, training = spec.schedule, spec.training
    first_change = (
        schedule.every_epochs
        if schedule.kind == "step"
        else schedule.milestones[0]
        if schedule.kind == "multistep"
        else schedule.patience + 2  # the first epoch can't but improve
        if schedule.kind == "reduce_on_plateau"
        else 0
    )
    is_weighed = spec.loss.kind != "mse" and spec.loss.class_weights == "balanced"
    return [
        (
            schedule.warmup_epochs >= training.epochs,
            f"the warm-up takes all {training.epochs} epochs, so the learning rate never reaches its peak",
        ),
        (
            first_change >= training.epochs,
            f"`schedule: {schedule.kind}` changes nothing within {training.epochs} epochs",
        ),
        (
            spec.optimizer.kind == "sgd" and spec.optimizer.nesterov and spec.optimizer.momentum == 0,
            "nesterov does nothing without momentum",
        ),
        (
            spec.optimizer.kind == "schedule_free_adamw" and schedule.kind != "constant",
            f"schedule_free_adamw averages its weights in place of a falling learning rate; with `schedule: {schedule.kind}` it learns less; use constant",
        ),
        (
            spec.optimizer.kind == "muon" and spec.backbone.freeze == "backbone" and not spec.head.hidden_sizes,
            "muon acts on hidden weights, but only the last layer trains, and that uses AdamW",
        ),
        (
            training.sampling == "balanced" and is_weighed,
            "balanced sampling and balanced class weights together correct for rare classes twice",
        ),
    ]


def _doubts_of_the_rest(spec: "ResolvedSpec", facts: DatasetFacts) -> list[tuple[bool, str]]:
    backbone, training = spec.backbone, spec.training
    patience = training.early_stopping.patience if training.early_stopping else 0
    return [
        (
            backbone.freeze == "backbone" and bool(spec.augmentation),
            "augmentation with a frozen backbone: features can't be computed once, so the whole net runs in every epoch",
        ),
        (
            isinstance(training.batch_size, int) and training.batch_size > facts.train_count,
            f"batch_size {training.batch_size} is larger than the {facts.train_count} training images: each epoch is one step",
        ),
        (
            training.batch_size == 1,
            "batch norm can't work with batches of one image: small inputs fail with batch_too_small",
        ),
        (
            backbone.weights is None
            and backbone.kind not in {"small_cnn", "cifar_resnet18"}
            and facts.train_count < 100 * facts.class_count,
            f"{backbone.kind} from scratch on {facts.train_count} images will probably overfit; consider `weights: imagenet`",
        ),
        (
            patience >= training.epochs,
            f"early_stopping.patience {patience} has no effect within {training.epochs} epochs",
        ),
        (
            not spec.head.hidden_sizes and spec.head.dropout > 0,
            "head.dropout acts after hidden layers, but there are none; use the dropout regularizer",
        ),
        (
            spec.validation is not None
            and spec.validation.kind == "k_fold"
            and facts.target == "class"
            and 0 < min(facts.counts.values(), default=0) < spec.validation.folds,
            "some classes have fewer training images than there are folds, so some folds will have none of them",
        ),
    ]
