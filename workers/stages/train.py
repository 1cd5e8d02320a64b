"""Stage in which the net learns: training, with a probe of its head and a teacher where asked for."""

import time
from collections.abc import Callable

from models_store.jobs import kinds
from models_store.spec.train import ResolvedSpec
from models_store.spec.training import Monitor
from models_store.tasks.rooms import read_resolved
from workers.process.assignment import TrainedNet
from workers.process.progress import Reporter, Stretch
from workers.stages.context import Work
from workers.tasks.rooms import task_of
from workers.training import loop, selection, targets
from workers.training.derived_specs import probing
from workers.training.examples import Examples
from workers.training.learner import Learner
from workers.training.loop import Trained

PROBE_SHARE = 0.1  # of the progress of training, when the head is trained first


def train(work: Work, examples: Examples) -> Trained:
    """Return the trained net, with the weights of its best epoch; one that was trained by another job stays as it is.

    Raises:
        Drained: if a stop was asked for; the state is saved.
        Invalid: if the training fails by the spec's or the data's own fault, see `workers.training.failures`.
    """
    if kinds.of(work.assignment.kind).has_training:
        work.reporter.phase("training")
    if work.assignment.promoted is not None:
        return take_up(work, examples, work.assignment.promoted)
    learner = _net(work, examples, spec=work.spec)
    epoch_s = work.plan.epoch_s if work.plan else None
    if not work.spec.transfer.probe_epochs:
        return train_stage(work, learner, examples, spec=work.spec, stage="training", epoch_s=epoch_s)
    spec = probing(work.spec)
    after_s = None if epoch_s is None else epoch_s * work.spec.training.epochs
    part = Stretch(work.reporter, start=0.0, end=PROBE_SHARE, prefix="probe_", after_s=after_s)
    probed = train_stage(work, _net(work, examples, spec=spec), examples, spec=spec, stage="probing", reporter=part)
    learner.load_state_dict(probed.learner.state_dict())
    part = Stretch(work.reporter, start=PROBE_SHARE, end=1.0)
    trained = train_stage(work, learner, examples, spec=work.spec, stage="training", reporter=part, epoch_s=epoch_s)
    return _better(probed, trained, monitor=work.spec.training.monitor, log=work.reporter.log)


def take_up(work: Work, examples: Examples, promoted: TrainedNet) -> Trained:
    """Return a net that another job has trained, as its training returned it."""
    aim = targets.build(work.spec.task, examples)
    learner = work.task.restore(
        work.spec,
        work.blobs.local(promoted.weights),
        class_count=aim.output_count,
        examples=examples,
        last_layer=aim.last_layer(),
    )
    learner.freeze(work.spec.freeze)
    return Trained(
        learner,
        history=promoted.history,
        best_epoch=promoted.best_epoch,
        precision=promoted.precision,
        resumed_from=None,
        batch_size=promoted.batch_size,
    )


def train_stage(
    work: Work,
    learner: Learner,
    examples: Examples,
    *,
    spec: ResolvedSpec,
    stage: str,
    reporter: Reporter | None = None,
    teacher: Learner | None = None,
    epoch_s: float | None = None,
) -> Trained:
    """Return the net trained by `spec`, from the checkpoint of an earlier attempt at this stage where there is one.

    `teacher` is whom it learns from; left out, it is the net that the spec's `distillation` names. `epoch_s` is what an
    epoch is expected to take.
    """
    if teacher is None and spec.distillation is not None:
        teacher = teacher_of(work, examples)
    return loop.train(
        learner,
        examples,
        spec=spec,
        device=work.device,
        reporter=reporter or work.reporter,
        checkpoints=work.checkpoints.stage(stage),
        clock=time.monotonic,
        checkpoint_s=work.settings.checkpoint_s,
        teacher=teacher,
        epoch_s=epoch_s,
    )


def teacher_of(work: Work, examples: Examples) -> Learner:
    """Return the trained net that the spec's `distillation` names."""
    given = work.assignment.teacher
    assert given is not None, "the supervisor hands over what the spec names"
    aim = targets.build(work.spec.task, examples)
    spec = read_resolved(given.spec)
    return task_of(spec.task).restore(
        spec, work.blobs.local(given.weights), class_count=aim.output_count, last_layer=aim.last_layer()
    )


def _better(probed: Trained, trained: Trained, *, monitor: Monitor, log: Callable[[str], None]) -> Trained:
    """Return what validates better: the head alone, or everything trained after it."""
    probed_row, row = (run.history[run.best_epoch - 1] for run in (probed, trained))
    if selection.value(probed_row, monitor) > selection.value(row, monitor):
        log(
            f"the head alone had {monitor} {probed_row[monitor]:.4g}, and {row[monitor]:.4g} is the best since all "
            "layers train: the weights of the head's run are kept; a lower `optimizer.lr` or more epochs might "
            "change that"
        )
        return probed
    return trained


def _net(work: Work, examples: Examples, *, spec: ResolvedSpec) -> Learner:
    """Return the net of a spec as it is before training."""
    assert work.settings.weights_dir is not None, "settings fill it in"
    work.settings.weights_dir.mkdir(parents=True, exist_ok=True)
    aim = targets.build(spec.task, examples)
    net = work.task.build(
        spec,
        class_count=aim.output_count,
        weights_dir=work.settings.weights_dir,
        examples=examples,
        initial_weights=work.start,
        last_layer=aim.last_layer(),
    )
    for remark in net.remarks:
        work.reporter.log(remark)
    return net
