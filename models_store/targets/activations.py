"""Activations that turn a net's logits into the outputs of its file."""

# N examples, K class or label (1 for a number)

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Array = npt.NDArray[Any]
LEAST_PROBABILITY = 1e-6  # a smaller one says nothing more
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


def divergence(exact_NK: Array, near_NK: Array) -> float:
    """Return the mean Kullback-Leibler divergence of probabilities from exact ones.

    What a class that nobody expected loses or gains counts for nothing, as it does for what is right.
    """
    return float(_divergences(exact_NK, near_NK).sum(axis=1).mean())


def divergence_of_labels(exact_NK: Array, near_NK: Array) -> float:
    """Return the same, each label by itself: of its presence and of its absence."""
    divergences_NK = _divergences(exact_NK, near_NK) + _divergences(1 - exact_NK, 1 - near_NK)
    return float(divergences_NK.sum(axis=1).mean())


def squared_distance(exact_NK: Array, near_NK: Array) -> float:
    """Return the mean square by which numbers are off."""
    return float(np.square(near_NK - exact_NK).mean())


def _divergences(exact_NK: Array, near_NK: Array) -> Array:
    logs_NK = np.log(np.maximum(exact_NK, LEAST_PROBABILITY)) - np.log(np.maximum(near_NK, LEAST_PROBABILITY))
    divergences_NK: Array = exact_NK * logs_NK
    return divergences_NK


DISTANCES: Mapping[Activation, Callable[[Array, Array], float]] = {
    "softmax": divergence,
    "sigmoid": divergence_of_labels,
    "identity": squared_distance,
}
"""how far outputs are from exact ones, (N, K) both"""
ACTIVATIONS: Mapping[Activation, Callable[[Floats], Floats]] = {
    "softmax": softmax,
    "sigmoid": sigmoid,
    "identity": identity,
}
