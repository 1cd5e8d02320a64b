"""Specs of the runs that go with a main one: the head's before it, and a pruned net's after it."""

from models_store.spec.distillation import Distillation
from models_store.spec.pruning import ParentDistillation
from models_store.spec.regularizer import DropPath, L2Sp, Swa
from models_store.spec.train import ResolvedSpec
from models_store.spec.transfer import Transfer


def recovery(
    spec: ResolvedSpec, *, epochs: int, lr_scale: float = 0.1, distillation: ParentDistillation | None = None
) -> ResolvedSpec:
    """Return the spec of training on after the net was cut: everything trains, at `lr_scale` times the learning rate.

    Nothing of what it was trained from before takes part: no teacher but the unpruned parent (for `distillation`), no
    pull to the start.
    """
    # the parent has no version yet: the name says which model it will be, and nobody looks it up
    taught = Distillation(teacher=spec.name, **distillation.model_dump()) if distillation else None
    return spec.with_frozen("none").model_copy(
        update={
            "transfer": Transfer(),
            "distillation": taught,
            "regularizers": [part for part in spec.regularizers if not isinstance(part, L2Sp)],
            "optimizer": spec.optimizer.model_copy(update={"lr": spec.optimizer.peak_lr * lr_scale}),
            "schedule": spec.schedule.model_copy(update={"warmup_epochs": 0.0}),
            "training": spec.training.model_copy(update={"epochs": epochs, "early_stopping": None}),
        }
    )


def probing(spec: ResolvedSpec) -> ResolvedSpec:
    """Return the spec of the head's training before everything else trains (LP-FT, arXiv:2202.10054).

    The backbone is frozen and no example changes, so that the head trains on features computed once.
    """
    soft = spec.distillation.model_copy(update={"features_weight": 0.0}) if spec.distillation else None
    return (
        spec.with_frozen("backbone")
        .with_examples_as_they_are()
        .model_copy(
            update={
                "transfer": Transfer(head_lr_scale=spec.transfer.head_lr_scale),
                "distillation": soft,
                "regularizers": [part for part in spec.regularizers if not isinstance(part, L2Sp | DropPath | Swa)],
                "schedule": spec.schedule.model_copy(update={"warmup_epochs": 0.0}),
                "training": spec.training.model_copy(
                    update={"epochs": spec.transfer.probe_epochs, "early_stopping": None}
                ),
            }
        )
    )
