"""Facts of a split's inputs: what serving notes about its examples, and how right the answers are by their length."""

# N examples

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models_store.targets import NUMBER, Answers, Target

BANDS = 5
"""of lengths, with about as many examples each"""
FIGURES = {"class": "accuracy", "labels": "accuracy", "number": "mae"}


@dataclass(frozen=True, eq=False)
class Lengths:
    """Lengths of a split's examples, and their unit, such as `characters`."""

    unit: str
    values_N: npt.NDArray[np.int64]  # noqa: N815  the shape is part of the name


def mean_notes(notes: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Return the mean of each note that a codec makes about examples: of a yes or no, the share of yes."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for each in notes:
        for name, value in each.items():
            found[name].append(float(value))
    return {name: float(np.mean(values)) for name, values in found.items()}


def by_length(lengths: Lengths, answers: Answers, truths: npt.NDArray[Any], *, target: Target) -> dict[str, Any]:
    """Return the accuracy (of numbers, the mean absolute error) of short, longer and the longest examples.

    The bands have about as many examples each; examples of one length share a band.
    """
    figure = FIGURES[target.name]
    rows = []
    for low, high in _bands(lengths.values_N):
        of_band = np.flatnonzero((lengths.values_N >= low) & (lengths.values_N <= high))
        rows.append(
            {
                "from": low,
                "to": high,
                "count": len(of_band),
                figure: _figure(answers[of_band], truths[of_band], target=target),
            }
        )
    return {"unit": lengths.unit, "figure": figure, "bands": rows}


def _bands(values_N: npt.NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return the lowest and the highest length of each band."""
    ascending_N = np.sort(values_N)
    lasts = np.linspace(0, len(ascending_N) - 1, BANDS + 1).round().astype(int)[1:]
    uppers = np.unique(ascending_N[lasts])
    lowers = ascending_N[np.searchsorted(ascending_N, [-1, *uppers[:-1]], side="right")]
    return [*zip(lowers.tolist(), uppers.tolist(), strict=True)]


def _figure(answers: Answers, truths: npt.NDArray[Any], *, target: Target) -> float:
    if target is NUMBER:
        return float(np.abs(answers - target.as_answers(truths)).mean())
    return target.score(answers, truths)
