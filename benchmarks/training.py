"""Cost of feeding: the real training loop beside the same loop with one ready batch, and beside a plain PyTorch loop.

    python -m benchmarks.training [--quick]

Three loops take turns on the same nets: ours from the memory-mapped array of decoded images, with and without
augmentation (crop, rotation, flip and colour jitter, each image its own); ours with one batch made beforehand, which is
the limit; and the loop that a tutorial would show: `ImageFolder`, Pillow, `ToTensor`, `Normalize`, a `DataLoader` with
0 or 2 worker processes, whichever is faster. Beside ours runs the same loop without `keeping_freed_memory`. The images
are JPEGs of 320 by 240, with the detail of photographs. All nets see 64 px; resnet18 is fed 224 px too, in smaller
batches.
"""

import argparse
import contextlib
import functools
import itertools
import os
import shutil
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from PIL import Image
from torch import Generator, Tensor, nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from benchmarks.bystander import Bystander, MemoryCheckpoints
from benchmarks.verdict import Goal, conclude, interleaved, median_ratio
from models_store.datasets.store import ManifestEntry
from models_store.spec.train import ResolvedSpec
from models_store.tasks.image.contract import IMAGE
from models_store.tasks.image.facts import ImageFacts
from models_store.tasks.image.input import Input
from models_store.tasks.image.spec import ImageSpec
from workers.process.progress import Drained
from workers.tasks.image import examples
from workers.tasks.image import net as task
from workers.tasks.image.net import Classifier
from workers.training import loop, precision
from workers.training.examples import Array, Examples, Rows
from workers.training.feeds import RawFeed
from workers.training.learner import Raw

WARM_STEPS = 2
CLASSES = ["ants", "bees"]
AUGMENTATION = [{"kind": "random_crop"}, {"kind": "random_rotation"}, {"kind": "random_flip"}, {"kind": "color_jitter"}]


@dataclass(frozen=True)
class Setup:
    """A net, the side of its input in pixels, and how many images a step takes."""

    kind: str
    size: int = 64
    batch: int = 64

    def __str__(self) -> str:
        return self.kind if self.size == Setup.size else f"{self.kind} at {self.size} px"


SMALL_CNN, RESNET, LARGE_RESNET = Setup("small_cnn"), Setup("resnet18"), Setup("resnet18", size=224, batch=16)
SETUPS = (SMALL_CNN, RESNET, LARGE_RESNET)
GOALS = [
    *(Goal(f"{setup}: cached / ready batch", "at least", 0.95) for setup in SETUPS),
    *(Goal(f"{setup}: augmented / ready batch", "at least", 0.90) for setup in SETUPS),
    Goal("small_cnn: cached / plain loop", "at least", 3.0),
]


class Stopwatch(Bystander):
    """Asks the loop to stop after some steps, and knows how long they took."""

    def __init__(self, setup: Setup, *, steps: int) -> None:
        self.setup, self.steps = setup, steps
        self.marks: list[float] = []

    def metrics(self, **values: float) -> None:
        """Do nothing: an epoch that ends is no news here."""

    def stop_requested(self) -> bool:
        """Mark the end of a step."""
        self.marks.append(time.perf_counter())
        return len(self.marks) > WARM_STEPS + self.steps

    def images_per_s(self) -> float:
        """Return the rate of the steps after the first few."""
        return self.steps * self.setup.batch / (self.marks[-1] - self.marks[WARM_STEPS])


class ReadyBatch(Classifier):
    """A classifier whose input is always the same batch, made beforehand."""

    ready: Tensor

    def prepare(self, raw: Raw, generator: Generator | None) -> Tensor:  # noqa: ARG002  that is the point
        """Return the batch."""
        return self.ready


class ReadyArrays(Examples):
    """Arrays that copy nothing: the rows asked for are not looked up."""

    def batch(self, rows: Rows) -> dict[str, Array]:  # noqa: ARG002  that is the point
        """Return nothing."""
        return {}


