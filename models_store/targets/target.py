"""Protocol of a target: how outputs become answers, and how answers are scored, compared and shown.

    name    truths                    outputs (N, K)         answers       score
    class   int64 (N,)                probabilities          int64 (N,)    share of right classes
    labels  float (N, K) of 0 and 1   probabilities          bool (N, K)   share of right labels (1 - Hamming loss)
    number  float (N, 1)              numbers in their unit  float64 (N,)  R², below 0 if the mean is better

The same score judges an epoch, a variant in its card, and a variant at the gate.
"""

# N examples, K class or label (1 for a number)

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import numpy.typing as npt

from models_store.targets.activations import Activation

Array = npt.NDArray[Any]
Answers = npt.NDArray[Any]
"""int64 (N,) the class | bool (N, K) the labels | float64 (N,) the number"""
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Name = Literal["class", "labels", "number"]

TIE = 1e-4
"""two classes this near in probability are a tie, and so is a label this near to the threshold: rounding decides it"""


@dataclass(frozen=True)
class Figure:
    """The name of a figure, and whether a larger value is better."""

    name: str
    better: Literal["higher", "lower"]


class Target(Protocol):
    """What is learned of an example. It has no state: there is one instance of each kind."""

    name: ClassVar[Name]
    activation: ClassVar[Activation]
    headline: ClassVar[tuple[str, ...]]
    """names of a report's single figures, in reading order; the first one is that of `score`"""
    score_label: ClassVar[str]
    """name of the score on a picture's axis"""
    paired: ClassVar[Figure]
    """name of the mean of `score_each`; if lower is better, the figure is minus that mean"""
    right_or_wrong: ClassVar[bool]
    """an answer is right or wrong as a whole, so `score_each` is 0 or 1"""
    is_share: ClassVar[bool]
    """the score is the mean of `score_each`, a share between 0 and 1"""

    has_confidence: ClassVar[bool]
    """answers have a probability"""

    def output_count(self, names: int) -> int:
        """Return the number of outputs of a net, for this number of classes or labels of the dataset."""
        ...

    def placeholders(self, count: int, *, names: int) -> Array:
        """Return made-up truths of `count` examples, to measure a net by before there are data."""
        ...

    def truth(self, known: str | float | list[str], places: Mapping[str, int]) -> Array | None:
        """Return what is known of one example as one row of truths; None if no answer of the model can be equal to it.

        `known` is a class, a number or labels, as a manifest has them; `places` are the outputs of the model's names.
        """
        ...

    def answers(self, outputs_NK: Array) -> Answers:
        """Return the answer for each example from the outputs (probabilities, or numbers in the dataset's unit)."""
        ...

    def as_answers(self, truths: Array) -> Answers:
        """Return the truths as right answers."""
        ...

    def strata(self, truths: Array) -> Array | None:
        """Return the class of each example, for balanced drawing; None if examples have no single class."""
        ...

    def score(self, answers: Answers, truths: Array) -> float:
        """Return the figure that decides, see above: higher is better. There is at least one example."""
        ...

    def balanced_score(self, answers: Answers, truths: Array) -> float | None:
        """Return the score in which all classes of `truths` count equally; None for numbers."""
        ...

    def score_each(self, answers: Answers, truths: Array) -> Floats:
        """Return each example's own score (N,), higher is better."""
        ...

    def lost_each(self, answers: Answers, others: Answers, truths: Array) -> Floats | None:
        """Return each example's part in the score that `answers` lose against `others`: their mean is the loss.

        None where the truths define no such parts.
        """
        ...

    def guessing_loss(self, outputs: int) -> float:
        """Return the plain validation loss of answers that know nothing, of a net with so many outputs."""
        ...

    def near(self, truths: Array) -> float:
        """Return the tolerance within which two files of one net are said to agree on these examples."""
        ...

    def rounding(self, spread: float) -> float:
        """Return how far two calculations of one output may be apart; `spread` is the train split's deviation."""
        ...

    def agree(self, answers: Answers, others: Answers, *, tolerance: float) -> Flags:
        """Return for each example whether both answers are the same; numbers, `tolerance` apart at most."""
        ...

    def agree_but_for_rounding(self, outputs_NK: Array, expected_NK: Array, *, tolerance: float) -> Flags:
        """Return for each example whether outputs give the same answer as the expected outputs.

        If two probabilities are at most `tolerance` apart, or one is that near to the threshold, rounding decides, and
        either answer is right. An expected NaN agrees with nothing.
        """
        ...

    def nonconformity(self, outputs_NK: Array, truths: Array) -> Floats:
        """Return how badly each example's outputs fit its truth (N,), for `conformal`; 0 is the best fit."""
        ...

    def covered(self, outputs_NK: Array, truths: Array, *, threshold: float) -> Flags:
        """Return where an example's conformal set holds its truth."""
        ...

    def set_sizes(self, outputs_NK: Array, *, threshold: float) -> Floats:
        """Return the size of each example's conformal set: its number of members, or the width of its interval."""
        ...

    def conformal_set(self, row_K: Array, names: Sequence[str], *, threshold: float) -> dict[str, Any]:
        """Return what a prediction has beside its answer: `set`, classes or labels, or `interval`, low and high."""
        ...

    def confident(
        self, prediction: dict[str, Any], row_K: Array, names: Sequence[str], *, min_confidence: float
    ) -> dict[str, Any]:
        """Return a prediction without an answer that is less likely than `min_confidence`; `has_confidence` is True."""
        ...

    def lost(self, row_K: Array, changed_MK: Array) -> Floats:
        """Return how much of one answer each of M other outputs has lost, float64 (M,), for explanations."""
        ...

    def prediction(self, row_K: Array, names: Sequence[str], *, top_k: int | None) -> dict[str, Any]:
        """Return one row of outputs as a prediction for clients of `/predict`; numbers stay numpy's.

        `top_k` is the number of classes or labels that are listed; None: the usual number.
        """
        ...


FEW = 64
"""Number of outputs up to which Python sorts them faster than numpy."""


def likeliest(row_K: Array, count: int | None) -> list[int]:
    """Return the places of the `count` largest values (None: of all), largest first.

    Of equal values, the first comes first; NaN comes last.
    """
    if len(row_K) <= FEW:
        values = row_K.tolist()
        if not math.isnan(sum(values)):
            return sorted(range(len(values)), key=values.__getitem__, reverse=True)[:count]
    elif count is not None and count < len(row_K):
        least = np.partition(-row_K, count - 1)[count - 1]
        places = np.flatnonzero(-row_K <= least)  # all that are equal to the last of them, too
        if len(places) >= count:
            return [int(place) for place in places[np.argsort(-row_K[places], kind="stable")[:count]]]
    return [int(place) for place in np.argsort(-row_K, kind="stable")[:count]]


def ranked(row_K: Array, names: Sequence[str], places: Sequence[int]) -> list[dict[str, Any]]:
    """Return the classes or labels at `places`, each with its probability."""
    return [{"label": names[place], "probability": row_K[place]} for place in places]


def fitting(row_K: Array, names: Sequence[str], *, threshold: float) -> list[str]:
    """Return the classes or labels whose improbability is `threshold` at most, likeliest first."""
    are_in_K = 1.0 - row_K.astype(np.float64) <= threshold
    return [names[place] for place in np.argsort(-row_K, kind="stable") if are_in_K[place]]


def as_many(answers: Answers, truths: Array) -> None:
    """Refuse to score without truths, or without examples."""
    assert len(answers) == len(truths) > 0, f"{len(answers)} answers to {len(truths)} targets"
