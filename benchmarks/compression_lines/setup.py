"""Setup of the lines: their data, the nets that are trained once, and the format of their results."""

import functools
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import fashion_mnist, jobs
from benchmarks.home import Home, Opened
from benchmarks.verdict import Goal
from workers.training.examples import Examples

SAMPLES = Path(__file__).parent.parent.parent / "samples"
STEPS = {"train": 4, "val": 2, "test": 1}
QUICK_STEPS = {"train": 300, "val": 300, "test": 300}
"""every so many of Fashion-MNIST's 54,000 + 6,000 + 10,000 images are used"""

LITE0: dict[str, Any] = {
    "input": {"size": 224},
    "backbone": {"kind": "efficientnet_lite0", "weights": "imagenet", "freeze": "none"},
    "transfer": {"probe_epochs": 10},
    "optimizer": {"kind": "adamw", "lr": 2e-4},
    "training": {"epochs": 4, "batch_size": 32},
    "compression": None,
}
RESNET: dict[str, Any] = {
    "input": {"size": 28, "channels": 1},
    "backbone": {"kind": "cifar_resnet18", "width": 32},
    "augmentation": [{"kind": "random_crop", "scale": 1.0, "padding": 0.07}, {"kind": "random_flip"}],
    "optimizer": {"kind": "adamw", "lr": 3e-3, "weight_decay": 0.05},
    "schedule": {"kind": "one_cycle", "rise_share": 0.25},
    "training": {"epochs": 6, "batch_size": 128, "monitor": "val_accuracy"},
    "compression": None,
}


@dataclass
class Shown:
    """What a line has shown: figures, the goals among them, and sentences that stand for themselves."""

    figures: dict[str, float] = field(default_factory=dict)
    goals: list[Goal] = field(default_factory=list)

    def at_least(self, figure: str, value: float, *, goal: float) -> None:
        """Add a figure that has to reach its goal."""
        self.figures[figure] = float(value)
        self.goals.append(Goal(figure, "at least", goal))

    def at_most(self, figure: str, value: float, *, goal: float) -> None:
        """Add a figure that has to stay within its goal."""
        self.figures[figure] = float(value)
        self.goals.append(Goal(figure, "at most", goal))


@dataclass(frozen=True)
class Setup:
    """The store that the lines work in, and what they were asked for."""

    home: Home
    folder: Path
    hymenoptera: Path | None
    quick: bool

    @property
    def archive_of_photographs(self) -> Path:
        """Return the ants and bees; where they are not given, or in a quick run, clothes."""
        if self.quick:
            return self._archive_of_clothes
        return self.hymenoptera or SAMPLES / "fashion-mnist" / "fashion_mnist_5k.zip"

    @functools.cached_property
    def photographs(self) -> Opened:
        """Return the photographs, taken in."""
        return self.home.open(self.archive_of_photographs)

    @functools.cached_property
    def clothes(self) -> Opened:
        """Return a part of Fashion-MNIST, taken in."""
        return self.home.open(self._archive_of_clothes)

    @functools.cached_property
    def _archive_of_clothes(self) -> Path:
        """Return the clothes as the PNG files that somebody would upload."""
        target = self.folder / ("few-clothes.zip" if self.quick else "clothes.zip")
        if not target.exists():
            steps = QUICK_STEPS if self.quick else STEPS
            write_archive(fashion_mnist.read(fashion_mnist.SAMPLES), target, steps=steps)
        return target

    @functools.cached_property
    def lite0(self) -> jobs.Made:
        """Return EfficientNet-Lite0, its head trained first and then all of it, on the photographs."""
        quickly = {"input": {"size": 64}, "transfer": {"probe_epochs": 0}, "training": {"epochs": 1}}
        print("training efficientnet_lite0", flush=True)
        return jobs.train(self.photographs, LITE0 | (quickly if self.quick else {}))

    @functools.cached_property
    def resnet(self) -> jobs.Made:
        """Return a ResNet-18 for small images, trained from scratch on the clothes."""
        quickly = {"backbone": {"kind": "cifar_resnet18", "width": 32}, "training": {"epochs": 1, "batch_size": 64}}
        print("training cifar_resnet18", flush=True)
        return jobs.train(self.clothes, RESNET | (quickly if self.quick else {}))


def write_archive(arrays: Examples, target: Path, *, steps: Mapping[str, int]) -> None:
    """Write every so many grey images of each split as a zip of `<split>/<class>/<number>.png`."""
    rows = np.concatenate([arrays.split(split)[::step] for split, step in steps.items()])
    with zipfile.ZipFile(target.with_suffix(".part"), "w") as archive:
        for row in rows:
            file = BytesIO()
            Image.fromarray(np.asarray(arrays.inputs["images"][row, :, :, 0])).save(file, "PNG", compress_level=1)
            folder = f"{arrays.splits_N[row]}/{arrays.classes[int(arrays.targets[row])]}"
            archive.writestr(f"{folder}/{row:05}.png", file.getvalue())
    target.with_suffix(".part").rename(target)
