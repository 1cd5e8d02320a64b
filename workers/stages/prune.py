"""The stage in which the net gets smaller: what the spec takes out of it, and the recovery from that.

Each kind of pruning makes a net and what its card says (`_thin`); here its variant is put among the others, held
against its accuracy gate, and set beside the control: the net that was not cut, trained as the cut one recovered.
"""

import copy
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

from models_store.errors import Invalid
from models_store.spec.part import Part
from models_store.spec.pruning import NM, StructuredPruning, UnstructuredL1
from models_store.tasks.rooms import target_of
from workers.compression import gate
from workers.compression.gate import Drop
from workers.process.progress import Reporter, Stretch
from workers.stages.context import Variant, Work
from workers.stages.recover import Patient, Validated, shares, state_of
from workers.training.examples import Examples
from workers.training.learner import Learner


@dataclass(frozen=True)
class Thinned:
    """A net after its recovery, how it validates, and what its variant's card says of both."""

    net: Learner
    validated: Validated
    facts: dict[str, Any]


def cut(work: Work, arrays: Examples, variants: dict[str, Variant]) -> dict[str, str]:
    """Add the pruned and recovered variant, and its control, when the spec asks; return those not made, and why.

    Raises:
        Drained: if a stop was asked for; what is done is in the checkpoints.
    """
    compression = work.spec.compression
    part = compression.prune if compression else None
    if compression is None or part is None:
        return {}
    work.reporter.phase("pruning")
    parent = variants["fp32"].net
    assert parent is not None, "fp32 is made from a net"
    patient = Patient(work, arrays, parent, compression.recover)
    end = 0.5 if compression.control else 1.0
    try:
        pruned = _thin(part, patient, Stretch(work.reporter, start=0, end=end))
        before = patient.validate(parent, tell=lambda: work.reporter.progress(end))
    except Invalid as error:
        work.reporter.warn(f"pruned: {error.detail}")
        beside = {"control": "there is no pruned variant that it could stand beside"} if compression.control else {}
        return {"pruned": error.detail} | beside
    variants["pruned"] = Variant(
        work.staging / "pruned.onnx",
        parent="fp32",
        net=pruned.net,
        made_by=part.model_dump(mode="json"),
        facts=pruned.facts,
        stopped=_failure(patient, before, pruned.validated, allowed=compression.max_accuracy_drop),
    )
    if not compression.control:
        return {}
    rounds = part.steps if isinstance(part, StructuredPruning) else 1
    try:
        control = _control(patient, Stretch(work.reporter, start=end, end=1), rounds=rounds)
    except Invalid as error:
        work.reporter.warn(f"control: {error.detail}")
        return {"control": error.detail}
    _set_beside(patient, variants, pruned, control)
    return {}


@singledispatch
def _thin(part: Part, patient: Patient, reporter: Reporter) -> Thinned:
    raise NotImplementedError(f"no net is thinned by {type(part).__name__}, {patient.epochs} epochs, {reporter}")


@_thin.register
def _(part: StructuredPruning, patient: Patient, reporter: Reporter) -> Thinned:
    from workers.stages.prune_rounds import cut_channels  # noqa: PLC0415  torch-pruning takes seconds that other jobs are spared

    recovered, facts = cut_channels(part, patient, reporter)
    return Thinned(recovered.net, recovered.after, facts)


@_thin.register(UnstructuredL1)
@_thin.register(NM)
def _(part: UnstructuredL1 | NM, patient: Patient, reporter: Reporter) -> Thinned:
    from workers.compression import sparsity  # noqa: PLC0415  as above

    masks = sparsity.masks_of(patient.parent, part)  # of the same weights the same: a later attempt finds them again
    recovered = patient.recover(
        sparsity.hold(patient.parent, masks),
        epochs=patient.epochs,
        stage="recovery",
        reporter=Stretch(reporter, start=0, end=1, prefix="recovery_"),
    )
    facts = sparsity.facts_of(part, masks) | {"recovery": recovered.as_card()}
    return Thinned(sparsity.settle(recovered.net), recovered.after, facts)


def _control(patient: Patient, reporter: Reporter, *, rounds: int) -> Thinned:
    """Return the net that was not cut, after the same epochs in the same rounds."""
    work, net = patient.work, copy.deepcopy(patient.parent)
    saved = work.checkpoints.load("control") or {"rounds": 0, "before": None, "weights": state_of(net)}
    net.load_state_dict(saved["weights"])
    before = saved["before"]
    for number, epochs in enumerate(shares(patient.epochs, rounds)):
        if number < saved["rounds"]:
            continue
        stage = f"control_{number + 1}"
        told = Stretch(reporter, start=number / rounds, end=(number + 1) / rounds, prefix="control_")
        recovered = patient.recover(net, epochs=epochs, stage=stage, reporter=told)
        before = recovered.before.accuracy if before is None else before
        work.checkpoints.forget(stage)
        work.checkpoints.save("control", {"rounds": number + 1, "before": before, "weights": state_of(net)})
    after = patient.validate(net, tell=lambda: reporter.progress(1.0))
    recovery = {"epochs": patient.epochs, "val_accuracy_before": before, "val_accuracy_after": after.accuracy}
    return Thinned(net, after, {"recovery": recovery})


def _set_beside(patient: Patient, variants: dict[str, Variant], pruned: Thinned, control: Thinned) -> None:
    """Add the control's variant, and say in both forms' facts how they compare on the validation split."""
    assert patient.recovery is not None, "the spec refuses a control without a recovery"
    drop = _drop(patient, control.validated, pruned.validated)
    compared = {
        "val_accuracy": {"control": control.validated.accuracy, "pruned": pruned.validated.accuracy},
        "drop": drop.value,
        "drop_interval": [drop.low, drop.high],
    }
    variants["control"] = Variant(
        patient.work.staging / "control.onnx",
        parent="fp32",
        net=control.net,
        made_by=patient.recovery.model_dump(mode="json"),
        facts=control.facts | {"control": compared},
    )
    variants["pruned"].facts = pruned.facts | {"control": compared}


def _drop(patient: Patient, before: Validated, after: Validated) -> Drop:
    true = patient.arrays.targets[patient.arrays.split("val")]
    return gate.paired_drop(target_of(patient.work.spec.task), after.answers, before.answers, true)


def _failure(patient: Patient, before: Validated, after: Validated, *, allowed: float) -> str | None:
    """Return why nothing more is made of a variant: it loses too much; None where it does not, or can't be known."""
    loss = gate.told_loss(_drop(patient, before, after), accuracy=after.accuracy, allowed=allowed)
    if loss is None:
        return None
    when = "after its recovery" if patient.epochs else "without a recovery"
    return f"{when} the pruned net {loss}: nothing more is made of it"
