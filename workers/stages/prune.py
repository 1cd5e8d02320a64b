"""Stage in which the net gets smaller: what the spec takes out of it, and the recovery from that.

Each kind of pruning makes a net and its facts (`_thin`). Here its variant is held against its accuracy gate, and set
beside the control: the net that was not cut, trained as the cut one recovered.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import singledispatch

from models_store.errors import Invalid
from models_store.spec.part import Part
from models_store.spec.pruning import NM, StructuredPruning, UnstructuredL1, VocabularyPruning
from models_store.tasks.rooms import target_of
from workers.compression import gate
from workers.compression.facts import Sparsity, VocabularyCut
from workers.compression.gate import BASELINE, CONTROL, Drop
from workers.process.progress import Reporter, Stretch
from workers.stages.context import Work
from workers.stages.data import Data
from workers.stages.prune_vocabulary import cut_vocabulary
from workers.stages.recover import RecoveryTrainer, Validated, shares, state_of
from workers.stages.variant import ChannelPruning, ControlComparison, Recovery, Variant, Variants
from workers.training.learner import Learner
from workers.training.loop import Trained

PRUNED = "pruned"


@dataclass(frozen=True)
class Thinned:
    """A net after its recovery, how it validates, and the facts of both."""

    net: Learner
    validated: Validated
    pruning: ChannelPruning | Sparsity | VocabularyCut
    recovery: Recovery


def prune(work: Work, data: Data, trained: Trained) -> Variants:
    """Return fp32, and the pruned and recovered variant with its control when the spec asks.

    Raises:
        Drained: if a stop was asked for; what is done is in the checkpoints.
    """
    parent = trained.learner
    variants = Variants({BASELINE: Variant(work.staging / f"{BASELINE}.onnx", parent=None, net=parent)})
    compression = work.spec.compression
    part = compression.prune if compression else None
    if compression is None or part is None:
        return variants
    work.reporter.phase("pruning")
    trainer = RecoveryTrainer(work, data.examples, parent, compression.recover)
    end = 0.5 if compression.control else 1.0
    try:
        thinned = _thin(part, trainer, Stretch(work.reporter, start=0, end=end))
        before = trainer.validate(parent, alive=lambda: work.reporter.progress(end))
    except Invalid as error:
        work.reporter.warn(f"{PRUNED}: {error.detail}")
        beside = {CONTROL: "there is no pruned variant to compare it with"} if compression.control else {}
        return variants.without({PRUNED: error.detail} | beside)
    pruned = Variant(
        work.staging / f"{PRUNED}.onnx",
        parent=BASELINE,
        net=thinned.net,
        made_by=part.model_dump(mode="json"),
        pruning=thinned.pruning,
        recovery=thinned.recovery,
        stopped=_failure(trainer, before, thinned.validated, allowed=compression.max_accuracy_drop),
    )
    if not compression.control:
        return variants.with_made({PRUNED: pruned})
    rounds = part.steps if isinstance(part, StructuredPruning) else 1
    try:
        beside_it = _beside_control(
            trainer, pruned, thinned.validated, Stretch(work.reporter, start=end, end=1), rounds=rounds
        )
    except Invalid as error:
        work.reporter.warn(f"{CONTROL}: {error.detail}")
        return variants.with_made({PRUNED: pruned}).without({CONTROL: error.detail})
    return variants.with_made(beside_it)


@singledispatch
def _thin(part: Part, trainer: RecoveryTrainer, reporter: Reporter) -> Thinned:
    raise NotImplementedError(f"no net is thinned by {type(part).__name__}, {trainer.epochs} epochs, {reporter}")


@_thin.register
def _(part: StructuredPruning, trainer: RecoveryTrainer, reporter: Reporter) -> Thinned:
    from workers.stages.prune_rounds import cut_channels  # noqa: PLC0415  torch-pruning takes seconds that other jobs are spared

    net, validated, pruning, recovery = cut_channels(part, trainer, reporter)
    return Thinned(net, validated, pruning, recovery)


@_thin.register(UnstructuredL1)
@_thin.register(NM)
def _(part: UnstructuredL1 | NM, trainer: RecoveryTrainer, reporter: Reporter) -> Thinned:
    from workers.compression import sparsity  # noqa: PLC0415  as above

    masks = sparsity.masks_of(trainer.parent, part)  # of the same weights the same: a later attempt finds them again
    recovered = trainer.recover(
        sparsity.hold(trainer.parent, masks),
        epochs=trainer.epochs,
        stage="recovery",
        reporter=Stretch(reporter, start=0, end=1, prefix="recovery_"),
    )
    net = sparsity.settle(recovered.net)
    return Thinned(net, recovered.after, sparsity.facts_of(part, masks), recovered.facts)


@_thin.register
def _(part: VocabularyPruning, trainer: RecoveryTrainer, reporter: Reporter) -> Thinned:
    net, pruning = cut_vocabulary(part, trainer, reporter)
    recovered = trainer.recover(
        net,
        epochs=trainer.epochs,
        stage="recovery",
        reporter=Stretch(reporter, start=0, end=1, prefix="recovery_"),
    )
    return Thinned(recovered.net, recovered.after, pruning, recovered.facts)


def _beside_control(
    trainer: RecoveryTrainer, pruned: Variant, validated: Validated, reporter: Reporter, *, rounds: int
) -> Mapping[str, Variant]:
    """Return the pruned variant and its control, both with how they compare on the validation split."""
    assert trainer.part is not None, "the spec refuses a control without a recovery"
    net, of_control, recovery = _train_control(trainer, reporter, rounds=rounds)
    drop = _drop(trainer, of_control, validated)
    compared = ControlComparison(control=of_control.accuracy, pruned=validated.accuracy, drop=drop)
    control = Variant(
        trainer.work.staging / f"{CONTROL}.onnx",
        parent=BASELINE,
        net=net,
        made_by=trainer.part.model_dump(mode="json"),
        recovery=recovery,
        control=compared,
    )
    return {PRUNED: replace(pruned, control=compared), CONTROL: control}


def _train_control(trainer: RecoveryTrainer, reporter: Reporter, *, rounds: int) -> tuple[Learner, Validated, Recovery]:
    """Return the net that was not cut, after the same epochs in the same rounds."""
    work, net = trainer.work, copy.deepcopy(trainer.parent)
    saved = work.checkpoints.load("control") or {"rounds": 0, "before": None, "weights": state_of(net)}
    net.load_state_dict(saved["weights"])
    before = saved["before"]
    for number, epochs in enumerate(shares(trainer.epochs, rounds)):
        if number < saved["rounds"]:
            continue
        stage = f"control_{number + 1}"
        part = Stretch(reporter, start=number / rounds, end=(number + 1) / rounds, prefix="control_")
        recovered = trainer.recover(net, epochs=epochs, stage=stage, reporter=part)
        before = recovered.before.accuracy if before is None else before
        work.checkpoints.forget(stage)
        work.checkpoints.save("control", {"rounds": number + 1, "before": before, "weights": state_of(net)})
    after = trainer.validate(net, alive=lambda: reporter.progress(1.0))
    return net, after, Recovery(trainer.epochs, before, after.accuracy)


def _drop(trainer: RecoveryTrainer, before: Validated, after: Validated) -> Drop:
    true = trainer.examples.targets[trainer.examples.split("val")]
    return gate.paired_drop(target_of(trainer.work.spec.task), after.answers, before.answers, true)


def _failure(trainer: RecoveryTrainer, before: Validated, after: Validated, *, allowed: float) -> str | None:
    """Return why nothing more is made of a variant: it loses too much; None where it does not, or can't be known."""
    loss = gate.loss_beyond_limit(_drop(trainer, before, after), accuracy=after.accuracy, allowed=allowed)
    if loss is None:
        return None
    when = "after its recovery" if trainer.epochs else "without a recovery"
    return f"{when} the pruned net {loss}: nothing more is made of it"
