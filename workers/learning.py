"""The stages in which a net learns: training, with a probe of its head and a teacher where asked for, and pruning."""

import time
from collections.abc import Callable
from typing import Any

from models_store.spec.compression import StructuredPruning
from models_store.spec.older import read_resolved
from models_store.spec.train import ResolvedSpec
from models_store.spec.training import Monitor
from workers import promotion
from workers.image import task
from workers.image.data import ImageArrays
from workers.image.task import Classifier
from workers.progress import Reporter, Stretch
from workers.training import targets
from workers.training.derived_specs import probing, recovery
from workers.training.loop import Trained, train
from workers.work import Form, Work

PROBE_SHARE = 0.1  # of the progress of training, when the head is trained first


def learn(work: Work, arrays: ImageArrays) -> Trained[Classifier]:
    """Return the trained net, with the weights of its best epoch."""
    work.reporter.phase("training")
    classifier = _net(work, arrays, spec=work.spec)
    promoted = work.assignment.promoted
    if promoted is not None:
        return promotion.take_up(classifier, work.blobs.local(promoted["weights"]), promoted)
    if not work.spec.transfer.probe_epochs:
        return _train(work, classifier, arrays, spec=work.spec, stage="training")
    spec = probing(work.spec)
    told = Stretch(work.reporter, start=0.0, end=PROBE_SHARE, prefix="probe_")
    probed = _train(work, _net(work, arrays, spec=spec), arrays, spec=spec, stage="probing", reporter=told)
    classifier.load_state_dict(probed.classifier.state_dict())
    told = Stretch(work.reporter, start=PROBE_SHARE, end=1.0)
    trained = _train(work, classifier, arrays, spec=work.spec, stage="training", reporter=told)
    return _better(probed, trained, monitor=work.spec.training.monitor, tell=work.reporter.log)


def _better(
    probed: Trained[Classifier], trained: Trained[Classifier], *, monitor: Monitor, tell: Callable[[str], None]
) -> Trained[Classifier]:
    """Return what validates better: the head alone, or everything trained after it."""
    probed_value, value = (run.history[run.best_epoch - 1][monitor] for run in (probed, trained))
    if probed_value < value if monitor == "val_loss" else probed_value > value:
        tell(
            f"the head alone had {monitor} {probed_value:.4g}, and {value:.4g} is the best since the rest trained too: "
            "the head's run is kept; a lower `optimizer.lr` or more epochs might change that"
        )
        return probed
    return trained


def cut_channels(work: Work, arrays: ImageArrays, forms: dict[str, Form]) -> dict[str, str]:
    """Add a pruned and recovered form, when the spec asks for one; return the forms that could not be made, and why."""
    part = work.spec.compression.prune if work.spec.compression else None
    if part is None:
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
    if part.recover_epochs:
        spec = recovery(work.spec, epochs=part.recover_epochs)
        told = Stretch(work.reporter, start=0.0, end=1.0, prefix="recovery_")
        pruned = _train(work, pruned, arrays, spec=spec, stage="recovery", reporter=told).classifier
    forms["pruned"] = Form(work.staging / "pruned.onnx", parent="fp32", net=pruned, facts={"pruning": facts})
    return {}


def _net(work: Work, arrays: ImageArrays, *, spec: ResolvedSpec) -> Classifier:
    """Return the net of a spec as it is before training."""
    assert work.settings.weights_dir is not None, "settings fill it in"
    work.settings.weights_dir.mkdir(parents=True, exist_ok=True)
    aim = targets.build(spec.task, arrays)
    start = work.assignment.initial_weights
    return task.build(
        spec,
        class_count=aim.output_count,
        weights_dir=work.settings.weights_dir,
        initial_weights=None if start is None else work.blobs.local(start),
        last_layer=aim.last_layer(),
    )


def _train(
    work: Work,
    classifier: Classifier,
    arrays: ImageArrays,
    *,
    spec: ResolvedSpec,
    stage: str,
    reporter: Reporter | None = None,
) -> Trained[Classifier]:
    return train(
        classifier,
        arrays,
        spec=spec,
        device=work.device,
        reporter=reporter or work.reporter,
        checkpoints=work.checkpoints.stage(stage),
        clock=time.monotonic,
        checkpoint_s=work.settings.checkpoint_s,
        teacher=None if spec.distillation is None else _teacher(work, arrays),
    )


def _teacher(work: Work, arrays: ImageArrays) -> Classifier:
    """Return the trained net that the spec's `distillation` names."""
    given = work.assignment.teacher
    assert given is not None, "the supervisor hands over what the spec names"
    aim = targets.build(work.spec.task, arrays)
    return task.restore(
        read_resolved(given["spec"]),
        work.blobs.local(given["weights"]),
        class_count=aim.output_count,
        last_layer=aim.last_layer(),
    )


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
