"""Comparison of predictions with what is known: figures by split, from sums, whatever the number of rows."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from models_store.targets import Target
from workers.prediction.predictor import Answered


class Comparison:
    """Agreement with the truths, of rows that have one that the model can give."""

    def __init__(self, target: Target, labels: Sequence[str]) -> None:
        self._target = target
        self._places = {label: place for place, label in enumerate(labels)}
        self._sums: defaultdict[str, float] = defaultdict(float)
        self._counts: Counter[str] = Counter()

    def add(self, answers: Sequence[Answered]) -> None:
        """Take in more rows."""
        outputs, truths, splits = [], [], []
        for each in answers:
            if each.output is None or each.row.truth is None or each.row.split is None:
                continue
            truth = self._target.truth(each.row.truth, self._places)
            if truth is not None:
                outputs.append(each.output)
                truths.append(truth)
                splits.append(each.row.split)
        if not truths:
            return
        scores_N = self._target.score_each(self._target.answers(np.stack(outputs)), np.stack(truths))
        for split, score in zip(splits, scores_N.tolist(), strict=True):
            self._sums[split] += score
            self._counts[split] += 1

    def as_document(self) -> dict[str, dict[str, float]]:
        """Return the sums as JSON, for `restore`."""
        return {"sums": dict(self._sums), "counts": dict(self._counts)}

    def restore(self, document: Mapping[str, Mapping[str, float]]) -> None:
        """Go on from the sums of an earlier attempt."""
        self._sums.update(document["sums"])
        self._counts.update({split: int(count) for split, count in document["counts"].items()})

    @property
    def compared(self) -> int:
        """Return how many rows were compared."""
        return self._counts.total()

    def metrics(self) -> dict[str, dict[str, float | None]]:
        """Return split → figure → value: the mean over its rows."""
        figure = self._target.paired
        sign = 1 if figure.better == "higher" else -1
        return {split: {figure.name: sign * self._sums[split] / count} for split, count in self._counts.items()}
