"""Cost of augmentation: five geometric parts against one, and every part on its own.

    python -m benchmarks.augmentation [--quick]

Batches of photograph-sized inputs (224 px, RGB) are augmented on one core. All geometry of a spec is one resampling,
whatever its parts, so five of them, a perspective among them, should cost about what one costs. The runs take turns.
Beside them stands torchvision's way to do the same five: one image after another, one resampling after another.
"""

import argparse
import functools
import time
from collections.abc import Callable, Sequence
from typing import get_args

import numpy as np
import torch
from torchvision.transforms import v2

from benchmarks.verdict import Goal, conclude, interleaved, median_ratio
from models_store.spec.part import Part
from models_store.tasks.image.augmentation import (
    Augmentation,
    RandomCrop,
    RandomPerspective,
    RandomRotation,
    RandomShear,
    RandomTranslation,
)
from workers.tasks.image.augmentations import augment, mix
from workers.training.allocator import keeping_freed_memory

SIZE, BATCH = 224, 16
PARTS: Sequence[type[Part]] = get_args(get_args(Augmentation)[0])
ONE: Sequence[Part] = [RandomRotation()]
AFFINE: Sequence[Part] = [RandomCrop(), RandomRotation(), RandomTranslation(), RandomShear()]
FIVE: Sequence[Part] = [*AFFINE, RandomPerspective()]
GOALS = [
    Goal("5 geometric parts / 1", "at most", 1.3),
    Goal("torchvision's 5, image by image / ours", "at least", 3.0),
]


def main() -> None:
    """Measure and judge."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="two rounds of small batches, without a verdict")
    options = parser.parse_args()
    batch, rounds = (4, 2) if options.quick else (BATCH, 60)
    torch.set_num_threads(1)  # what a core does: two that wait for each other measure the machine's other tenants

    geometry: dict[str, Callable[[], float]] = {
        "1 geometric part": functools.partial(seconds, ONE, batch=batch),
        "4 affine parts": functools.partial(seconds, AFFINE, batch=batch),
        "5 geometric parts": functools.partial(seconds, FIVE, batch=batch),
    }
    others: dict[str, Callable[[], float]] = {
        str(part.model_fields["kind"].default): functools.partial(seconds, [part()], batch=batch) for part in PARTS
    }
    others |= {
        "5 geometric parts again": geometry["5 geometric parts"],
        "torchvision's 5": functools.partial(seconds_of_torchvision, batch=batch),
    }
    with keeping_freed_memory():  # as the loop has it
        for run in (*geometry.values(), *others.values()):
            run()  # the first of each pays for memory
        measured = interleaved(geometry, rounds=rounds) | interleaved(others, rounds=max(2, rounds // 10))

    figures = {f"{name}, ms an image": 1000 * float(np.median(values)) / batch for name, values in measured.items()}
    one = measured["1 geometric part"]
    figures["4 affine parts / 1"] = median_ratio(measured["4 affine parts"], one)
    figures["5 geometric parts / 1"] = median_ratio(measured["5 geometric parts"], one)
    figures["torchvision's 5, image by image / ours"] = median_ratio(
        measured["torchvision's 5"], measured["5 geometric parts again"]
    )
    conclude("augmentation", figures, goals=GOALS, binding=not options.quick)


def seconds(parts: Sequence[Part], *, batch: int) -> float:
    """Return what the parts take on one batch."""
    images_BCHW, targets_BK, generator = torch.rand(batch, 3, SIZE, SIZE), torch.eye(batch), torch.Generator()
    began = time.perf_counter()
    mix(augment(images_BCHW, parts, generator=generator), targets_BK, parts, generator=generator)
    return time.perf_counter() - began


def seconds_of_torchvision(*, batch: int) -> float:
    """Return what torchvision's transforms of the same names take on one batch."""
    images_BCHW = torch.rand(batch, 3, SIZE, SIZE)
    transform = v2.Compose(
        [
            v2.RandomResizedCrop(SIZE, scale=(0.64, 1.0), ratio=(1.0, 1.0)),
            v2.RandomRotation(15, interpolation=v2.InterpolationMode.BILINEAR),
            v2.RandomAffine(0, translate=(0.1, 0.1), interpolation=v2.InterpolationMode.BILINEAR),
            v2.RandomAffine(0, shear=(-10.0, 10.0), interpolation=v2.InterpolationMode.BILINEAR),
            v2.RandomPerspective(),
        ]
    )
    began = time.perf_counter()
    torch.stack([transform(image_CHW) for image_CHW in images_BCHW])
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
