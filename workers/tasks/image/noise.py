"""Images that show nothing, to measure a net with before there is any data."""

# N rows, B batch, H height, W width, C channel, K class or label

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models_store.spec.train import ResolvedSpec
from models_store.tasks.rooms import target_of
from workers.training.learner import Rows


@dataclass(frozen=True)
class Noise:
    """Training rows with one image of noise; they are as many as wanted, and take the memory of one."""

    image_HWC: NDArray[np.uint8]  # noqa: N815  the shape is part of the name
    targets: NDArray[Any]
    classes: list[str]

    def split(self, name: str) -> Rows:
        """Return all rows for `train`, and none else."""
        return np.arange(len(self.targets) if name == "train" else 0)

    def gather(self, rows: Rows) -> torch.Tensor:
        """Return as many images uint8 (B, H, W, C), as one copy."""
        return torch.from_numpy(self.image_HWC).expand(len(rows), -1, -1, -1).contiguous()


def noise(spec: ResolvedSpec, *, classes: Sequence[str], count: int) -> Noise:
    """Return training rows as the spec sees them."""
    size, channels = spec.input.size, spec.input.channels
    assert size is not None, "the spec is resolved"
    image_HWC = np.random.default_rng(0).integers(0, 256, (size, size, channels), dtype=np.uint8)
    truths = target_of(spec.task).placeholders(count, names=len(classes))
    return Noise(image_HWC, truths, list(classes))
