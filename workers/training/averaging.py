"""Averages of the weights along the way, which answer better than the last ones: EMA and SWA."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel

from workers.training.examples import Rows
from workers.training.feeds import SMALLEST_INFERENCE_BATCH, Feed, batches
from workers.training.precision import Precision
from workers.training.sampling import shuffled

STATISTICS_ROWS = 8192

Tensors = tuple[Tensor, ...] | list[Tensor]


@dataclass(frozen=True)
class Averaging:
    """When a net's weights join the average, and their share in it, given how many did before.

    It begins after the share `start` of the epochs; from then on the learning rate is `lr_fraction` of its peak, or as
    the schedule says (None). Averaged each epoch, batch norm's statistics are those of no weights that were trained,
    and have to be computed anew (`renew_statistics`).
    """

    each: Literal["step", "epoch"]
    share: Callable[[int], float]
    start: float = 0.0
    lr_fraction: float | None = None


def exponential(decay: float) -> Averaging:
    """Return an exponential moving average that is a plain mean at first, as Mean Teacher's (arXiv:1703.01780)."""
    return Averaging(each="step", share=lambda count: max(1 - decay, 1 / (count + 1)))


def stochastic(*, start: float, lr_fraction: float | None) -> Averaging:
    """Return the mean of the epochs after a share of them (SWA, arXiv:1803.05407)."""
    return Averaging(each="epoch", share=lambda count: 1 / (count + 1), start=start, lr_fraction=lr_fraction)


class Average:
    """The average of a net's weights and buffers. Integer buffers are the net's last ones."""

    def __init__(self, net: nn.Module, averaging: Averaging) -> None:
        self.averaging = averaging
        self.count = 0
        self._model = AveragedModel(net, multi_avg_fn=self._join, use_buffers=True)

    @property
    def net(self) -> nn.Module:
        """Return the net with the average's weights, apart from the one that trains."""
        net: nn.Module = self._model.module
        return net

    def add(self, net: nn.Module) -> None:
        """Let the net's weights join."""
        self._model.update_parameters(net)
        self.count += 1

    def begun(self, epoch: int, *, epochs: int) -> bool:
        """Return whether the weights of an epoch, counted from 0, are averaged; those of the last always are."""
        return epoch >= min(self.averaging.start * epochs, epochs - 1)

    def state(self) -> dict[str, Any]:
        """Return what `load` takes."""
        return self._model.state_dict()

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self._model.load_state_dict(state)
        self.count = int(self._model.n_averaged)

    def _join(self, averages: Tensors, currents: Tensors, _count: Tensor | int) -> None:
        if averages[0].is_floating_point():
            torch._foreach_lerp_(averages, currents, self.averaging.share(self.count))
        else:
            for average, current in zip(averages, currents, strict=True):
                average.copy_(current)


def renew_statistics(
    feed: Feed, rows: Rows, *, batch_size: int, precision: Precision, each: Callable[[int], None]
) -> None:
    """Compute batch norm's running statistics anew for the feed's net, prepared without random changes.

    They are the plain mean over some thousand of `rows`. Norms that stay as they are keep theirs. `each` gets the rows
    done so far.
    """
    net = feed.net.train()
    norms = [
        norm for norm in net.modules() if isinstance(norm, _BatchNorm) and norm.training and norm.track_running_stats
    ]
    net.eval()
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's sign for the plain mean of all batches
        norm.train()
    chosen = shuffled(rows, seed=0, epoch=0)[:STATISTICS_ROWS]  # a batch of one class would have too small a variance
    for start, end in batches(len(chosen), max(batch_size, SMALLEST_INFERENCE_BATCH)):
        with torch.no_grad(), precision.autocast():
            net(feed.batch(np.sort(chosen[start:end]), None))
        each(end)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    net.eval()
