"""Rules of regularizers, transfer, distillation and the run: contradictions, and what is unlikely to be meant."""

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, get_args

from models_store.spec.contradiction import contradiction
from models_store.spec.part import has_path
from models_store.spec.training import BALANCED, Fitted
from models_store.spec.transfer import Transfer
from models_store.wording import counted

if TYPE_CHECKING:
    from models_store.spec.facts import DatasetFacts
    from models_store.spec.train import ResolvedSpec, TrainSpec

AVERAGES = {"ema", "swa"}
SINGLE = {"ema", "swa", "sam", "drop_path", "max_norm", "l2_sp"}


def refuse_contradictions_of_training(spec: "TrainSpec") -> None:
    """Check the spec by itself, without its dataset; fields that are left out contradict nothing yet.

    Raises:
        PydanticCustomError: of type `contradiction`, with a pointer and what is allowed.
    """
    _refuse_regularizers_that_rule_each_other_out(spec)
    _refuse_a_run_that_can_not_be(spec)
    _refuse_to_fit_what_is_not_there(spec)
    _refuse_what_numbers_have_not(spec)
    if spec.network is not None and spec.network.weights is None:
        _refuse_what_keeps_weights_that_are_random(spec)
    if spec.network is not None and spec.network.freeze == "backbone":
        _refuse_what_moves_a_frozen_backbone(spec)


def _refuse_regularizers_that_rule_each_other_out(spec: "TrainSpec") -> None:
    kinds: list[str] = [part.kind for part in spec.regularizers or []]
    averages = [number for number, kind in enumerate(kinds) if kind in AVERAGES]
    if len(averages) > 1:
        raise contradiction(
            f"regularizers/{averages[1]}",
            "only one average of the weights can be validated and kept; give `ema` or `swa`",
            None,
        )
    if averages and spec.optimizer is not None and spec.optimizer.kind == "schedule_free_adamw":
        raise contradiction(
            f"regularizers/{averages[0]}",
            f"schedule_free_adamw averages the weights by itself; leave {kinds[averages[0]]} out, or use adamw",
            None,
        )
    for kind, count in Counter(kinds).items():
        if kind in SINGLE and count > 1:
            last = max(number for number, each in enumerate(kinds) if each == kind)
            raise contradiction(f"regularizers/{last}", f"{kind} can be given once", None)


def _refuse_to_fit_what_is_not_there(spec: "TrainSpec") -> None:
    known = [path for path in get_args(Fitted) if has_path(type(spec), path)]
    for number, path in enumerate(spec.training.fit_to_budget or []):
        if path not in known:
            message = f"a spec of this task has no `{path}` that could be changed; there are {', '.join(known)}"
            raise contradiction(f"training/fit_to_budget/{number}", message, known)


def _refuse_a_run_that_can_not_be(spec: "TrainSpec") -> None:
    size, parts = spec.training.batch_size, spec.training.accumulate_steps
    if isinstance(size, int) and parts > size:
        raise contradiction(
            "training/accumulate_steps",
            f"a batch of {counted(size, spec.recipe.example)} can't be split into {parts} parts",
            {"minimum": 1, "maximum": size},
        )
    distillation = spec.distillation
    if distillation is not None and distillation.weight == 0 and distillation.features_weight == 0:
        raise contradiction(
            "distillation/weight",
            "if both weights are 0, nothing is learned from the teacher; raise one, or leave distillation out",
            {"exclusiveMinimum": 0, "maximum": 1},
        )


def _refuse_what_numbers_have_not(spec: "TrainSpec") -> None:
    if spec.target != "number":
        return
    metrics = ["val_accuracy", "val_loss"]
    stopping = spec.training.early_stopping
    if spec.training.monitor in BALANCED:
        raise contradiction("training/monitor", "numbers have no classes to balance", metrics)
    if stopping is not None and stopping.metric in BALANCED:
        raise contradiction("training/early_stopping/metric", "numbers have no classes to balance", metrics)
    if spec.training.sampling == "balanced":
        raise contradiction("training/sampling", "numbers have no classes to balance", ["shuffle"])
    penalties = [number for number, part in enumerate(spec.regularizers or []) if part.kind == "confidence_penalty"]
    if penalties:
        raise contradiction(
            f"regularizers/{penalties[0]}", "a number has no confidence to penalise; leave confidence_penalty out", None
        )


def _refuse_what_keeps_weights_that_are_random(spec: "TrainSpec") -> None:
    remedy = "give `backbone.weights`, or leave it out"
    transfer = spec.transfer or Transfer()
    if transfer.probe_epochs:
        raise contradiction(
            "transfer/probe_epochs", f"there are no pretrained features to probe; {remedy}", {"maximum": 0}
        )
    if transfer.unfreeze_every_epochs is not None:
        raise contradiction(
            "transfer/unfreeze_every_epochs", f"there are no pretrained weights to keep at first; {remedy}", [None]
        )
    pulls = [number for number, part in enumerate(spec.regularizers or []) if part.kind == "l2_sp"]
    if pulls:
        raise contradiction(
            f"regularizers/{pulls[0]}",
            f"l2_sp needs pretrained weights to pull toward, and there are none; {remedy}",
            None,
        )


def _refuse_what_moves_a_frozen_backbone(spec: "TrainSpec") -> None:
    remedy = "set `backbone.freeze: none`"
    transfer = spec.transfer or Transfer()
    if transfer.probe_epochs:
        raise contradiction(
            "transfer/probe_epochs",
            f"after the probe the backbone would train, but this one is frozen; {remedy}",
            {"maximum": 0},
        )
    if transfer.unfreeze_every_epochs is not None:
        raise contradiction(
            "transfer/unfreeze_every_epochs", f"a frozen backbone has no stage that could train; {remedy}", [None]
        )
    if spec.distillation is not None and spec.distillation.features_weight > 0:
        raise contradiction(
            "distillation/features_weight",
            f"a frozen backbone can't learn the teacher's features; {remedy}",
            {"maximum": 0},
        )


def warnings_of_training(spec: "ResolvedSpec", facts: "DatasetFacts") -> Iterable[tuple[bool, str]]:
    """Return warnings about values that are allowed but probably not meant, each with whether it applies."""
    kinds = {part.kind for part in spec.regularizers}
    training, transfer = spec.training, spec.transfer
    every, stages = transfer.unfreeze_every_epochs, spec.network.stages if spec.network else ()
    is_frozen = spec.freeze == "backbone"
    idle = sorted(kinds & {"drop_path", "l2_sp"})
    return [
        (
            is_frozen and bool(idle),
            f"{' and '.join(idle)}: has no effect on a frozen backbone, because nothing there trains",
        ),
        (
            transfer.layer_decay < 1 and (is_frozen or spec.network is None or spec.network.weights is None),
            "layer_decay needs pretrained weights that train, and there are none",
        ),
        (
            every is not None and every * len(stages) >= training.epochs,
            f"with one more stage every {every} epochs, the first of {len(stages)} stages does not train within {counted(training.epochs, 'epoch')}",
        ),
        (
            "swa" in kinds and training.early_stopping is not None,
            "early stopping may end the run before swa begins to average",
        ),
        (
            spec.distillation is not None and spec.target == "number" and spec.distillation.temperature != 1,
            "distillation.temperature has no effect: it softens probabilities, and numbers have none",
        ),
        (
            training.sampling == "balanced" and len(facts.counts) > 1 and len(set(facts.counts.values())) == 1,
            f"balanced sampling draws with replacement, but the classes are already balanced: use shuffle, which shows each {spec.recipe.example} once",
        ),
    ]
