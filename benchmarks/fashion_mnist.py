"""The real loop on real data: `small_cnn`, ten epochs of Fashion-MNIST, test accuracy of at least 0.92.

    python -m benchmarks.fashion_mnist [--quick] [--data DIR]

DIR holds the four published files (`train-images-idx3-ubyte.gz`, …). A tenth of the 60,000 training images, drawn
evenly over the classes, is the validation split that picks the best epoch; the 10,000 test images are looked at once.
"""

import argparse
import gzip
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.bystander import Bystander, MemoryCheckpoints
from benchmarks.verdict import Goal, conclude
from models_store.spec.facts import DatasetFacts
from models_store.spec.train import TrainSpec, resolve
from workers.evaluation.metrics import evaluate
from workers.image import task
from workers.image.data import ImageArrays
from workers.training import feeds, loop

SAMPLES = Path(__file__).parent.parent / "samples" / "fashion-mnist"
CLASSES = ["T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
QUICK_STEP = 30  # every so many images are used by a quick run

SPEC = {
    "name": "fashion-mnist",
    "dataset": "ds_fashionmnist",
    "input": {"size": 28, "channels": 1},
    "backbone": {"kind": "small_cnn"},
    "augmentation": [{"kind": "random_flip"}],
    "regularizers": [{"kind": "dropout", "probability": 0.3}],
    "optimizer": {"kind": "adamw", "lr": 2e-3, "weight_decay": 0.05},
    "schedule": {"kind": "cosine", "warmup_epochs": 0.5},
    "training": {"epochs": 10, "batch_size": 128},
}


def main() -> None:
    """Train, evaluate and judge."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one epoch on a few images, without a verdict")
    parser.add_argument("--data", type=Path, default=SAMPLES, help="folder of the four idx files")
    options = parser.parse_args()

    arrays = read(options.data, step=QUICK_STEP if options.quick else 1)
    training = SPEC["training"] if not options.quick else {"epochs": 1, "batch_size": 128}
    train_count = len(arrays.split("train"))
    facts = DatasetFacts(train_count, dict.fromkeys(CLASSES, train_count // len(CLASSES)), median_side=28, grey=True)
    spec, _ = resolve(TrainSpec.model_validate({**SPEC, "training": training}), facts)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    began = time.monotonic()
    trained = loop.train(
        task.build(spec, class_count=len(CLASSES), weights_dir=Path()),
        arrays,
        spec=spec,
        device=device,
        reporter=Bystander(),
        checkpoints=MemoryCheckpoints(),
        clock=time.monotonic,
    )
    train_s = time.monotonic() - began
    test_rows = arrays.split("test")
    probabilities_NK = feeds.probabilities(trained.classifier, arrays, test_rows, device=device, batch_size=256)
    metrics = evaluate(probabilities_NK, arrays.labels_N[test_rows], CLASSES)
    print(f"{trained.precision} on {device.type}, {torch.get_num_threads()} threads, best epoch {trained.best_epoch}")
    figures = {
        "test_accuracy": metrics["accuracy"],
        "test_loss": metrics["loss"],
        "train_s": train_s,
        "images_per_s": len(trained.history) * len(arrays.split("train")) / train_s,
    }
    conclude("fashion_mnist", figures, goals=[Goal("test_accuracy", "at least", 0.92)], binding=not options.quick)


def read(folder: Path, *, step: int = 1) -> ImageArrays:
    """Return the published files as arrays, every `step`-th image of them; a tenth of the training images is `val`."""
    images, labels, splits = [], [], []
    for name, split in (("train", "train"), ("t10k", "test")):
        images_NHW1 = _bytes(folder / f"{name}-images-idx3-ubyte.gz", offset=16).reshape(-1, 28, 28, 1)[::step]
        labels_N = _bytes(folder / f"{name}-labels-idx1-ubyte.gz", offset=8)[::step].astype(np.int64)
        splits_N = np.full(len(labels_N), split, dtype="<U5")
        if split == "train":
            for number in range(len(CLASSES)):
                splits_N[np.flatnonzero(labels_N == number)[::10]] = "val"
        images.append(images_NHW1)
        labels.append(labels_N)
        splits.append(splits_N)
    return ImageArrays(np.concatenate(images), np.concatenate(labels), np.concatenate(splits), CLASSES)


def _bytes(path: Path, *, offset: int) -> npt.NDArray[np.uint8]:
    """Return the values of an idx file, which follow a header of `offset` bytes."""
    with gzip.open(path) as file:
        return np.frombuffer(file.read(), dtype=np.uint8, offset=offset)


if __name__ == "__main__":
    main()
