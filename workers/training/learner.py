"""What the loop trains: a backbone and a head, and the way from stored examples to their input."""

# B batch, F feature, K class

from abc import ABC, abstractmethod
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Generator, Tensor, nn

Rows = npt.NDArray[np.int64]


class Examples(Protocol):
    """A dataset as arrays."""

    @property
    def labels_N(self) -> Rows:  # noqa: N802  the shape is part of the name
        """Return the class of every row."""
        ...

    @property
    def classes(self) -> list[str]:
        """Return the classes' names, by number."""
        ...

    def split(self, name: str) -> Rows:
        """Return the rows of `train`, `val` or `test`, in ascending order."""
        ...

    def gather(self, rows: Rows) -> Tensor:
        """Return the raw examples of ascending `rows`, on the CPU."""
        ...


class Learner(nn.Module, ABC):
    """Backbone and head. A frozen backbone neither trains nor moves its running statistics."""

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.frozen = False

    @property
    @abstractmethod
    def draws(self) -> bool:
        """Whether `prepare` with a generator differs from `prepare` without."""

    @abstractmethod
    def prepare(self, raw: Tensor, generator: Generator | None) -> Tensor:
        """Return raw examples as the net's input, on their device; with random changes when there is a generator."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits (B, K)."""
        logits_BK: Tensor = self.head(self.features(inputs))
        return logits_BK

    def features(self, inputs: Tensor) -> Tensor:
        """Return what the head sees, (B, F)."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            features_BF: Tensor = self.backbone(inputs)
        return features_BF

    def freeze_backbone(self, frozen: bool) -> None:  # noqa: FBT001  the one thing that this call is about
        """Keep the backbone as it is from now on, or let it train."""
        self.frozen = frozen
        self.backbone.requires_grad_(not frozen)
        self.train(self.training)

    def train(self, mode: bool = True) -> "Learner":  # noqa: FBT001, FBT002  nn.Module's own signature
        """Set training mode; a frozen backbone stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self
