"""Conformal levels of a measured file: thresholds from the validation split, coverage and sizes from the test split.

The validation split has chosen the epoch, the temperature and the default variant, so that its examples are not quite
exchangeable with new ones; the coverage on the test split shows what that costs.
"""

# N examples, K class or label (1 for a number)

from typing import Any

import numpy as np
import numpy.typing as npt

from models_store.targets import Target
from models_store.targets.conformal import COVERAGES, threshold


class Calibration:
    """Takes the outputs of one file: first all of the validation split's, then those of the test split."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._scores: list[npt.NDArray[Any]] = []
        self._thresholds: dict[float, float | None] | None = None
        self._covered = dict.fromkeys(COVERAGES, 0)
        self._size_sums = dict.fromkeys(COVERAGES, 0.0)
        self._tested = 0

    def add(self, split: str, outputs_NK: npt.NDArray[Any], truths: npt.NDArray[Any]) -> None:
        """Take the outputs for some examples of a split."""
        if split == "val":
            assert self._thresholds is None, "the validation split comes first, and whole"
            self._scores.append(self._target.nonconformity(outputs_NK, truths))
            return
        self._tested += len(outputs_NK)
        for coverage, largest in self._calibrated().items():
            if largest is not None:
                self._covered[coverage] += int(self._target.covered(outputs_NK, truths, threshold=largest).sum())
                self._size_sums[coverage] += float(self._target.set_sizes(outputs_NK, threshold=largest).sum())

    def as_card(self) -> dict[str, Any]:
        """Return what a variant's card says: each coverage with its threshold, and what the test split shows of it."""
        return {
            "calibrated_on": sum(map(len, self._scores)),
            "tested_on": self._tested,
            "levels": [
                {
                    "coverage": coverage,
                    "threshold": largest,
                    **self._tested_at(coverage, is_reached=largest is not None),
                }
                for coverage, largest in self._calibrated().items()
            ],
        }

    def _tested_at(self, coverage: float, *, is_reached: bool) -> dict[str, Any]:
        if not self._tested or not is_reached:
            return {"test_coverage": None, "mean_size": None}
        return {
            "test_coverage": self._covered[coverage] / self._tested,
            "mean_size": self._size_sums[coverage] / self._tested,
        }

    def _calibrated(self) -> dict[float, float | None]:
        if self._thresholds is None:
            scores_N = np.concatenate(self._scores) if self._scores else np.zeros(0)
            self._thresholds = {coverage: threshold(scores_N, coverage) for coverage in COVERAGES}
        return self._thresholds
