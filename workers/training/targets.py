"""Targets of a run as tensors: how many outputs the net has, and the losses that they are compared by.

What needs no torch (scores, agreement, a prediction's shape) is in `models_store.targets`.

    target    targets           activation   loss of an epoch
    class     int64 (N,)        softmax      cross-entropy
    labels    float32 (N, K)    sigmoid      binary cross-entropy
    number    float32 (N, 1)    identity     squared error ÷ variance

Numbers are learned in units of the train split's standard deviation, so that learning rates and penalties mean the same
for years and for micrometres. That happens in one place: the head of such a net ends in a fixed `Affine` (`last_layer`)
that gives the dataset's own unit, and the loss undoes it on both sides (`loss_in_scale`). So every net answers, is
exported, verified and served in the dataset's unit, and its state holds the unit.
"""

# N examples, B batch, K class or label (1 for a number)

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from models_store.targets import LABELS, NUMBER, ONE_CLASS, THRESHOLD, Activation, Target
from models_store.tasks.rooms import target_of
from workers.training.examples import Examples, Rows

ACTIVATIONS: Mapping[Activation, Callable[[Tensor], Tensor]] = {
    "softmax": lambda logits_BK: logits_BK.softmax(dim=1),
    "sigmoid": torch.sigmoid,
    "identity": lambda logits_BK: logits_BK,
}
"""what makes a net's logits (B, K) the outputs that its file answers"""


@dataclass(frozen=True, eq=False)
class Targets(ABC):
    """The targets of a dataset's rows, and what is learned of them. `targets` arguments are some rows of `all_rows`.

    In a step they may be soft: float (B, K), as mixing and distillation make them (see `as_soft`).
    """

    all_rows: Tensor
    output_count: int

    target: ClassVar[Target]

    def of(self, rows: Rows) -> Tensor:
        """Return the targets of `rows`, on the CPU."""
        return self.all_rows[torch.from_numpy(rows)]

    def outputs(self, logits_BK: Tensor) -> Tensor:
        """Return what the exported file will answer: probabilities, or numbers in the dataset's unit."""
        return ACTIVATIONS[self.target.activation](logits_BK)

    def last_layer(self) -> nn.Module | None:
        """Return what a net's head ends in, after its last linear layer; None: nothing."""
        return None

    def loss_in_scale(self, loss: nn.Module) -> nn.Module:
        """Return the loss as it is minimised: `loss` itself, or for numbers, of standardised logits and targets."""
        return loss

    def epoch_metrics(self, logits_NK: Tensor, targets: Tensor) -> dict[str, float]:
        """Return `val_loss` and `val_accuracy` of a whole split, and (not for numbers) both with all classes alike.

        The latter, `val_balanced_loss` and `val_balanced_accuracy`, are means of the classes' own means. For numbers
        `val_loss` is the mean squared error in units of the train split's variance, and `val_accuracy` is R² (below 0
        where answering the split's mean were better). All may be NaN or infinite where logits are.
        """
        answers = self.target.answers(self.outputs(logits_NK).float().cpu().numpy())
        truths = targets.cpu().numpy()
        balanced = {
            "val_balanced_loss": self.balanced_loss(logits_NK, targets),
            "val_balanced_accuracy": self.target.balanced_score(answers, truths),
        }
        return {
            "val_loss": float(self.validation_loss(logits_NK, targets)),
            "val_accuracy": self.target.score(answers, truths),
        } | {name: float(value) for name, value in balanced.items() if value is not None}

    @property
    def rounding(self) -> float:
        """How far two calculations of one output may be apart: of a probability, or of a number in its unit."""
        return self.target.rounding(1.0)

    @abstractmethod
    def counts_K(self, rows: Rows) -> Tensor:  # noqa: N802  the shape is part of the name
        """Return the number of `rows` of each class or with each label, int64 (K,); for numbers, their count."""

    @abstractmethod
    def as_soft(self, targets: Tensor) -> Tensor:
        """Return targets as float (B, K), which can be mixed."""

    @abstractmethod
    def correct(self, logits_BK: Tensor, targets: Tensor) -> Tensor:
        """Return how much of a batch is right, a scalar of 0 to B: summed over an epoch, ÷ N, it is the train accuracy.

        For numbers it is the sum of 1 - squared error ÷ train variance, so that the train accuracy is R² as well; it
        may be below 0. Soft targets count by their likeliest class, labels at 0.5.
        """

    @abstractmethod
    def soft_distance(self, logits_BK: Tensor, others_BK: Tensor, *, temperature: float) -> Tensor:
        """Return how far answers are from others, both softened, times the square of the temperature.

        It is the Kullback-Leibler divergence of the answers; of labels, the mean over them; of numbers, which have no
        temperature, the squared distance.
        """

    @abstractmethod
    def validation_loss(self, logits_NK: Tensor, targets: Tensor) -> Tensor:
        """Return the task's plain loss, without the weights and smoothing of the spec's: comparable between specs."""

    @abstractmethod
    def balanced_loss(self, logits_NK: Tensor, targets: Tensor) -> Tensor | None:
        """Return the plain loss with all classes alike, as `Target.balanced_score` has it; None for numbers."""


