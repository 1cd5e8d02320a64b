"""Rules of any spec: parts that don't go together, parts that don't fit the dataset, and what is unlikely to be meant."""

from typing import TYPE_CHECKING

from models_store.spec.compression_rules import refuse_what_the_network_can_not_lose, warnings_of_compression
from models_store.spec.contradiction import contradiction as _contradiction
from models_store.spec.facts import DatasetFacts, Target
from models_store.spec.recipe import Warnings
from models_store.spec.training_rules import refuse_contradictions_of_training, warnings_of_training
from models_store.wording import counted, inflected

if TYPE_CHECKING:
    from models_store.spec.network import Network
    from models_store.spec.train import ResolvedSpec, TrainSpec

FITTING_LOSSES: dict[Target, list[str]] = {
    "class": ["cross_entropy", "binary_cross_entropy", "focal", "poly1"],
    "labels": ["binary_cross_entropy"],
    "number": ["mse"],
}


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
    refuse_contradictions_of_training(spec)
    if spec.network is not None:
        _refuse_what_the_network_can_not(spec.network, spec)
        refuse_what_the_network_can_not_lose(spec)


def _refuse_what_the_network_can_not(network: "Network", spec: "TrainSpec") -> None:
    freeze = network.freeze or "none"
    if freeze != "none" and network.weights is None:
        raise _contradiction(
            "backbone/freeze",
            "a backbone without pretrained weights can't be frozen; set `freeze: none` or give weights",
            ["none"],
        )
    stages = [f"until:{stage}" for stage in network.stages]
    if freeze.startswith("until:") and freeze not in stages:
        raise _contradiction(
            "backbone/freeze", f"{network.kind} has no such stage; there are {', '.join(stages)}", stages
        )
    paths = [number for number, part in enumerate(spec.regularizers or []) if part.kind == "drop_path"]
    if paths and not network.has_drop_path:
        raise _contradiction(
            f"regularizers/{paths[0]}",
            f"{network.kind} has no residual branches that can be dropped; leave drop_path out, or take another backbone",
            None,
        )


def _refuse_parts_of_learning_that_do_not_go_together(spec: "TrainSpec") -> None:
    if spec.target and spec.loss and spec.loss.kind not in FITTING_LOSSES[spec.target]:
        allowed = FITTING_LOSSES[spec.target]
        raise _contradiction("loss/kind", f"`task: {spec.task}` is learned with {' or '.join(allowed)}", allowed)
    if spec.schedule and spec.schedule.kind == "multistep":
        milestones = spec.schedule.milestones
        ascending = sorted(set(milestones))
        if milestones != ascending:
            raise _contradiction("schedule/milestones", "milestones are given once each, in ascending order", ascending)


def refuse_what_does_not_fit(spec: "ResolvedSpec", facts: DatasetFacts) -> None:
    """Check the whole spec against its dataset.

    Raises:
        PydanticCustomError: as above.
    """
    if spec.target != facts.target:
        fitting = [task for task, target in spec.targets.items() if target == facts.target]
        learning = f"which `task: {fitting[0]}` learns" if fitting else "which no task of such examples learns"
        raise _contradiction("task", f"the dataset holds {facts.target} targets, {learning}", fitting)
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
            "validation/folds",
            f"no class has {spec.validation.folds} training {spec.recipe.example}s",
            {"minimum": 2, "maximum": most},
        )


def _refuse_weights_of_unknown_classes(spec: "ResolvedSpec", facts: DatasetFacts) -> None:
    weights = None if spec.loss.kind == "mse" else spec.loss.class_weights
    unknown = sorted(set(weights) - set(facts.counts)) if isinstance(weights, dict) else []
    if unknown:
        raise _contradiction(
            "loss/class_weights", f"the dataset has no class {', '.join(map(repr, unknown[:5]))}", sorted(facts.counts)
        )


def warnings_about(spec: "ResolvedSpec", facts: DatasetFacts) -> list[str]:
    """Return warnings about values that are allowed but probably not meant."""
    return [message for is_so, message in _all_warnings(spec, facts) if is_so]


def _all_warnings(spec: "ResolvedSpec", facts: DatasetFacts) -> Warnings:
    return [
        *_warnings_of_learning(spec),
        *spec.recipe.warnings_about(spec, facts),
        *warnings_of_training(spec, facts),
        *_warnings_of_the_rest(spec, facts),
        *warnings_of_compression(spec, facts),
    ]


def _warnings_of_learning(spec: "ResolvedSpec") -> Warnings:
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
            f"the warm-up takes {inflected(training.epochs, 'the only epoch', f'all {training.epochs} epochs')}, so the learning rate never reaches its peak",
        ),
        (
            first_change >= training.epochs,
            f"`schedule: {schedule.kind}` changes nothing within {counted(training.epochs, 'epoch')}",
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
            spec.optimizer.kind == "muon" and spec.freeze == "backbone" and not spec.head.hidden_sizes,
            "muon acts on hidden weights, but only the last layer trains, and that uses AdamW",
        ),
        (
            training.sampling == "balanced" and is_weighed,
            "balanced sampling and balanced class weights together correct for rare classes twice",
        ),
    ]


def _warnings_of_the_rest(spec: "ResolvedSpec", facts: DatasetFacts) -> Warnings:
    training, example = spec.training, spec.recipe.example
    patience = training.early_stopping.patience if training.early_stopping else 0
    return [
        (
            isinstance(training.batch_size, int) and training.batch_size > facts.train_count,
            f"batch_size {training.batch_size} is larger than the {counted(facts.train_count, f'training {example}')}: each epoch is one step",
        ),
        (
            training.batch_size == 1,
            f"batch norm can't work with batches of one {example}: small inputs fail with batch_too_small",
        ),
        (
            patience >= training.epochs,
            f"early_stopping.patience {patience} has no effect within {counted(training.epochs, 'epoch')}",
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
            f"some classes have fewer training {example}s than there are folds, so some folds will have none of them",
        ),
    ]
