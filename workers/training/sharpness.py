"""Gradients from where the loss is highest nearby: SAM (arXiv:2010.01412) and its adaptive form (arXiv:2102.11600)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

SMALLEST_NORM = 1e-12


@dataclass(frozen=True)
class Sharpness:
    """How far uphill to look: `rho` in the weights' own unit, or, if adaptive, in units of each weight's size."""

    rho: float
    adaptive: bool

    @contextmanager
    def uphill(self, weights: Sequence[nn.Parameter], net: nn.Module) -> Iterator[None]:
        """Move the weights along their gradients while inside, with no gradients left; put them back on leaving.

        Norms see their batches as ever, and keep the running statistics that they had: a step counts once.
        """
        moved = [weight for weight in weights if weight.grad is not None]
        places = [weight.detach().clone() for weight in moved]
        self._climb(moved)
        norms = [norm for norm in net.modules() if isinstance(norm, _NormBase) and norm.track_running_stats]
        tracked = [norm for norm in norms if norm.training]
        try:
            for norm in tracked:
                norm.track_running_stats = False
            yield
        finally:
            for norm in tracked:
                norm.track_running_stats = True
            with torch.no_grad():
                for weight, place in zip(moved, places, strict=True):
                    weight.copy_(place)

    @torch.no_grad()
    def _climb(self, weights: Sequence[nn.Parameter]) -> None:
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        slopes = (
            [weight.abs() * gradient for weight, gradient in zip(weights, gradients, strict=True)]
            if self.adaptive
            else gradients
        )
        reach = self.rho / torch.nn.utils.get_total_norm(slopes).clamp(min=SMALLEST_NORM)
        for weight, gradient, slope in zip(weights, gradients, slopes, strict=True):
            weight.add_((weight.abs() * slope if self.adaptive else gradient) * reach)
            weight.grad = None