class ClassTargets(Targets):
    """One class of each example: int64 (N,)."""

    target = ONE_CLASS

    def counts_K(self, rows: Rows) -> Tensor:  # noqa: N802  the shape is part of the name
        """Count the rows of each class."""
        return torch.bincount(self.of(rows), minlength=self.output_count)

    def as_soft(self, targets: Tensor) -> Tensor:
        """Return one-hot rows."""
        return functional.one_hot(targets, self.output_count).float()

    def correct(self, logits_BK: Tensor, targets: Tensor) -> Tensor:
        """Count the rows whose likeliest class is theirs."""
        classes_B = targets.argmax(dim=1) if targets.is_floating_point() else targets
        return (logits_BK.argmax(dim=1) == classes_B).sum()

    def soft_distance(self, logits_BK: Tensor, others_BK: Tensor, *, temperature: float) -> Tensor:
        """Return the divergence of the classes."""
        log_soft_BK = functional.log_softmax(others_BK / temperature, dim=1)
        log_BK = functional.log_softmax(logits_BK / temperature, dim=1)
        return temperature**2 * functional.kl_div(log_BK, log_soft_BK, reduction="batchmean", log_target=True)

    def validation_loss(self, logits_NK: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropy."""
        return functional.cross_entropy(logits_NK, targets)

    def balanced_loss(self, logits_NK: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over the classes that there are of their examples' mean cross-entropy."""
        counts_K = torch.bincount(targets, minlength=self.output_count)
        losses_N = functional.cross_entropy(logits_NK, targets, reduction="none")
        return (losses_N / counts_K[targets]).sum() / (counts_K > 0).sum()


class LabelTargets(Targets):
    """Any number of labels of each example: float32 (N, K) of 0 and 1."""

    target = LABELS

    def counts_K(self, rows: Rows) -> Tensor:  # noqa: N802  the shape is part of the name
        """Count the rows with each label."""
        return self.of(rows).sum(dim=0).long()

    def as_soft(self, targets: Tensor) -> Tensor:
        """Return them as they are."""
        return targets

    def correct(self, logits_BK: Tensor, targets: Tensor) -> Tensor:
        """Sum the rows' shares of right labels."""
        return ((logits_BK >= 0) == (targets >= THRESHOLD)).float().mean(dim=1).sum()

    def soft_distance(self, logits_BK: Tensor, others_BK: Tensor, *, temperature: float) -> Tensor:
        """Return the mean divergence of the labels."""
        soft_BK = (others_BK / temperature).sigmoid()
        least = functional.binary_cross_entropy_with_logits(others_BK / temperature, soft_BK)
        return temperature**2 * (functional.binary_cross_entropy_with_logits(logits_BK / temperature, soft_BK) - least)

    def validation_loss(self, logits_NK: Tensor, targets: Tensor) -> Tensor:
        """Return the binary cross-entropy, the mean over rows and labels."""
        return functional.binary_cross_entropy_with_logits(logits_NK, targets)

    def balanced_loss(self, logits_NK: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over labels: of each, the mean of its loss where it is and of that where it is not."""
        losses_NK = functional.binary_cross_entropy_with_logits(logits_NK, targets, reduction="none")
        borne_NK = targets >= THRESHOLD
        sides_2NK = torch.stack([borne_NK, ~borne_NK])
        counts_2K = sides_2NK.sum(dim=1)
        means_2K = (losses_NK * sides_2NK).sum(dim=1) / counts_2K.clamp(min=1)
        return (means_2K.sum(dim=0) / (counts_2K > 0).sum(dim=0)).mean()


@dataclass(frozen=True, eq=False)
class NumberTargets(Targets):
    """A number of each example, in the dataset's unit: float32 (N, 1). `mean` and `std` are the train split's."""

    mean: float
    std: float

    target = NUMBER

    @property
    def rounding(self) -> float:
        """A share of the train split's standard deviation."""
        return self.target.rounding(self.std)

    def last_layer(self) -> nn.Module:
        """Return what brings a standardised number into the dataset's unit."""
        return Affine(scale=self.std, shift=self.mean)

    def loss_in_scale(self, loss: nn.Module) -> nn.Module:
        """Return the loss of standardised logits and targets."""
        return _Standardised(loss, mean=self.mean, std=self.std)

    def counts_K(self, rows: Rows) -> Tensor:  # noqa: N802  the shape is part of the name
        """Count the rows."""
        return torch.tensor([len(rows)])

    def as_soft(self, targets: Tensor) -> Tensor:
        """Return them as they are."""
        return targets

    def correct(self, logits_BK: Tensor, targets: Tensor) -> Tensor:
        """Sum what is explained of each row's variance."""
        return (1 - ((logits_BK.float() - targets) / self.std).square()).sum()

    def soft_distance(self, logits_BK: Tensor, others_BK: Tensor, *, temperature: float) -> Tensor:  # noqa: ARG002  none
        """Return the squared distance of the standardised numbers."""
        distance: Tensor = self.loss_in_scale(nn.MSELoss())(logits_BK, others_BK)
        return distance

    def validation_loss(self, logits_NK: Tensor, targets: Tensor) -> Tensor:
        """Return the mean squared error in units of the train split's variance."""
        return ((logits_NK - targets) / self.std).square().mean()

    def balanced_loss(self, logits_NK: Tensor, targets: Tensor) -> None:
        """Return None."""


class Affine(nn.Module):
    """What brings a standardised number into its unit: x * scale + shift, fixed, in float32 under autocast too."""

    scale: Tensor
    shift: Tensor

    def __init__(self, *, scale: float, shift: float) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(scale))
        self.register_buffer("shift", torch.tensor(shift))

    def forward(self, standardised: Tensor) -> Tensor:
        """Return the numbers in their unit."""
        return standardised.float() * self.scale + self.shift


class _Standardised(nn.Module):
    """A loss of logits and targets in units of the targets' standard deviation."""

    def __init__(self, loss: nn.Module, *, mean: float, std: float) -> None:
        super().__init__()
        self.loss, self.mean, self.std = loss, mean, std

    def forward(self, logits_B1: Tensor, targets_B1: Tensor) -> Tensor:
        value: Tensor = self.loss((logits_B1 - self.mean) / self.std, (targets_B1 - self.mean) / self.std)
        return value


def build(task: str, examples: Examples) -> Targets:
    """Return the targets of a dataset for a task that fits it; the scale of numbers comes from the train split."""
    all_rows, target = torch.from_numpy(examples.targets), target_of(task)
    output_count = target.output_count(len(examples.classes))
    if target is ONE_CLASS:
        return ClassTargets(all_rows, output_count)
    if target is LABELS:
        return LabelTargets(all_rows, output_count)
    train_N = all_rows[torch.from_numpy(examples.split("train"))].double()
    std = float(train_N.std(correction=0)) if len(train_N) else 0.0
    return NumberTargets(all_rows, output_count, mean=float(train_N.mean()) if len(train_N) else 0.0, std=std or 1.0)
