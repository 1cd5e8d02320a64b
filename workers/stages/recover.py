"""Stage of recovery: training on after a cut, and keeping what validates better, the cut net or its best epoch."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from models_store.spec import pruning as asked
from models_store.targets import Answers
from workers.process.progress import Reporter
from workers.stages.context import Work
from workers.stages.train import train_stage
from workers.stages.variant import Recovery
from workers.training import selection, targets
from workers.training.derived_specs import recovery
from workers.training.examples import Examples
from workers.training.feeds import RawFeed, infer
from workers.training.learner import Learner
from workers.training.precision import Precision

VALIDATION_BATCH = 64


@dataclass(frozen=True)
class Validated:
    """Answers of a net to the validation split, in full precision, and how right they are."""

    metrics: dict[str, float]
    answers: Answers

    @property
    def accuracy(self) -> float:
        """Return the task's accuracy, as the gate has it."""
        return self.metrics["val_accuracy"]


@dataclass(frozen=True)
class Recovered:
    """A net after its recovery, and how it validated before it and since."""

    net: Learner
    before: Validated
    after: Validated
    epochs: int

    @property
    def facts(self) -> Recovery:
        """Return what a variant's card says."""
        return Recovery(self.epochs, self.before.accuracy, self.after.accuracy)


@dataclass(frozen=True)
class RecoveryTrainer:
    """Recoveries of nets that were cut from one parent: their job, the parent (it stays so), and the spec's part."""

    work: Work
    examples: Examples
    parent: Learner
    part: asked.Recovery | None

    @property
    def epochs(self) -> int:
        """Return the epochs of the whole recovery; 0 where the spec has none."""
        return self.part.epochs if self.part else 0

    def validate(self, net: Learner, *, alive: Callable[[], None]) -> Validated:
        """Return what the net answers to the validation split, in full precision; it goes to the job's device.

        `alive` is called after each batch: a silent job is taken for a stuck one. The net ends in evaluation mode.
        """
        device, rows = self.work.device, self.examples.split("val")
        aim = targets.build(self.work.spec.task, self.examples)
        net.to(device)
        logits_NK = infer(
            RawFeed(net, self.examples, device=device),
            rows,
            batch_size=VALIDATION_BATCH,
            precision=Precision("fp32", device),
            each=lambda _: alive(),
        ).cpu()
        answers = aim.target.answers(aim.outputs(logits_NK).numpy())
        return Validated(aim.epoch_metrics(logits_NK, aim.of(rows)), answers)

    def recover(self, net: Learner, *, epochs: int, stage: str, reporter: Reporter) -> Recovered:
        """Train `net` on for `epochs`; what validates better is kept, the best epoch or the start.

        The parent teaches where the recovery says so. `stage` names the checkpoints. With no epochs the net stays as it
        is.

        Raises:
            Drained: if a stop was asked for; the state is saved.
            Invalid: if the training fails by the spec's or the data's own fault, see `workers.training.failures`.
        """
        before = self.validate(net, alive=lambda: reporter.progress(0.0))
        if self.part is None or epochs == 0:
            return Recovered(net, before, before, 0)
        start = state_of(net)
        lessons = self.part.distillation
        spec = recovery(self.work.spec, epochs=epochs, lr_scale=self.part.lr_scale, distillation=lessons)
        teacher = copy.deepcopy(self.parent) if lessons else None
        train_stage(self.work, net, self.examples, spec=spec, stage=stage, reporter=reporter, teacher=teacher)
        after = self.validate(net, alive=lambda: reporter.progress(1.0))
        if _worth(self.work, before) > _worth(self.work, after):
            reporter.warn(
                f"no epoch of the recovery validates better than its start ({before.accuracy:.4f}), so the start is "
                "kept; a lower `recover.lr_scale` or more epochs might change that"
            )
            net.load_state_dict(start)
            after = before
        return Recovered(net, before, after, epochs)


def shares(epochs: int, rounds: int) -> list[int]:
    """Return the epochs of each round, as equal as can be; what is left over goes to later rounds."""
    return [epochs * (number + 1) // rounds - epochs * number // rounds for number in range(rounds)]


def state_of(net: Learner) -> dict[str, Tensor]:
    """Return a copy of the net's weights and statistics on the CPU, which training on leaves as they are."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in net.state_dict().items()}


def _worth(work: Work, validated: Validated) -> tuple[float, float]:
    """Return what is compared, higher is better: the spec's monitor, and of equals the loss."""
    value = selection.value(validated.metrics, work.spec.training.monitor)
    return (-math.inf if math.isnan(value) else value), -validated.metrics["val_loss"]
