"""Learning from another net's answers beside the labels (arXiv:1503.02531), and from its features (arXiv:1412.6550)."""

# N rows, B batch, F feature, K class or label

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from models_store.spec.distillation import Distillation
from workers.training.examples import Rows
from workers.training.feeds import SMALLEST_INFERENCE_BATCH, RawFeed, batches
from workers.training.learner import Learner
from workers.training.precision import Precision
from workers.training.targets import Targets


@dataclass(frozen=True)
class Answers:
    """A teacher's logits (B, K) and features (B, F), float32."""

    logits: Tensor
    features: Tensor


class Teacher:
    """A trained net that answers for what a student is fed. It is in evaluation mode, and never changes.

    Where the student's inputs never change either, `remember` asks it once for each row.
    """

    def __init__(self, teacher: Learner, *, student: Learner, precision: Precision) -> None:
        self.net = teacher.eval().requires_grad_(requires_grad=False)
        self._student = student
        self._precision = precision
        self._remembered: Answers | None = None
        self._places = np.empty(0, dtype=np.int64)

    def answers(self, rows: Rows, inputs: Tensor) -> Answers:
        """Return the answers for the student's `inputs`, which came of `rows`."""
        if self._remembered is None:
            return self.ask(inputs)
        places = torch.from_numpy(self._places[rows])
        return Answers(self._remembered.logits[places], self._remembered.features[places])

    def remember(self, feed: RawFeed, rows: Rows, *, batch_size: int, each: Callable[[int], None]) -> None:
        """Ask for all of `rows` once, prepared without random changes; `each` gets the rows done so far."""
        asked: list[Answers] = []
        for start, end in batches(len(rows), max(batch_size, SMALLEST_INFERENCE_BATCH)):
            asked.append(self.ask(feed.batch(rows[start:end], None)))
            each(end)
        self._remembered = Answers(
            torch.cat([answers.logits for answers in asked]), torch.cat([answers.features for answers in asked])
        )
        self._places = np.full(int(rows.max()) + 1, -1, dtype=np.int64)
        self._places[rows] = np.arange(len(rows))

    @torch.no_grad()
    def ask(self, inputs: Tensor) -> Answers:
        """Return the answers for the student's inputs."""
        with self._precision.autocast():
            features_BF = self.net.features(self.net.translate(inputs, of=self._student))
            return Answers(self.net.head(features_BF).float(), features_BF.float())


class Distiller(nn.Module):
    """What the teacher's answers add to the loss. It trains along: it projects the student's features to the teacher's.

    `widths` are the numbers of features of the student and the teacher, where features are learned.
    """

    def __init__(
        self, part: Distillation, targets: Targets, teacher: Teacher, *, widths: tuple[int, int] | None, seed: int
    ) -> None:
        super().__init__()
        self.part, self.teacher = part, teacher
        self.targets = targets
        self.projection: nn.Linear | None = None
        if widths is not None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                self.projection = nn.Linear(*widths)

    def forward(
        self, loss: Tensor, logits_BK: Tensor, features_BF: Tensor | None, *, rows: Rows, inputs: Tensor
    ) -> Tensor:
        """Return the whole loss of a batch, of which `loss` is that on the labels; `inputs` came of `rows`."""
        part, answers = self.part, self.teacher.answers(rows, inputs)
        whole = (1 - part.weight) * loss + part.weight * self.soft_loss(logits_BK, answers.logits)
        if self.projection is None or features_BF is None:
            return whole
        return whole + part.features_weight * functional.mse_loss(
            self.projection(features_BF.float()), answers.features
        )

    def soft_loss(self, logits_BK: Tensor, teachers_BK: Tensor) -> Tensor:
        """Return how far the student's answers, softened by the part's temperature, are from the teacher's."""
        return self.targets.soft_distance(logits_BK, teachers_BK, temperature=self.part.temperature)


@torch.no_grad()
def widths(student: Learner, teacher: Teacher, inputs: Tensor) -> tuple[int, int]:
    """Return the numbers of features of the student and the teacher, seen on some inputs."""
    student.eval()
    return student.features(inputs).shape[1], teacher.ask(inputs).features.shape[1]
