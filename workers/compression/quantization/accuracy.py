"""How good a file is, asked as it will be used: through onnxruntime."""

# N images, K outputs

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from models_store.targets import Answers, Target
from workers.compression import gate
from workers.compression.quantization.mixed import Judge, Judged
from workers.export import sessions
from workers.tasks.image.examples import ImageArrays

BATCH = 64

Accuracy = Callable[[Path, Callable[[float], None]], float]
"""the accuracy of a file on the validation split, told as it goes"""


def judge_of(target: Target, arrays: ImageArrays) -> Accuracy:
    """Return what tells a file's accuracy on the validation split, answered by the CPU: 8-bit files are made for it."""
    truths = arrays.targets[arrays.split("val")]
    return lambda path, report: target.score(_answers(target, arrays, path, report), truths)


def gate_of(
    target: Target, arrays: ImageArrays, *, baseline: Path, max_accuracy_drop: float, alive: Callable[[], None]
) -> Judge:
    """Return what tells a file's accuracy on the validation split, and whether the gate will accept it.

    It is accepted where the upper end of its loss's interval is allowed, as `workers.compression.gate` has it. Where
    the images are so few that no file would be, the measured loss decides. `alive` is called after each batch of the
    baseline's answers.
    """
    truths = arrays.targets[arrays.split("val")]
    others = _answers(target, arrays, baseline, lambda _: alive())
    most = max_accuracy_drop + gate.ROUNDING
    few = gate.paired_drop(target, others, others, truths).high > most

    def judge(path: Path, report: Callable[[float], None]) -> Judged:
        answered = _answers(target, arrays, path, report)
        drop = gate.paired_drop(target, answered, others, truths)
        return Judged(target.score(answered, truths), passes=(drop.value if few else drop.high) <= most)

    return judge


def _answers(target: Target, arrays: ImageArrays, path: Path, report: Callable[[float], None]) -> Answers:
    rows = arrays.split("val")
    session = sessions.open_session(path, device="cpu", threads=torch.get_num_threads())
    answered = []
    for answers_NK in sessions.probabilities(session, arrays.images_NHWC, rows, batch_size=BATCH):
        answered.append(target.answers(answers_NK))
        report(min(len(answered) * BATCH / len(rows), 1.0))
    return np.concatenate(answered)
