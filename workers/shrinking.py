"""The stage in which the net gets smaller: what the spec takes out of it, and the recovery from that.

Each kind of pruning makes a net and what its card says (`_thin`); here its form is put among the others, held against
its accuracy gate, and set beside the control: the net that was not cut, trained as the cut one recovered.
"""

import copy
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

from models_store.errors import Invalid
from models_store.spec.part import Part
from models_store.spec.pruning import NM, StructuredPruning, UnstructuredL1
from workers.compression import gate
from workers.compression.gate import Drop
from workers.image.data import ImageArrays
from workers.image.task import Classifier
from workers.progress import Reporter, Stretch
from workers.recovering import Patient, Validated, shares
from workers.work import Form, Work


@dataclass(frozen=True)
class Thinned:
    """A net that something was taken out of and that has recovered, and what its variant's card says."""

    net: Classifier
    facts: dict[str, Any]


def cut(work: Work, arrays: ImageArrays, forms: dict[str, Form]) -> dict[str, str]:
    """Add the pruned and recovered form, and its control, when the spec asks; return those not made, and why.

    Raises:
        Drained: if a stop was asked for; what is done is in the checkpoints.
    """
    compression = work.spec.compression
    part = compression.prune if compression else None
    if compression is None or part is None:
        return {}
    work.reporter.phase("pruning")
    parent = forms["fp32"].net
    assert parent is not None, "fp32 is made from a net"
    asked = ["pruned", "control"] if compression.control else ["pruned"]
    patient = Patient(work, arrays, parent, compression.recover)
    try:
        thinned = _thin(part, patient, Stretch(work.reporter, start=0, end=1 / len(asked)))
        pruned = Form(
            work.staging / "pruned.onnx",
            parent="fp32",
            net=thinned.net,
            made_by=part.model_dump(mode="json"),
            facts=thinned.facts,
        )
        before, after = (patient.validate(net) for net in (parent, thinned.net))
        pruned.stopped = _failure(_drop(patient, before, after), before, after, compression.max_accuracy_drop)
    except Invalid as error:
        work.reporter.log(f"pruned: {error.detail}")
        return {"pruned": error.detail} | dict.fromkeys(asked[1:], "there is no pruned form that it could stand beside")
    forms["pruned"] = pruned
    if not compression.control:
        return {}
    try:
        told = Stretch(work.reporter, start=0.5, end=1)
        forms["control"] = _control(patient, told, rounds=part.steps if isinstance(part, StructuredPruning) else 1)
    except Invalid as error:
        work.reporter.log(f"control: {error.detail}")
        return {"control": error.detail}
    _compare(patient, pruned=pruned, control=forms["control"])
    return {}


@singledispatch
def _thin(part: Part, patient: Patient, reporter: Reporter) -> Thinned:
    raise NotImplementedError(f"no net is thinned by {type(part).__name__}, {patient.epochs} epochs, {reporter}")


@_thin.register
def _(part: StructuredPruning, patient: Patient, reporter: Reporter) -> Thinned:
    from workers.cutting import cut_channels  # noqa: PLC0415  torch-pruning takes seconds that other jobs are spared

    net, facts = cut_channels(part, patient, reporter)
    return Thinned(net, facts)


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
    return Thinned(sparsity.settle(recovered.net), facts)


def _control(patient: Patient, reporter: Reporter, *, rounds: int) -> Form:
    """Return the form of the net that was not cut, after the same epochs in the same rounds."""
    work, recovery = patient.work, patient.recovery
    assert recovery is not None, "the spec refuses a control without a recovery"
    net = copy.deepcopy(patient.parent)
    saved = work.checkpoints.load("control") or {"rounds": 0, "first_accuracy": None, "weights": net.state_dict()}
    net.load_state_dict(saved["weights"])
    first_accuracy = saved["first_accuracy"]
    for number, epochs in enumerate(shares(recovery.epochs, rounds)):
        if number < saved["rounds"]:
            continue
        stage = f"control_{number + 1}"
        told = Stretch(reporter, start=number / rounds, end=(number + 1) / rounds, prefix="control_")
        recovered = patient.recover(net, epochs=epochs, stage=stage, reporter=told)
        first_accuracy = recovered.before.accuracy if first_accuracy is None else first_accuracy
        work.checkpoints.forget(stage)
        work.checkpoints.save(
            "control", {"rounds": number + 1, "first_accuracy": first_accuracy, "weights": net.state_dict()}
        )
    return Form(
        work.staging / "control.onnx",
        parent="fp32",
        net=net,
        made_by=recovery.model_dump(mode="json"),
        facts={"recovery": {"epochs": recovery.epochs, "val_accuracy_before": first_accuracy}},
    )


def _compare(patient: Patient, *, pruned: Form, control: Form) -> None:
    """Write into both forms' facts how the pruned net validates beside the equally trained one that was not cut."""
    assert pruned.net is not None
    assert control.net is not None
    one, other = (patient.validate(net) for net in (pruned.net, control.net))
    drop = _drop(patient, other, one)
    told = {
        "val_accuracy": {"control": other.accuracy, "pruned": one.accuracy},
        "drop": drop.value,
        "drop_interval": [drop.low, drop.high],
    }
    for form in (pruned, control):
        form.facts = form.facts | {"control": told}


def _drop(patient: Patient, before: Validated, after: Validated) -> Drop:
    spec = patient.work.spec
    true = patient.arrays.targets[patient.arrays.split("val")]
    return gate.paired_drop(spec.task, after.answers, before.answers, true, seed=spec.seed)


def _failure(drop: Drop, before: Validated, after: Validated, allowed: float) -> str | None:
    """Return why a form fails its accuracy gate; None when it passes."""
    if drop.value <= allowed + gate.ROUNDING:  # False for what is no number
        return None
    return (
        f"after its recovery the pruned net loses {drop.value:.4f} of accuracy on the validation split "
        f"({after.accuracy:.4f} against {before.accuracy:.4f}; 95 % interval of the loss {drop.low:.4f} to "
        f"{drop.high:.4f}); at most {allowed:g} is allowed: nothing more is made of it"
    )
