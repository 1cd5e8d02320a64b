"""Activations that turn a net's logits into the outputs of its file."""

# N examples, K class or label (1 for a number)

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Activation = Literal["softmax", "sigmoid", "identity"]


def softmax(logits_NK: Floats) -> Floats:
    """Return the probabilities of classes that exclude each other."""
    exponents_NK = np.exp(logits_NK - logits_NK.max(axis=1, keepdims=True))
    probabilities_NK: Floats = exponents_NK / exponents_NK.sum(axis=1, keepdims=True)
    return probabilities_NK


def sigmoid(logits_NK: Floats) -> Floats:
    """Return the probability of each label by itself."""
    exponents_NK = np.exp(-np.abs(logits_NK))
    return np.where(logits_NK >= 0, 1.0, exponents_NK) / (1.0 + exponents_NK)


def identity(logits_NK: Floats) -> Floats:
    """Return the numbers as they are."""
    return logits_NK


ACTIVATIONS: Mapping[Activation, Callable[[Floats], Floats]] = {
    "softmax": softmax,
    "sigmoid": sigmoid,
    "identity": identity,
}
