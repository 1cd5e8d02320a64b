"""Warnings that a run learns nothing or diverges while its loss is still a finite number, each with advice.

They are reported as soon as an epoch shows them. All are read from the history of closed epochs, so a run that
continues from a checkpoint repeats none of them.
"""

import math
from collections.abc import Mapping, Sequence

from models_store.spec.train import ResolvedSpec
from models_store.tasks.rooms import target_of

History = Sequence[Mapping[str, float]]

BLOWN_UP = 10.0
"""times the loss of guessing that a validation loss is beyond all learning"""
BLOWN_UP_IN_TRAINING = 1000.0
"""the same of the training loss, in which weights of classes and smoothing count as well"""
RISING_EPOCHS = 3
RISEN = 1.3
"""times the least training loss so far that a rising one has reached"""
PENALTIES = {"l1", "l2", "elastic", "l2_sp"}
"""regularizers whose penalty is a part of the training loss, as a teacher's answers are; it may be large by itself"""


def new(history: History, spec: ResolvedSpec, *, outputs: int) -> list[str]:
    """Return the warnings that the newest epoch is the first to show."""
    before = of_history(history[:-1], spec, outputs=outputs)
    return [text for name, text in of_history(history, spec, outputs=outputs).items() if name not in before]


def of_history(history: History, spec: ResolvedSpec, *, outputs: int) -> dict[str, str]:
    """Return name → warning for what the closed epochs show; `outputs` is the number of classes or labels."""
    found: dict[str, str] = {}
    guessing = guessing_loss(spec, outputs=outputs)
    has_penalty = spec.distillation is not None or any(part.kind in PENALTIES for part in spec.regularizers)
    least, previous, rises = math.inf, math.inf, 0
    for number, row in enumerate(history, 1):
        training, validation = row.get("train_loss") or 0.0, row.get("val_loss") or 0.0
        least, rises = min(least, training), rises + 1 if training > previous else 0
        previous = training
        is_beyond = validation > BLOWN_UP * guessing and (has_penalty or training > guessing)
        if is_beyond or (training > BLOWN_UP_IN_TRAINING * guessing and not has_penalty):
            loss, name = (training, "training") if training > validation else (validation, "validation")
            text = (
                f"the {name} loss was {loss:.3g} in epoch {number}, and guessing has {guessing:.3g}: the run diverged"
            )
            found.setdefault("blown_up", f"{text}. {_advice(spec)}")
        if rises >= RISING_EPOCHS and training > RISEN * least > 0:
            text = (
                f"the training loss has risen for {rises} epochs, to {training:.3g} in epoch {number} from {least:.3g}"
            )
            found.setdefault("rising", f"{text}. {_advice(spec)}")
    return found


def guessing_loss(spec: ResolvedSpec, *, outputs: int) -> float:
    """Return the validation loss of answers that know nothing: all classes alike, each label by half, or the mean."""
    return target_of(spec.task).guessing_loss(outputs)


def _advice(spec: ResolvedSpec) -> str:
    return (
        f"Lower `optimizer.lr` (it is {spec.optimizer.peak_lr:.3g}), or add `schedule.warmup_epochs` or "
        "`training.clip_grad_norm`"
    )