def main() -> None:
    """Measure and judge."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="two rounds of a few steps, without a verdict")
    options = parser.parse_args()
    images, steps, rounds = (256, 2, 2) if options.quick else (1024, 8, 15)
    torch.set_num_threads(len(os.sched_getaffinity(0)))

    folder = Path(tempfile.mkdtemp(prefix="espalier-benchmark-"))
    try:
        photographs = write_photographs(folder / "photographs", count=images)
        sizes = {setup.size for setup in SETUPS}
        arrays = {size: prepare(photographs, folder, size=size) for size in sizes}
        runs: dict[str, Callable[[], float]] = {}
        for setup in SETUPS:
            runs |= our_loops(setup, arrays[setup.size], steps=steps)
        plain = (("plain, 0 workers", 0), ("plain, 2 workers", 2))
        runs |= {
            name: functools.partial(plain_loop, photographs, SMALL_CNN, workers=workers, steps=steps)
            for name, workers in plain
        }
        rates = interleaved(runs, rounds=rounds)
    finally:
        shutil.rmtree(folder)

    figures = {f"{name}, images/s": float(np.median(values)) for name, values in rates.items()}
    for setup in SETUPS:
        limit = rates[f"{setup} ready batch"]
        figures[f"{setup}: cached / ready batch"] = median_ratio(rates[f"{setup} cached"], limit)
        figures[f"{setup}: augmented / ready batch"] = median_ratio(rates[f"{setup} augmented"], limit)
        figures[f"{setup}: cached / cached, freed memory given back"] = median_ratio(
            rates[f"{setup} cached"], rates[f"{setup} cached, freed memory given back"]
        )
    best_plain = max((rates[name] for name, _ in plain), key=np.median)
    figures["small_cnn: cached / plain loop"] = median_ratio(rates["small_cnn cached"], best_plain)
    conclude("training", figures, goals=GOALS, binding=not options.quick)


def our_loops(setup: Setup, arrays: Examples, *, steps: int) -> dict[str, Callable[[], float]]:
    """Return the runs of the real loop on one net: cached, augmented, ready batch; and cached, giving memory back."""
    name = chosen_precision(setup, arrays)
    print(f"{setup} trains in {name}", flush=True)
    ready_arrays = ReadyArrays(arrays.inputs, arrays.targets, arrays.splits_N, arrays.classes)
    runs: dict[str, Callable[[], float]] = {}
    for label, parts, fed in (
        ("cached", [], arrays),
        ("augmented", AUGMENTATION, arrays),
        ("ready batch", [], ready_arrays),
    ):
        spec = a_spec(setup, augmentation=parts, precision_name=name)
        classifier = task.build(spec, class_count=len(CLASSES), weights_dir=Path())
        if label == "ready batch":
            ready = ReadyBatch(classifier.backbone, classifier.head, mean=classifier.mean, std=classifier.std)
            feed = RawFeed(classifier, arrays, device=torch.device("cpu"))
            ready.ready = feed.batch(np.arange(setup.batch), None)
            classifier = ready
        stopwatch = functools.partial(Stopwatch, setup, steps=steps)
        runs[f"{setup} {label}"] = functools.partial(our_loop, classifier, fed, spec, stopwatch)
    runs[f"{setup} cached, freed memory given back"] = functools.partial(giving_back, runs[f"{setup} cached"])
    return runs


def giving_back(run: Callable[[], float]) -> float:
    """Return images/s of the run where what a step frees does not stay with the process."""
    with mock.patch.object(loop, "keeping_freed_memory", contextlib.nullcontext):
        return run()


def our_loop(
    classifier: Classifier, arrays: Examples, spec: ResolvedSpec, new_stopwatch: Callable[[], Stopwatch]
) -> float:
    """Return images/s of some steps of the real loop."""
    stopwatch = new_stopwatch()
    try:
        loop.train(
            classifier,
            arrays,
            spec=spec,
            device=torch.device("cpu"),
            reporter=stopwatch,
            checkpoints=MemoryCheckpoints(),
            clock=time.monotonic,
            checkpoint_s=3600,
        )
    except Drained:
        return stopwatch.images_per_s()
    raise AssertionError("the run ended before it was measured")


def plain_loop(photographs: Path, setup: Setup, *, workers: int, steps: int) -> float:
    """Return images/s of the loop that a tutorial shows, on the same net."""
    dataset = ImageFolder(
        str(photographs),
        transforms.Compose(
            [
                transforms.Resize((setup.size, setup.size)),
                transforms.ToTensor(),
                transforms.Normalize([0.5] * 3, [0.5] * 3),
            ]
        ),
    )
    net: nn.Module = task.build(a_spec(setup, augmentation=[]), class_count=len(CLASSES), weights_dir=Path())
    net.train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    loss_of = nn.CrossEntropyLoss()
    batches = itertools.islice(
        endless(DataLoader(dataset, setup.batch, shuffle=True, num_workers=workers, drop_last=True)),
        WARM_STEPS + 1 + steps,
    )
    for step, (images, labels) in enumerate(batches):
        if step == WARM_STEPS + 1:
            began = time.perf_counter()
        optimizer.zero_grad()
        loss_of(net(images), labels).backward()
        optimizer.step()
    return steps * setup.batch / (time.perf_counter() - began)


def endless(loader: "DataLoader[tuple[Tensor, Tensor]]") -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches of one epoch after another."""
    while True:
        yield from loader


