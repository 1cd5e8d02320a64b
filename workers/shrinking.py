"""The stage in which the net gets smaller: what the spec takes out of it, and the recovery from that."""

from typing import Any

from models_store.spec.pruning import StructuredPruning
from workers.image.data import ImageArrays
from workers.image.task import Classifier
from workers.learning import train_stage
from workers.progress import Stretch
from workers.training.derived_specs import recovery
from workers.work import Form, Work


def cut(work: Work, arrays: ImageArrays, forms: dict[str, Form]) -> dict[str, str]:
    """Add a pruned and recovered form, when the spec asks for one; return the forms that could not be made, and why."""
    compression = work.spec.compression
    part = compression.prune if compression else None
    if compression is None or not isinstance(part, StructuredPruning):
        return {}
    from workers.compression.prune import PruningImpossible  # noqa: PLC0415  seconds that other jobs are spared

    work.reporter.phase("pruning")
    parent = forms["fp32"].net
    assert parent is not None, "fp32 is made from a net"
    try:
        pruned, facts = _cut(work, parent, part)
    except PruningImpossible as error:
        work.reporter.log(error.detail)
        return {"pruned": error.detail}
    if compression.recover is not None:
        spec = recovery(work.spec, epochs=compression.recover.epochs, lr_scale=compression.recover.lr_scale)
        told = Stretch(work.reporter, start=0.0, end=1.0, prefix="recovery_")
        pruned = train_stage(work, pruned, arrays, spec=spec, stage="recovery", reporter=told).classifier
    forms["pruned"] = Form(
        work.staging / "pruned.onnx",
        parent="fp32",
        net=pruned,
        made_by=part.model_dump(mode="json"),
        facts={"pruning": facts},
    )
    return {}


def _cut(work: Work, parent: Classifier, part: StructuredPruning) -> tuple[Classifier, dict[str, Any]]:
    """Return the pruned net and what the cut did; an earlier attempt's cut is repeated, not made anew."""
    from workers.compression.prune import prune, restructure  # noqa: PLC0415  as above

    size, channels = work.spec.input.size, work.spec.input.channels
    assert size is not None, "the spec is resolved"
    saved = work.checkpoints.load("pruning")
    if saved is not None:
        net = restructure(parent.cpu(), saved["cuts"], size=size, channels=channels)
        facts = saved["facts"]
    else:
        pruned = prune(parent.cpu(), part, size=size, channels=channels)
        net, facts = pruned.classifier, pruned.facts.as_card()
        work.checkpoints.save("pruning", {"cuts": pruned.cuts, "facts": facts})
    assert isinstance(net, Classifier), "a copy is of its original's class"
    return net, facts
