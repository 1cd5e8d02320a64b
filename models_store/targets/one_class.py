"""One class for each example: the likeliest."""

# N examples, K classes

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from models_store.targets.activations import Activation
from models_store.targets.target import (
    TIE,
    Answers,
    Array,
    Figure,
    Flags,
    Floats,
    Name,
    Target,
    as_many,
    fitting,
    likeliest,
    ranked,
)

CLASSES_NAMED = 5


class OneClass:
    """One class of each example. Of equally likely classes the first is the answer."""

    name: ClassVar[Name] = "class"
    activation: ClassVar[Activation] = "softmax"
    headline: ClassVar[tuple[str, ...]] = (
        "accuracy",
        "balanced_accuracy",
        "top5_accuracy",
        "loss",
        "precision_macro",
        "recall_macro",
        "f1_macro",
        "precision_weighted",
        "recall_weighted",
        "f1_weighted",
        "roc_auc_macro",
        "average_precision_macro",
        "expected_calibration_error",
    )
    score_label: ClassVar[str] = "accuracy"
    paired: ClassVar[Figure] = Figure("accuracy", "higher")
    right_or_wrong: ClassVar[bool] = True
    is_share: ClassVar[bool] = True

    has_confidence: ClassVar[bool] = True

    def output_count(self, names: int) -> int:
        """Return one output per class."""
        return names

    def placeholders(self, count: int, *, names: int) -> Array:
        """Return each class in turn."""
        return np.arange(count) % names

    def truth(self, known: str | float | list[str], places: Mapping[str, int]) -> Array | None:
        """Return the place of the class, int64 (); None if the model does not know it."""
        return np.array(places[known]) if isinstance(known, str) and known in places else None

    def answers(self, outputs_NK: Array) -> Answers:
        """Return the likeliest class, int64 (N,)."""
        classes_N: Answers = outputs_NK.argmax(axis=1)
        return classes_N

    def as_answers(self, truths: Array) -> Answers:
        """Return the classes as they are."""
        return truths

    def strata(self, truths: Array) -> Array | None:
        """Return the classes."""
        return truths

    def score(self, answers: Answers, truths: Array) -> float:
        """Return the share of right classes."""
        as_many(answers, truths)
        return float((answers == truths).mean())

    def balanced_score(self, answers: Answers, truths: Array) -> float | None:
        """Return the mean recall of the classes that `truths` hold (Brodersen et al. 2010)."""
        _, class_N, counts_K = np.unique(truths, return_inverse=True, return_counts=True)
        return float((np.bincount(class_N, weights=answers == truths) / counts_K).mean())

    def score_each(self, answers: Answers, truths: Array) -> Floats:
        """Return 1 where the class is right, else 0."""
        return np.asarray(answers == truths, dtype=np.float64)

    def lost_each(self, answers: Answers, others: Answers, truths: Array) -> Floats | None:
        """Return 1 where `others` alone are right, -1 where `answers` alone are."""
        lost_N: Floats = self.score_each(others, truths) - self.score_each(answers, truths)
        return lost_N

    def guessing_loss(self, outputs: int) -> float:
        """Return the cross-entropy of classes that are all alike."""
        return math.log(max(outputs, 2))

    def near(self, truths: Array) -> float:  # noqa: ARG002  see Target
        """Return 0: classes are the same or not."""
        return 0.0

    def rounding(self, spread: float) -> float:  # noqa: ARG002  see Target
        """Return how far a probability may be off."""
        return TIE

    def agree(self, answers: Answers, others: Answers, *, tolerance: float) -> Flags:  # noqa: ARG002  see Target
        """Return where the classes are the same."""
        same_N: Flags = answers == others
        return same_N

    def agree_but_for_rounding(self, outputs_NK: Array, expected_NK: Array, *, tolerance: float) -> Flags:
        """Return where the class answered is expected to be the likeliest, or as likely."""
        answers_N = self.answers(outputs_NK)
        lost_N = expected_NK.max(axis=1) - np.take_along_axis(expected_NK, answers_N[:, None], axis=1)[:, 0]
        alike_N: Flags = (lost_N <= tolerance) & np.isfinite(outputs_NK).all(axis=1)  # False for a NaN in either
        return alike_N

    def nonconformity(self, outputs_NK: Array, truths: Array) -> Floats:
        """Return 1 - the probability of the true class (Sadinle et al. 2019, arXiv:1609.00451)."""
        scores_N: Floats = 1.0 - np.take_along_axis(outputs_NK, truths[:, None], axis=1)[:, 0].astype(np.float64)
        return scores_N

    def covered(self, outputs_NK: Array, truths: Array, *, threshold: float) -> Flags:
        """Return where the true class is likely enough, or the likeliest, which is always in the set."""
        held_N: Flags = (self.nonconformity(outputs_NK, truths) <= threshold) | (self.answers(outputs_NK) == truths)
        return held_N

    def set_sizes(self, outputs_NK: Array, *, threshold: float) -> Floats:
        """Return the number of classes in each set; the likeliest one is always in it."""
        sizes_N: Floats = np.maximum((1.0 - outputs_NK.astype(np.float64) <= threshold).sum(axis=1), 1.0)
        return sizes_N

    def conformal_set(self, row_K: Array, names: Sequence[str], *, threshold: float) -> dict[str, Any]:
        """Return the classes that are likely enough, likeliest first."""
        return {"set": fitting(row_K, names, threshold=threshold) or [names[int(row_K.argmax())]]}

    def confident(
        self,
        prediction: dict[str, Any],
        row_K: Array,
        names: Sequence[str],  # noqa: ARG002  see Target
        *,
        min_confidence: float,
    ) -> dict[str, Any]:
        """Return the prediction without its class where that is less likely, and `abstained`."""
        if row_K.max() >= min_confidence:
            return prediction
        return {"abstained": True, **{name: value for name, value in prediction.items() if name != "label"}}

    def lost(self, row_K: Array, changed_MK: Array) -> Floats:
        """Return the loss of the likeliest class's probability."""
        place = int(row_K.argmax())
        lost_M: Floats = np.float64(row_K[place]) - changed_MK[:, place]
        return lost_M

    def prediction(self, row_K: Array, names: Sequence[str], *, top_k: int | None) -> dict[str, Any]:
        """Return the likeliest class, and the `top_k` likeliest (None: five), likeliest first."""
        top = ranked(row_K, names, likeliest(row_K, top_k or CLASSES_NAMED))
        return {**top[0], "top": top}


ONE_CLASS: Target = OneClass()
