"""Sampling of a step's examples and of its random changes: functions of (seed, epoch, step) only."""

# N rows, K class or label

import numpy as np
import numpy.typing as npt
import torch
from torch import Generator, Tensor

from workers.training.examples import Rows
from workers.training.targets import Targets

WINDOW = 16
"""batches whose rows change places, so that they are still mixed at random"""


def shuffled(rows: Rows, *, seed: int, epoch: int) -> Rows:
    """Return the rows in the epoch's own random order."""
    order = torch.randperm(len(rows), generator=Generator().manual_seed(seed + epoch))
    chosen: Rows = rows[order.numpy()]
    return chosen


def drawn(rows: Rows, shares_N: Tensor, *, seed: int, epoch: int) -> Rows:
    """Return as many rows, drawn with replacement in proportion to their shares."""
    picks = torch.multinomial(shares_N, len(rows), replacement=True, generator=Generator().manual_seed(seed + epoch))
    chosen: Rows = rows[picks.numpy()]
    return chosen


def balancing_shares(targets: Targets, rows: Rows) -> Tensor:
    """Return how often to draw each row, float64 (N,), so that all classes come alike: 1 / the rows of its class.

    A row with several labels takes the mean of theirs. Rows without a label are drawn like a class of their own.
    """
    bears_NK = targets.as_soft(targets.of(rows)).double()
    of_label_K = 1 / bears_NK.sum(dim=0).clamp(min=1)
    labels_N = bears_NK.sum(dim=1)
    without = 1 / (labels_N == 0).sum().clamp(min=1).double()
    return torch.where(labels_N > 0, bears_NK @ of_label_K / labels_N.clamp(min=1), without)


def parts(rows: Rows, *, count: int) -> list[Rows]:
    """Return at most `count` parts of a batch's ascending rows, alike in size and in what they hold.

    Every `count`-th row goes into one part: neighbours are often of one class, and batch norm wants a mixture. A part
    has two rows at least, where the batch has.
    """
    count = max(1, min(count, len(rows) // 2))
    return [rows[first::count] for first in range(count)]


def alike(order: Rows, lengths_N: npt.NDArray[np.int64], *, size: int, seed: int, epoch: int) -> Rows:
    """Return rows in an order in which batches of `size` hold examples of like lengths: padding is computed too.

    `lengths_N` are those of all rows, by row. Among the rows of some batches each, the shortest go together; then the
    batches are shuffled. What is left over, less than a batch, stays at the end.
    """
    whole = len(order) // size * size
    arranged = order[:whole].copy()
    for start in range(0, whole, WINDOW * size):
        window = arranged[start : start + WINDOW * size]
        window[:] = window[np.argsort(lengths_N[window], kind="stable")]
    turns = torch.randperm(whole // size, generator=Generator().manual_seed(seed + epoch)).numpy()
    return np.concatenate([arranged.reshape(-1, size)[turns].ravel(), order[whole:]])


def step_seed(*, seed: int, epoch: int, step: int) -> int:
    """Return the seed of a step's random changes."""
    return int(np.random.SeedSequence((seed, epoch, step)).generate_state(1)[0])