def chosen_precision(setup: Setup, arrays: Examples) -> precision.Name:
    """Return what `auto` takes for this net here."""
    spec = a_spec(setup, augmentation=[])
    classifier = task.build(spec, class_count=len(CLASSES), weights_dir=Path()).to(memory_format=torch.channels_last)
    feed, rows = RawFeed(classifier, arrays, device=torch.device("cpu")), np.arange(setup.batch)
    labels = torch.from_numpy(arrays.targets[rows])
    return precision.choose(
        "auto",
        classifier,
        device=torch.device("cpu"),
        sample=lambda count: (feed.batch(rows[:count], None), labels[:count]),
        batch=setup.batch,
        steps_ahead=10_000,
        reporter=Bystander(),
    ).name


def a_spec(setup: Setup, *, augmentation: list[dict[str, str]], precision_name: str = "fp32") -> ResolvedSpec:
    """Return a long run of one backbone from scratch."""
    backbone = {"kind": setup.kind} | ({} if setup.kind == "small_cnn" else {"weights": None})
    document = {
        "name": "benchmark",
        "dataset": "ds_benchmark0",
        "input": {"size": setup.size},
        "backbone": backbone,
        "augmentation": augmentation,
        "training": {"epochs": 1000, "batch_size": setup.batch, "precision": precision_name},
    }
    facts = ImageFacts(10_000, dict.fromkeys(CLASSES, 1000))
    return IMAGE.resolve(ImageSpec.model_validate(document), facts)[0]


def write_photographs(folder: Path, *, count: int) -> Path:
    """Write JPEGs in two class folders: coarse shapes under fine grain, some 20 KB each, like small photographs."""
    random = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(random.integers(0, 255, (12, 16, 3), dtype=np.uint8)).resize(
            (320, 240), Image.Resampling.BICUBIC
        )
        grain = random.integers(-12, 13, (240, 320, 1))
        pixels = (np.asarray(coarse, dtype=np.int16) + grain).clip(0, 255).astype(np.uint8)
        path = folder / CLASSES[number % 2] / f"{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, "JPEG", quality=87)
    return folder


def prepare(photographs: Path, folder: Path, *, size: int) -> Examples:
    """Return the photographs as a worker prepares them for an input of a size in pixels."""
    files = sorted(photographs.glob("*/*.jpg"))
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        for file in files:
            archive.write(file, file.name)
    manifest = [
        ManifestEntry(file=file.name, member=file.name, label=file.parent.name, split="train", sha256="")
        for file in files
    ]
    return examples.prepare(
        manifest,
        folder / "images.zip",
        classes=CLASSES,
        digest="benchmark",
        spec_input=Input(size=size, fit="stretch"),
        cache=folder / "cache",
        cache_max_bytes=1 << 40,
        max_pixels=64_000_000,
        report=lambda _: None,
    )


if __name__ == "__main__":
    main()
