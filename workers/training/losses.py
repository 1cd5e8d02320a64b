"""Losses: a part of the spec → a torch loss of logits (B, K) and targets.

Targets are classes, int64 (B,), or soft, float (B, K): shares of classes, labels of an example, or one number.
For classes and for their one-hot form, a loss is the same number.
"""

# B batch, K class or label

from collections.abc import Callable, Mapping, Sequence
from functools import singledispatch
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from models_store.spec.loss import BinaryCrossEntropy, CrossEntropy, Focal, Mse, Poly1
from models_store.spec.part import Part

ClassWeights = Literal["balanced"] | Mapping[str, float] | None

LEAST = torch.finfo(torch.float32).tiny  # a power below 1 has no slope at 0


@singledispatch
def build(part: Part, *, counts_K: Tensor, classes: Sequence[str], train_count: int) -> nn.Module:
    """Return the loss; `counts_K` are the training examples of each class (or with each label), `classes` their names.

    `train_count` is the number of training examples: what the counts add up to, unless one may have several labels.
    """
    raise NotImplementedError(
        f"no loss is built for {type(part).__name__} ({counts_K} of {classes}, {train_count} in all)"
    )


@build.register
def _(
    part: CrossEntropy,
    *,
    counts_K: Tensor,
    classes: Sequence[str],
    train_count: int,  # noqa: ARG001  each has one class
) -> nn.Module:
    weights_K = _weights(part.class_weights, classes, counts_K=counts_K)
    return SoftmaxLoss(torch.neg, weights_K, label_smoothing=part.label_smoothing)


@build.register
def _(part: BinaryCrossEntropy, *, counts_K: Tensor, classes: Sequence[str], train_count: int) -> nn.Module:
    weights_K = (
        balanced_label_weights(counts_K, train_count=train_count)
        if part.class_weights == "balanced"
        else _weights(part.class_weights, classes, counts_K=counts_K)
    )
    return SigmoidLoss(weights_K, label_smoothing=part.label_smoothing)


@build.register
def _(
    part: Focal,
    *,
    counts_K: Tensor,
    classes: Sequence[str],
    train_count: int,  # noqa: ARG001  each has one class
) -> nn.Module:
    weights_K = _weights(part.class_weights, classes, counts_K=counts_K)

    def term(log_BK: Tensor) -> Tensor:
        wrong_BK = -log_BK.expm1()
        return wrong_BK.clamp(min=LEAST).pow(part.gamma) * -log_BK

    return SoftmaxLoss(term, weights_K, label_smoothing=part.label_smoothing)


@build.register
def _(
    part: Poly1,
    *,
    counts_K: Tensor,
    classes: Sequence[str],
    train_count: int,  # noqa: ARG001  each has one class
) -> nn.Module:
    weights_K = _weights(part.class_weights, classes, counts_K=counts_K)
    return SoftmaxLoss(
        lambda log_BK: -part.epsilon * log_BK.expm1() - log_BK, weights_K, label_smoothing=part.label_smoothing
    )


@build.register
def _(
    _part: Mse,
    *,
    counts_K: Tensor,  # noqa: ARG001  numbers have no classes
    classes: Sequence[str],  # noqa: ARG001  the same
    train_count: int,  # noqa: ARG001  the same
) -> nn.Module:
    return nn.MSELoss()


def balanced_weights(counts_K: Tensor) -> Tensor:
    """Return `N / (K * count)` for each class, so that all classes weigh the same in sum; 0 without examples."""
    weights_K = counts_K.sum() / (len(counts_K) * counts_K.clamp(min=1).float())
    return torch.where(counts_K > 0, weights_K, torch.zeros_like(weights_K))


def balanced_label_weights(counts_K: Tensor, *, train_count: int) -> Tensor:
    """Return `(N - count) / count`, so that for each label the examples with and without it weigh the same in sum.

    A label that all examples have, or none, weighs 1.
    """
    without_K = train_count - counts_K
    return torch.where((counts_K > 0) & (without_K > 0), without_K / counts_K.clamp(min=1), 1.0)


def divisor(loss: nn.Module, targets: Tensor) -> float:
    """Return what a batch's loss is divided by: the number of its targets, or the sum of their weights."""
    if not isinstance(loss, SoftmaxLoss):
        return float(len(targets))
    weights_K = loss.weights.cpu()
    return float((_shares(targets, class_count=len(weights_K)) * weights_K).sum())


class SoftmaxLoss(nn.Module):
    """The weighed mean over a batch of each class's term times its share of the (smoothed) target.

    `term` gives what each class costs were it the true one, from the logarithms (B, K) of the probabilities. The mean
    is divided by the sum of the targets' weights, as torch divides its cross-entropy of classes (though not of shares).
    """

    weights: Tensor

    def __init__(self, term: Callable[[Tensor], Tensor], weights_K: Tensor, *, label_smoothing: float) -> None:
        super().__init__()
        self.term, self.label_smoothing = term, label_smoothing
        self.register_buffer("weights", weights_K)

    def forward(self, logits_BK: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of a batch, a scalar."""
        class_count = logits_BK.shape[1]
        shares_BK = _shares(targets, class_count=class_count)
        smooth_BK = torch.lerp(shares_BK, torch.full_like(shares_BK, 1 / class_count), self.label_smoothing)
        terms_BK = self.term(functional.log_softmax(logits_BK, dim=1))
        return (smooth_BK * self.weights * terms_BK).sum() / (shares_BK * self.weights).sum()


class SigmoidLoss(nn.Module):
    """The mean over a batch and its labels of a sigmoid's cross-entropy; what is borne is weighed by label."""

    weights: Tensor

    def __init__(self, weights_K: Tensor, *, label_smoothing: float) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing
        self.register_buffer("weights", weights_K)

    def forward(self, logits_BK: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of a batch, a scalar."""
        shares_BK = _shares(targets, class_count=logits_BK.shape[1])
        smooth_BK = torch.lerp(shares_BK, torch.full_like(shares_BK, 0.5), self.label_smoothing)
        return functional.binary_cross_entropy_with_logits(logits_BK, smooth_BK, pos_weight=self.weights)


def _shares(targets: Tensor, *, class_count: int) -> Tensor:
    return targets if targets.is_floating_point() else functional.one_hot(targets, class_count).float()


def _weights(chosen: ClassWeights, classes: Sequence[str], *, counts_K: Tensor) -> Tensor:
    if chosen == "balanced":
        return balanced_weights(counts_K)
    if chosen is None:
        return torch.ones(len(counts_K))
    return torch.tensor([chosen.get(name, 1.0) for name in classes])
