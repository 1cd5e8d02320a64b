"""What is minimised: a part of the spec → a torch loss of logits (B, K) and labels (B,)."""

from functools import singledispatch

import torch
from torch import Tensor, nn

from models_store.spec.loss import CrossEntropy
from models_store.spec.part import Part


@singledispatch
def build(part: Part, *, counts_K: Tensor) -> nn.Module:
    """Return the loss; `counts_K` are the training examples of each class."""
    raise NotImplementedError(f"no loss is built for {type(part).__name__} ({len(counts_K)} classes)")


@build.register
def _(part: CrossEntropy, *, counts_K: Tensor) -> nn.Module:
    weights_K = balanced_weights(counts_K) if part.class_weights == "balanced" else None
    return nn.CrossEntropyLoss(weight=weights_K, label_smoothing=part.label_smoothing)


def balanced_weights(counts_K: Tensor) -> Tensor:
    """Return `N / (K * count)` for each class, so that all classes weigh the same in sum; 0 without examples."""
    weights_K = counts_K.sum() / (len(counts_K) * counts_K.clamp(min=1).float())
    return torch.where(counts_K > 0, weights_K, torch.zeros_like(weights_K))
