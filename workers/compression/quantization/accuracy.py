"""How good a file is, asked as it will be used: through onnxruntime."""

# N images, K outputs

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from models_store.spec.train import Task
from workers.compression.quantization.mixed import Judge
from workers.export import sessions
from workers.image.data import ImageArrays
from workers.training import scores

BATCH = 64


def judge_of(task: Task, arrays: ImageArrays) -> Judge:
    """Return what tells a file's accuracy on the validation split, answered by the CPU: 8-bit files are made for it."""
    rows = arrays.split("val")

    def accuracy(path: Path, report: Callable[[float], None]) -> float:
        session = sessions.open_session(path, device="cpu", threads=torch.get_num_threads())
        answered = []
        for answers_NK in sessions.probabilities(session, arrays.images_NHWC, rows, batch_size=BATCH):
            answered.append(scores.answers(task, answers_NK))
            report(min(len(answered) * BATCH / len(rows), 1.0))
        return scores.accuracy(task, np.concatenate(answered), arrays.targets[rows])

    return accuracy
