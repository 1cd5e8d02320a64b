"""Feeds of a run's net: raw examples prepared batch by batch, or a frozen backbone's features computed once."""

# N examples, B batch, F feature, K class

import copy
from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Generator, Tensor, nn

from models_store.targets import Activation
from workers.training.examples import Examples, Rows, lengths
from workers.training.learner import Learner, Prepared
from workers.training.precision import Precision
from workers.training.targets import ACTIVATIONS

SMALLEST_INFERENCE_BATCH = 32


class Feed(Protocol):
    """A net and its inputs."""

    @property
    def net(self) -> nn.Module:
        """Return the net that trains on these inputs."""
        ...

    def batch(self, rows: Rows, generator: Generator | None) -> Prepared:
        """Return the net's inputs for ascending `rows`, on its device."""
        ...

    def of(self, net: nn.Module) -> "Feed":
        """Return the same inputs for another net of this one's kind."""
        ...


class RawFeed:
    """Raw examples, prepared anew every time."""

    def __init__(self, learner: Learner, examples: Examples, *, device: torch.device) -> None:
        self.net: Learner = learner
        self.examples = examples
        self.device = device

    def batch(self, rows: Rows, generator: Generator | None) -> Prepared:
        """Return prepared examples; with random changes when there is a generator."""
        raw = {name: torch.from_numpy(array) for name, array in self.examples.raw(rows).items()}
        if self.device.type == "cuda":
            raw = {name: tensor.pin_memory().to(self.device, non_blocking=True) for name, tensor in raw.items()}
        return self.net.prepare(raw, generator)

    def of(self, net: nn.Module) -> "RawFeed":
        """Return the same inputs for another learner."""
        assert isinstance(net, Learner), "raw examples are prepared by a learner"
        return RawFeed(net, self.examples, device=self.device)


class FeatureFeed:
    """Features (N, F) of a frozen backbone, and the head that trains on them. They are float32 whatever made them."""

    def __init__(self, head: nn.Module, features_NF: Tensor, *, rows: Rows) -> None:
        self.net = head
        self.features_NF = features_NF
        self.places = np.full(int(rows.max()) + 1, -1, dtype=np.int64)
        self.places[rows] = np.arange(len(rows))

    def batch(self, rows: Rows, generator: Generator | None) -> Tensor:  # noqa: ARG002  features don't change
        """Return the features of `rows`."""
        return self.features_NF[torch.from_numpy(self.places[rows])]

    def of(self, net: nn.Module) -> "FeatureFeed":
        """Return the same features for another head."""
        twin = copy.copy(self)
        twin.net = net
        return twin


def compute_features(
    feed: RawFeed, rows: Rows, *, batch_size: int, precision: Precision, each: Callable[[int], None]
) -> FeatureFeed:
    """Run the backbone once over `rows` and return the feed of what the head sees; `each` gets the rows done so far."""
    feed.net.eval()
    parts = []
    examples = feed.examples
    rows = rows[np.argsort(lengths(examples.inputs, rows, padded=examples.padded), kind="stable")]  # the least padding
    for start, end in batches(len(rows), max(batch_size, SMALLEST_INFERENCE_BATCH)):
        with torch.no_grad(), precision.autocast():
            parts.append(feed.net.features(feed.batch(rows[start:end], None)).float())
        each(end)
    return FeatureFeed(feed.net.head, torch.cat(parts), rows=rows)


def infer(
    feed: Feed, rows: Rows, *, batch_size: int, precision: Precision, each: Callable[[int], None] = lambda _: None
) -> Tensor:
    """Return the net's logits (N, K) for `rows` in evaluation mode, float32; `each` gets the rows done so far."""
    feed.net.eval()
    parts = []
    for start, end in batches(len(rows), max(batch_size, SMALLEST_INFERENCE_BATCH)):
        with torch.no_grad(), precision.autocast():
            parts.append(feed.net(feed.batch(rows[start:end], None)).float())
        each(end)
    return torch.cat(parts)


def probabilities(
    learner: Learner,
    examples: Examples,
    rows: Rows,
    *,
    device: torch.device,
    activation: Activation = "softmax",
    temperature: float = 1.0,
    batch_size: int = 64,
) -> npt.NDArray[np.float32]:
    """Return the learner's probabilities float32 (N, K) for ascending `rows`: the training path, in full precision.

    The logits are divided by `temperature` first. With the activation `identity` they are numbers.
    """
    learner.to(device)
    logits_NK = infer(
        RawFeed(learner, examples, device=device), rows, batch_size=batch_size, precision=Precision("fp32", device)
    )
    answers_NK: npt.NDArray[np.float32] = ACTIVATIONS[activation](logits_NK / temperature).cpu().numpy()
    return answers_NK


def batches(count: int, size: int) -> list[tuple[int, int]]:
    """Return the bounds of batches; a single leftover joins the last one, for batch norm can't train on one example."""
    bounds = [(start, min(start + size, count)) for start in range(0, count, size)]
    if len(bounds) > 1 and size > 1 and bounds[-1][1] - bounds[-1][0] == 1:
        bounds[-2:] = [(bounds[-2][0], count)]
    return bounds
