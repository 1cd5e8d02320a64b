"""Small arrays and runs of the real loop, with a reporter and checkpoints that tests can look into."""

import io
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from models_store.tasks.image.spec import ResolvedImageSpec
from workers.tasks.image import net
from workers.tasks.image.net import Classifier
from workers.training import loop, regularizers
from workers.training.examples import Examples
from workers.training.loop import Trained

CLASSES = ["blue", "red"]
CPU = torch.device("cpu")


class Recorder:
    """A reporter that remembers everything, and asks to stop at the given steps."""

    def __init__(self, *, stop_after: int | None = None) -> None:
        self.asked = 0
        self.stop_after = stop_after
        self.fractions: list[float] = []
        self.facts: list[dict[str, float | str]] = []
        self.rows: list[dict[str, float]] = []
        self.lines: list[str] = []
        self.warnings: list[str] = []

    def phase(self, name: str) -> None:
        self.lines.append(name)

    def progress(self, fraction: float, **facts: float | str) -> None:
        self.fractions.append(fraction)
        self.facts.append(facts)

    def metrics(self, **values: float) -> None:
        self.rows.append(values)

    def log(self, text: str) -> None:
        self.lines.append(text)

    def warn_owner(self, text: str) -> None:
        self.warnings.append(text)

    def warn(self, text: str) -> None:
        self.lines.append(text)

    def stop_requested(self) -> bool:
        self.asked += 1
        return self.asked == self.stop_after


class DiskCheckpoints:
    """Checkpoints through real bytes, read back as a trainer does: tensors and plain values only."""

    def __init__(self) -> None:
        self.saved: list[bytes] = []

    def save(self, state: dict[str, Any]) -> None:
        buffer = io.BytesIO()
        torch.save(state, buffer)
        self.saved.append(buffer.getvalue())

    def load(self) -> dict[str, Any] | None:
        return torch.load(io.BytesIO(self.saved[-1]), weights_only=True) if self.saved else None


def ticking(seconds: float = 1.0) -> Callable[[], float]:
    """Return a clock that moves on at every look."""
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += seconds
        return now

    return clock


def some_arrays(*, train: int = 33, val: int = 12, test: int = 0, size: int = 32, channels: int = 3) -> Examples:
    """Return noisy images of two classes, told apart by their brightness."""
    count = train + val + test
    random = np.random.default_rng(0)
    labels_N = np.arange(count) % 2
    images_NHWC = random.integers(0, 150, (count, size, size, channels)) + 60 * labels_N[:, None, None, None]
    splits_N = np.array(["train"] * train + ["val"] * val + ["test"] * test, dtype="<U5")
    return Examples({"images": images_NHWC.astype(np.uint8)}, labels_N.astype(np.int64), splits_N, CLASSES)


class Blocks(nn.Sequential):
    """A backbone of three stages, with batch norm and a layer norm: 6 features."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__(
            OrderedDict(
                stem=nn.Sequential(nn.Conv2d(channels, 4, 3, stride=2, bias=False), nn.BatchNorm2d(4), nn.ReLU()),
                body=nn.Sequential(nn.Conv2d(4, 6, 3, stride=2, bias=False), nn.BatchNorm2d(6), nn.ReLU()),
                pool=nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
                neck=nn.Sequential(nn.Linear(6, 6), nn.LayerNorm(6)),
            )
        )


def a_small_classifier(spec: ResolvedImageSpec, *, seed: int = 0) -> Classifier:
    """Return a net of a few weights, whatever the spec's backbone is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = nn.Sequential(*regularizers.noise(spec.regularizers), nn.Linear(6, len(CLASSES)))
        return Classifier(Blocks(), head, mean=(0.5,) * 3, std=(0.5,) * 3, augmentation=spec.augmentation)


def pretrained(spec: ResolvedImageSpec, *, freeze: str = "none") -> ResolvedImageSpec:
    """Return the spec as of a net with weights to keep, for one that brings them along."""
    return spec.model_copy(
        update={"backbone": spec.backbone.model_copy(update={"weights": "leaves@best", "freeze": freeze})}
    )


def a_classifier(spec: ResolvedImageSpec, *, weights_dir: Path = Path("unused")) -> Classifier:
    return net.build(spec, class_count=len(CLASSES), weights_dir=weights_dir)


def run(
    spec: ResolvedImageSpec,
    arrays: Examples,
    *,
    classifier: Classifier | None = None,
    reporter: Recorder | None = None,
    checkpoints: DiskCheckpoints | None = None,
    clock: Callable[[], float] | None = None,
    checkpoint_s: float = 1e9,
    teacher: Classifier | None = None,
    device: torch.device = CPU,
    epoch_s: float | None = None,
) -> Trained:
    return loop.train(
        classifier or a_classifier(spec),
        arrays,
        spec=spec,
        device=device,
        reporter=reporter or Recorder(),
        checkpoints=checkpoints or DiskCheckpoints(),
        clock=clock or ticking(),
        checkpoint_s=checkpoint_s,
        teacher=teacher,
        epoch_s=epoch_s,
    )


def same_weights(left: nn.Module, right: nn.Module) -> bool:
    pairs = zip(left.state_dict().items(), right.state_dict().items(), strict=True)
    return all(name == other and torch.equal(value, twin) for (name, value), (other, twin) in pairs)
