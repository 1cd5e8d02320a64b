"""Labels: any number for each example, each with a yes or no of its own."""

# N examples, K labels

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

THRESHOLD = 0.5  # a label at least this likely is answered


class Labels:
    """Any number of labels for each example. All labels and examples count equally."""

    name: ClassVar[Name] = "labels"
    activation: ClassVar[Activation] = "sigmoid"
    headline: ClassVar[tuple[str, ...]] = (
        "accuracy",
        "exact_match",
        "loss",
        "precision_micro",
        "recall_micro",
        "f1_micro",
        "f1_macro",
        "mean_average_precision",
        "roc_auc_macro",
        "expected_calibration_error",
    )
    score_label: ClassVar[str] = "accuracy"
    paired: ClassVar[Figure] = Figure("accuracy", "higher")
    right_or_wrong: ClassVar[bool] = False
    is_share: ClassVar[bool] = True

    has_confidence: ClassVar[bool] = True

    def output_count(self, names: int) -> int:
        """Return one output per label."""
        return names

    def placeholders(self, count: int, *, names: int) -> Array:
        """Return every other label, and then the others."""
        members_NK: Array = np.arange(count)[:, None] % 2 == np.arange(names) % 2
        return members_NK.astype(np.float32)

    def truth(self, known: str | float | list[str], places: Mapping[str, int]) -> Array | None:
        """Return 1 for each of the labels, float32 (K,); None if the model does not know one of them."""
        if not isinstance(known, list) or not places.keys() >= set(known):
            return None
        truth_K = np.zeros(len(places), np.float32)
        truth_K[[places[label] for label in known]] = 1
        return truth_K

    def answers(self, outputs_NK: Array) -> Answers:
        """Return whether each label is at least as likely as the threshold, bool (N, K)."""
        answers_NK: Answers = outputs_NK >= THRESHOLD
        return answers_NK

    def as_answers(self, truths: Array) -> Answers:
        """Return the 0 and 1 as no and yes."""
        return self.answers(truths)

    def strata(self, truths: Array) -> Array | None:  # noqa: ARG002  see Target
        """Return None."""
        return None

    def score(self, answers: Answers, truths: Array) -> float:
        """Return the share of right labels, of all examples and labels."""
        as_many(answers, truths)
        return float((answers == self.as_answers(truths)).mean())

    def balanced_score(self, answers: Answers, truths: Array) -> float | None:
        """Return the mean over labels: of each, the mean of its recall and that of its absence."""
        true_NK = self.as_answers(truths)
        right_NK = answers == true_NK
        counts_2K = np.stack([(~true_NK).sum(axis=0), true_NK.sum(axis=0)])
        right_2K = np.stack([(right_NK & ~true_NK).sum(axis=0), (right_NK & true_NK).sum(axis=0)])
        recalls_2K = right_2K / np.maximum(counts_2K, 1)
        return float((recalls_2K.sum(axis=0) / (counts_2K > 0).sum(axis=0)).mean())

    def score_each(self, answers: Answers, truths: Array) -> Floats:
        """Return the share of each example's labels that are right."""
        shares_N: Floats = (answers == self.as_answers(truths)).mean(axis=1)
        return shares_N

    def lost_each(self, answers: Answers, others: Answers, truths: Array) -> Floats | None:
        """Return how many more of an example's labels are right in `others`, as a share."""
        lost_N: Floats = self.score_each(others, truths) - self.score_each(answers, truths)
        return lost_N

    def guessing_loss(self, outputs: int) -> float:  # noqa: ARG002  see Target
        """Return the binary cross-entropy of a half for each label."""
        return math.log(2)

    def near(self, truths: Array) -> float:  # noqa: ARG002  see Target
        """Return 0: labels are the same or not."""
        return 0.0

    def rounding(self, spread: float) -> float:  # noqa: ARG002  see Target
        """Return how far a probability may be off."""
        return TIE

    def agree(self, answers: Answers, others: Answers, *, tolerance: float) -> Flags:  # noqa: ARG002  see Target
        """Return where all labels are the same."""
        same_N: Flags = (answers == others).all(axis=1)
        return same_N

    def agree_but_for_rounding(self, outputs_NK: Array, expected_NK: Array, *, tolerance: float) -> Flags:
        """Return where each label is on the expected side of the threshold, or expected to be on its edge."""
        equal_NK = self.answers(outputs_NK) == self.answers(expected_NK)
        is_tie_NK = np.abs(expected_NK - THRESHOLD) <= tolerance
        are_numbers_NK = np.isfinite(outputs_NK) & np.isfinite(expected_NK)
        alike_N: Flags = ((equal_NK | is_tie_NK) & are_numbers_NK).all(axis=1)
        return alike_N

    def nonconformity(self, outputs_NK: Array, truths: Array) -> Floats:
        """Return 1 - the probability of the least likely true label; 0 for an example without labels."""
        least_N = np.where(self.as_answers(truths), outputs_NK, 1.0).min(axis=1)
        scores_N: Floats = 1.0 - least_N.astype(np.float64)
        return scores_N

    def covered(self, outputs_NK: Array, truths: Array, *, threshold: float) -> Flags:
        """Return where all true labels are likely enough."""
        held_N: Flags = self.nonconformity(outputs_NK, truths) <= threshold
        return held_N

    def set_sizes(self, outputs_NK: Array, *, threshold: float) -> Floats:
        """Return the number of labels in each set; it may be none."""
        sizes_N: Floats = (1.0 - outputs_NK.astype(np.float64) <= threshold).sum(axis=1).astype(np.float64)
        return sizes_N

    def conformal_set(self, row_K: Array, names: Sequence[str], *, threshold: float) -> dict[str, Any]:
        """Return the labels that are likely enough, likeliest first: all true ones are among them."""
        return {"set": fitting(row_K, names, threshold=threshold)}

    def confident(
        self,
        prediction: dict[str, Any],
        row_K: Array,
        names: Sequence[str],
        *,
        min_confidence: float,
    ) -> dict[str, Any]:
        """Return the labels that are likely enough, and as `undecided` those that may be present or absent."""
        likeliest = np.argsort(-row_K, kind="stable")
        least = max(min_confidence, THRESHOLD)
        present = [names[place] for place in likeliest if row_K[place] >= least]
        undecided = [names[place] for place in likeliest if 1.0 - least < row_K[place] < least]
        return prediction | {"labels": present, "undecided": undecided}

    def lost(self, row_K: Array, changed_MK: Array) -> Floats:
        """Return the mean loss of probability of the labels answered, or of the likeliest where there are none."""
        answered_K = row_K >= min(THRESHOLD, row_K.max())
        lost_M: Floats = np.mean(row_K[answered_K].astype(np.float64) - changed_MK[:, answered_K], axis=1)
        return lost_M

    def prediction(self, row_K: Array, names: Sequence[str], *, top_k: int | None) -> dict[str, Any]:
        """Return the labels answered, and the `top_k` likeliest (None: all), both likeliest first."""
        places = likeliest(row_K, None)
        return {
            "labels": [names[place] for place in places if row_K[place] >= THRESHOLD],
            "top": ranked(row_K, names, places[:top_k]),
        }


LABELS: Target = Labels()
