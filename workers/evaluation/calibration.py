"""Calibration of probabilities: temperature scaling, reliability, and the expected calibration error.

Guo et al. 2017, On Calibration of Modern Neural Networks, arXiv:1706.04599.
"""

# N examples, K classes, M bins

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models_store.targets import ACTIVATIONS, Activation

Scores = npt.NDArray[np.floating[Any]]
Floats = npt.NDArray[np.float64]

BINS = 15
SMALLEST_PROBABILITY = 1e-12
TEMPERATURES = (0.05, 20.0)
"""where one is looked for; at the edge there is no best one: with every answer right, colder is ever better"""
TOO_LITTLE = "the validation split is too small to tell the best one apart from 1"
EVIDENCE = 3.84
"""twice the gain in log likelihood that 1 is given up for: the 95 % point of chi-squared with one degree of freedom"""
EDGE = 1.001  # a best temperature has a likelihood above that of both edges


@dataclass(frozen=True)
class Temperature:
    """What the logits are divided by, and what that does to the loss on the examples that it was fitted on."""

    value: float
    loss_before: float | None
    loss_after: float | None
    reason: str | None = None
    """why it is 1 although it was to be fitted; None: it was fitted"""

    def as_card(self) -> dict[str, Any]:
        """Return what a variant's card says."""
        return asdict(self)


def fit_temperature(logits_NK: Scores, targets: npt.NDArray[Any], *, activation: Activation) -> Temperature:
    """Return the temperature of least negative log likelihood; never one of a higher likelihood than 1 gives.

    The few examples of a small split fit a temperature to their own chance: it stays 1 unless the likelihood-ratio test
    (Wilks 1938) tells the best one apart from 1.

    `targets` are classes int (N,) for softmax, and 0 or 1 (N, K) for sigmoid. It is 1, with a reason, where there is no
    best one: logits that are not finite, or none that the examples bound.
    """
    from scipy.optimize import minimize_scalar  # noqa: PLC0415  most of a second that other processes are spared

    assert activation != "identity", "what has no probabilities has no temperature"
    if not len(logits_NK) or not np.isfinite(logits_NK).all():
        return Temperature(1.0, None, None, "there are no logits, or some are not finite numbers")
    logits64_NK = logits_NK.astype(np.float64)

    def loss_at(log_temperature: float) -> float:
        return _negative_log_likelihood(logits64_NK / math.exp(log_temperature), targets, activation=activation)

    coldest, hottest = (math.log(edge) for edge in TEMPERATURES)
    found = minimize_scalar(loss_at, bounds=(coldest, hottest), method="bounded", options={"xatol": 1e-4})
    before, after = loss_at(0.0), float(found.fun)
    if min(loss_at(coldest), loss_at(hottest)) <= after * EDGE:
        return Temperature(1.0, before, before, "the validation split does not bound it: it is too small, or too easy")
    if 2 * len(targets) * (before - after) <= EVIDENCE:
        return Temperature(1.0, before, before, TOO_LITTLE)
    return Temperature(math.exp(float(found.x)), before, after)


def activate(logits_NK: Scores, *, activation: Activation, temperature: float = 1.0) -> npt.NDArray[np.float32]:
    """Return what the exported graph answers to these logits: probabilities, or plain numbers, float32 (N, K)."""
    return ACTIVATIONS[activation](logits_NK.astype(np.float64) / temperature).astype(np.float32)


def before_scaling(probabilities_NK: Scores, *, temperature: float, activation: Activation) -> npt.NDArray[np.float32]:
    """Return the probabilities that the same logits give at a temperature of 1.

    The logits come back from the probabilities: up to a constant per example they are `temperature` times the log.
    """
    clipped_NK = np.clip(probabilities_NK.astype(np.float64), np.finfo(np.float32).tiny, 1.0)
    if activation == "sigmoid":
        clipped_NK = np.minimum(clipped_NK, 1 - np.finfo(np.float32).epsneg)
        logits_NK = np.log(clipped_NK) - np.log1p(-clipped_NK)
    else:
        logits_NK = np.log(clipped_NK)
    return activate(logits_NK * temperature, activation=activation)


def bin_of(confidences_N: Scores) -> npt.NDArray[np.int64]:
    """Return the bin of each confidence: `BINS` of equal width, each with its upper bound."""
    return np.clip(np.ceil(confidences_N.astype(np.float64) * BINS).astype(np.int64) - 1, 0, BINS - 1)


def reliability(confidences_N: Scores, right_N: npt.NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Return for each bin of confidence its bounds, how many answers fall into it, how sure they are and how right.

    An empty bin's `confidence` and `accuracy` are None.
    """
    bins_N = bin_of(confidences_N)
    counts_M = np.bincount(bins_N, minlength=BINS)
    sure_M = np.bincount(bins_N, weights=confidences_N.astype(np.float64), minlength=BINS)
    right_M = np.bincount(bins_N, weights=right_N.astype(np.float64), minlength=BINS)
    return [
        {
            "from": number / BINS,
            "to": (number + 1) / BINS,
            "count": int(count),
            "confidence": float(sure_M[number] / count) if count else None,
            "accuracy": float(right_M[number] / count) if count else None,
        }
        for number, count in enumerate(counts_M)
    ]


def expected_calibration_error(confidences_N: Scores, right_N: npt.NDArray[np.bool_]) -> float:
    """Return the mean over all answers of |accuracy - confidence| of their bin (Guo et al. 2017, equation 3)."""
    gaps_N = right_N.astype(np.float64) - confidences_N.astype(np.float64)
    return float(np.abs(np.bincount(bin_of(confidences_N), weights=gaps_N, minlength=BINS)).sum() / len(gaps_N))


def _negative_log_likelihood(logits_NK: Floats, targets: npt.NDArray[Any], *, activation: Activation) -> float:
    if activation == "sigmoid":
        return float((np.logaddexp(0.0, logits_NK) - targets * logits_NK).mean())
    highest_N = logits_NK.max(axis=1)
    total_N = highest_N + np.log(np.exp(logits_NK - highest_N[:, None]).sum(axis=1))
    return float((total_N - logits_NK[np.arange(len(targets)), targets]).mean())
