"""Images that show nothing, to measure a net with before there is any data."""

# N rows, H height, W width, C channel

from collections.abc import Sequence

import numpy as np

from models_store.spec.train import ResolvedSpec
from models_store.tasks.image.spec import ResolvedImageSpec
from models_store.tasks.rooms import target_of
from workers.tasks.image.examples import INPUT
from workers.training.examples import Examples


def noise(spec: ResolvedSpec, *, classes: Sequence[str], count: int) -> Examples:
    """Return training rows as the spec sees them: one image of noise, as often as wanted in the memory of one."""
    assert isinstance(spec, ResolvedImageSpec), "the task is one of images"
    size, channels = spec.input.size, spec.input.channels
    assert size is not None, "the spec is resolved"
    image_HWC = np.random.default_rng(0).integers(0, 256, (size, size, channels), dtype=np.uint8)
    return Examples(
        inputs={INPUT: np.broadcast_to(image_HWC, (count, *image_HWC.shape))},
        targets=target_of(spec.task).placeholders(count, names=len(classes)),
        splits_N=np.full(count, "train"),
        classes=list(classes),
    )
