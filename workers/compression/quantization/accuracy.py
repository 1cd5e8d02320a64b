"""Accuracy of a file, measured as it will be used: through onnxruntime."""

# N examples, K outputs

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from models_store.targets import Answers, Target
from workers.compression import gate
from workers.compression.quantization.mixed import Judge, Judged
from workers.export import sessions
from workers.training.examples import Examples

BATCH = 64

Accuracy = Callable[[Path, Callable[[float], None]], float]
"""the accuracy of a file on the validation split, reported as it goes"""


def judge_of(target: Target, examples: Examples) -> Accuracy:
    """Return what tells a file's accuracy on the validation split, answered by the CPU: 8-bit files are made for it."""
    truths = examples.targets[examples.split("val")]
    return lambda path, report: target.score(_answers(target, examples, path, report), truths)


def gate_of(
    target: Target, examples: Examples, *, baseline: Path, max_accuracy_drop: float, alive: Callable[[], None]
) -> Judge:
    """Return what tells a file's accuracy on the validation split, and whether the gate will accept it.

    It is accepted where the upper end of its loss's interval is allowed, as `workers.compression.gate` has it. Where
    the examples are so few that no file would be, the measured loss decides. `alive` is called after each batch of the
    baseline's answers.
    """
    truths = examples.targets[examples.split("val")]
    others = _answers(target, examples, baseline, lambda _: alive())
    most = max_accuracy_drop + gate.ROUNDING
    few = gate.paired_drop(target, others, others, truths).high > most

    def judge(path: Path, report: Callable[[float], None]) -> Judged:
        answered = _answers(target, examples, path, report)
        drop = gate.paired_drop(target, answered, others, truths)
        return Judged(target.score(answered, truths), passes=(drop.value if few else drop.high) <= most)

    return judge


def _answers(target: Target, examples: Examples, path: Path, report: Callable[[float], None]) -> Answers:
    rows = examples.split("val")
    session = sessions.open_session(path, device="cpu", threads=torch.get_num_threads())
    answered = []
    for answers_NK in sessions.answers(session, examples.inputs, rows, batch_size=BATCH, padded=examples.padded):
        answered.append(target.answers(answers_NK))
        report(min(len(answered) * BATCH / len(rows), 1.0))
    return np.concatenate(answered)
