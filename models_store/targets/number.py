"""Number: one for each example, in the dataset's unit."""

# N examples, K = 1

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from models_store.targets.activations import Activation
from models_store.targets.target import Answers, Array, Figure, Flags, Floats, Name, Target, as_many

NEAR = 0.1  # of the true numbers' standard deviation
ROUNDING = 1e-3  # of the train split's


class Number:
    """A number of each example. Its scores are of squared errors."""

    name: ClassVar[Name] = "number"
    activation: ClassVar[Activation] = "identity"
    headline: ClassVar[tuple[str, ...]] = ("r2", "mae", "rmse", "median_absolute_error")
    score_label: ClassVar[str] = "R²"
    paired: ClassVar[Figure] = Figure("mean_squared_error", "lower")
    right_or_wrong: ClassVar[bool] = False
    is_share: ClassVar[bool] = False

    has_confidence: ClassVar[bool] = False

    def output_count(self, names: int) -> int:  # noqa: ARG002  see Target
        """Return the one output."""
        return 1

    def placeholders(self, count: int, *, names: int) -> Array:  # noqa: ARG002  see Target
        """Return numbers that are not all the same."""
        return (np.arange(count)[:, None] % 7).astype(np.float32)

    def truth(self, known: str | float | list[str], places: Mapping[str, int]) -> Array | None:  # noqa: ARG002  see Target
        """Return the number, float64 (1,)."""
        return np.array([known], np.float64) if isinstance(known, float | int) else None

    def answers(self, outputs_NK: Array) -> Answers:
        """Return the numbers, float64 (N,)."""
        return outputs_NK[:, 0].astype(np.float64)

    def as_answers(self, truths: Array) -> Answers:
        """Return the numbers, float64 (N,)."""
        return self.answers(truths)

    def strata(self, truths: Array) -> Array | None:  # noqa: ARG002  see Target
        """Return None."""
        return None

    def score(self, answers: Answers, truths: Array) -> float:
        """Return R², the share of the variance that is explained.

        As scikit-learn has it, R² on truths that are all the same is 1 where they are met, else 0.
        """
        as_many(answers, truths)
        true_N = self.as_answers(truths)
        left, whole = np.square(true_N - answers).sum(), np.square(true_N - true_N.mean()).sum()
        return float(1 - left / whole) if whole > 0 else float(left == 0)

    def balanced_score(self, answers: Answers, truths: Array) -> float | None:  # noqa: ARG002  see Target
        """Return None: numbers have no classes."""
        return None

    def score_each(self, answers: Answers, truths: Array) -> Floats:
        """Return minus the squared error."""
        scores_N: Floats = -np.square(answers - self.as_answers(truths))
        return scores_N

    def lost_each(self, answers: Answers, others: Answers, truths: Array) -> Floats | None:
        """Return each example's part in the loss of R²; None where the true numbers are all alike.

        R² is a ratio of two means; the parts are those of its linear approximation.
        """
        true_N = self.as_answers(truths)
        whole_N = np.square(true_N - true_N.mean())
        if not whole_N.any():
            return None
        worse_N = self.score_each(others, truths) - self.score_each(answers, truths)
        lost = worse_N.sum() / whole_N.sum()
        parts_N: Floats = lost + (worse_N - lost * whole_N) / whole_N.mean()
        return parts_N

    def guessing_loss(self, outputs: int) -> float:  # noqa: ARG002  see Target
        """Return 1, of the train split's mean: the unit is its variance."""
        return 1.0

    def near(self, truths: Array) -> float:
        """Return a tenth of the truths' standard deviation."""
        return NEAR * float(truths.std())

    def rounding(self, spread: float) -> float:
        """Return a thousandth of the train split's standard deviation."""
        return ROUNDING * spread

    def agree(self, answers: Answers, others: Answers, *, tolerance: float) -> Flags:
        """Return where the numbers are `tolerance` apart at most."""
        near_N: Flags = np.abs(answers - others) <= tolerance  # False for a NaN
        return near_N

    def agree_but_for_rounding(self, outputs_NK: Array, expected_NK: Array, *, tolerance: float) -> Flags:
        """Return where the numbers are `tolerance` apart at most."""
        alike_N: Flags = (np.abs(outputs_NK - expected_NK) <= tolerance).all(axis=1)
        return alike_N

    def nonconformity(self, outputs_NK: Array, truths: Array) -> Floats:
        """Return how far the number is off (Lei et al. 2018, arXiv:1604.04173)."""
        scores_N: Floats = np.abs(self.answers(outputs_NK) - self.as_answers(truths))
        return scores_N

    def covered(self, outputs_NK: Array, truths: Array, *, threshold: float) -> Flags:
        """Return where the true number is within the interval."""
        held_N: Flags = self.nonconformity(outputs_NK, truths) <= threshold
        return held_N

    def set_sizes(self, outputs_NK: Array, *, threshold: float) -> Floats:
        """Return the width of the interval, the same for all."""
        return np.full(len(outputs_NK), 2.0 * threshold)

    def conformal_set(self, row_K: Array, names: Sequence[str], *, threshold: float) -> dict[str, Any]:  # noqa: ARG002  see Target
        """Return the interval around the number."""
        value = float(row_K[0])
        return {"interval": [value - threshold, value + threshold]}

    def confident(
        self,
        prediction: dict[str, Any],
        row_K: Array,  # noqa: ARG002  see Target
        names: Sequence[str],  # noqa: ARG002  see Target
        *,
        min_confidence: float,  # noqa: ARG002  see Target
    ) -> dict[str, Any]:
        """Return the prediction as it is: a number has no probability."""
        return prediction

    def lost(self, row_K: Array, changed_MK: Array) -> Floats:
        """Return how far the number moves, in either direction."""
        lost_M: Floats = np.abs(np.float64(row_K[0]) - changed_MK[:, 0])
        return lost_M

    def prediction(self, row_K: Array, names: Sequence[str], *, top_k: int | None) -> dict[str, Any]:  # noqa: ARG002  see Target
        """Return the number."""
        return {"value": row_K[0]}


NUMBER: Target = Number()
