"""Transfer of pretrained weights: the rates at which the stages learn, and when they begin."""

from collections.abc import Callable

from models_store.spec.train import ResolvedSpec
from models_store.spec.transfer import Transfer
from workers.training.learner import Learner


def scale_of(part: Transfer, learner: Learner) -> Callable[[str], float]:
    """Return the multiple of the learning rate of a parameter of the learner, or of its head, by its name there.

    The backbone's last stage learns at the rate itself, each stage before it at `layer_decay` of the one after it.
    """
    names = [name for name, _ in learner.stages]

    def scale(name: str) -> float:
        if not name.startswith("backbone."):
            return part.head_lr_scale
        from_the_last = len(names) - 1 - names.index(learner.stage_of(name.removeprefix("backbone.")))
        return float(part.layer_decay**from_the_last)

    return scale


def let_train(learner: Learner, spec: ResolvedSpec, *, epoch: int) -> None:
    """Freeze what the spec keeps in an epoch, counted from 0; unfreezing gradually, that is the backbone at first."""
    every = spec.transfer.unfreeze_every_epochs
    learner.freeze(spec.freeze, last_stages=None if every is None else epoch // every)
