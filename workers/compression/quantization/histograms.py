"""Limits of an activation's range without its rarest large values, from a histogram of sizes.

A histogram counts the sizes |x| of a tensor's values in `BINS` equal bins from 0 to the largest one. Zeros, of which
ReLU makes many, are not counted: every range holds them exactly, and a share of all values would be one of them.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from workers.export.sessions import open_session

BINS = 2048
STEP = 16  # bins from one cut that is tried to the next: a 128th of the range
ROUNDING = 1e-6  # of a value: 99.9 % of 1000 values are 999 of them
LEAST = 1e-12  # share of a bin that holds nothing, so that a logarithm of it exists

Histogram = NDArray[np.int64]
"""(BINS,)"""


def collect(
    prepared: Path, largest: Mapping[str, float], feeds: Iterable[Mapping[str, NDArray[Any]]]
) -> dict[str, Histogram]:
    """Return the histogram of each tensor that `largest` names, up to that value; one batch is held at a time."""
    model = onnx.load(prepared)
    given = {value.name for value in (*model.graph.input, *model.graph.output)}
    model.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in largest if name not in given
    )
    path = prepared.with_name("observed.onnx")
    onnx.save_model(model, path)
    session = open_session(path, device="cpu", threads=torch.get_num_threads())
    counts = {name: np.zeros(BINS, dtype=np.int64) for name in largest}
    for feed in feeds:
        for name, values in zip(largest, session.run(list(largest), feed), strict=True):
            sizes = np.abs(values[values != 0])
            counts[name] += np.histogram(sizes, bins=BINS, range=(0, largest[name]))[0]
    return counts


def percentile_cut(counts: Histogram, *, percent: float) -> float:
    """Return the share of the histogram's range below which `percent` of its values lie, to the end of a bin."""
    wanted = np.ceil(percent / 100 * counts.sum() - ROUNDING)
    return min(int(np.searchsorted(np.cumsum(counts), wanted)) + 1, BINS) / BINS


def entropy_cut(counts: Histogram, *, levels: int) -> float:
    """Return the share of the histogram's range whose rounding to `levels` steps loses least information.

    The measure is the Kullback-Leibler divergence of the rounded from the clipped distribution (Migacz 2017, "8-bit
    inference with TensorRT"). Values near zero, of which ReLU makes a peak, are exact whatever the cut: their bin is
    counted as its neighbour is.
    """
    sizes = counts.astype(np.float64)
    sizes[0] = sizes[1]
    if sizes.sum() == 0:
        return 1.0
    ends = range(levels, BINS + 1, STEP)
    divergences = [_divergence(sizes, end=end, levels=levels) for end in ends]
    return ends[int(np.argmin(divergences))] / BINS


def _divergence(sizes: NDArray[np.float64], *, end: int, levels: int) -> float:
    clipped = sizes[:end].copy()
    clipped[-1] += sizes[end:].sum()
    held = clipped > 0
    level = np.arange(end) * levels // end
    sums = np.bincount(level, weights=sizes[:end], minlength=levels)
    members = np.bincount(level, weights=held, minlength=levels)
    rounded = np.where(held, (sums / np.maximum(members, 1))[level], 0.0)
    if rounded.sum() == 0:
        return np.inf
    true, near = clipped / clipped.sum(), np.maximum(rounded / rounded.sum(), LEAST)
    return float((true[held] * np.log(true[held] / near[held])).sum())
