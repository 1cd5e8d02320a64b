"""The likeliest classes and labels of a row, in the order that a stable sort of all gives."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from models_store.targets.target import FEW, likeliest

nan = np.nan


def sorted_whole(row_K: npt.NDArray[Any], count: int | None) -> list[int]:
    return [int(place) for place in np.argsort(-row_K, kind="stable")[:count]]


def row(size: int, *, values: int, seed: int) -> npt.NDArray[np.float32]:
    """Return a row with so many different values, so that many are equal."""
    return np.random.default_rng(seed).integers(0, values, size).astype(np.float32) / values


@pytest.mark.parametrize("count", [1, 2, 5, 10_000, None])
@pytest.mark.parametrize("values", [1, 3, 1000])
@pytest.mark.parametrize("size", [1, 2, 5, FEW, FEW + 1, 1000])
def test_places_are_those_of_a_stable_sort(size: int, values: int, count: int | None) -> None:
    for seed in range(5):
        row_K = row(size, values=values, seed=seed)

        assert likeliest(row_K, count) == sorted_whole(row_K, count)


@pytest.mark.parametrize("count", [1, 3, None])
@pytest.mark.parametrize("size", [5, 500])
@pytest.mark.parametrize("strange", [[nan], [nan] * 4, [np.inf], [-np.inf], [np.inf, -np.inf, nan], [-0.0]])
def test_nan_comes_last(size: int, strange: list[float], count: int | None) -> None:
    row_K = row(size, values=10, seed=size)
    row_K[: len(strange)] = strange

    assert likeliest(row_K, count) == sorted_whole(row_K, count)


def test_a_row_of_nan_has_all_its_places() -> None:
    assert likeliest(np.full(FEW + 1, nan, np.float32), 3) == [0, 1, 2]
