"""Fashion-MNIST by the real loop: at least 0.94 on test within 15 minutes on two cores; and the best by a long run.

    python -m benchmarks.fashion_mnist [--quick | --long] [--data DIR]

DIR holds the four published files (`train-images-idx3-ubyte.gz`, …). A tenth of the 60,000 training images, drawn
evenly over the classes, is the validation split that picks the best epoch; the 10,000 test images are looked at once.
`--long` takes half an hour: the same net for 40 epochs, with erasing and averaged weights. Published, by the authors'
list: two convolutions with batch normalisation 0.934, ResNet-18 0.949, MobileNet 0.950, WRN-40-4 0.967, people 0.835.
"""

import argparse
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.learning import device, learn
from benchmarks.verdict import Goal, conclude
from models_store.tasks.image.contract import IMAGE
from models_store.tasks.image.facts import ImageFacts
from models_store.tasks.image.spec import ImageSpec
from workers.training.examples import Examples

SAMPLES = Path(__file__).parent.parent / "samples" / "fashion-mnist"
CLASSES = ["T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
QUICK_STEP = 30  # every so many images are used by a quick run
LIMIT_S = 900.0

Document = dict[str, Any]
SHORT: Document = {
    "name": "fashion-mnist",
    "dataset": "ds_fashionmnist",
    "input": {"size": 28, "channels": 1},
    "backbone": {"kind": "small_cnn", "widths": [48, 96, 192], "depth": 2, "dense_size": None},
    "augmentation": [{"kind": "random_crop", "scale": 1.0, "padding": 0.07}, {"kind": "random_flip"}],
    "regularizers": [{"kind": "dropout", "probability": 0.2}],
    "loss": {"kind": "cross_entropy", "label_smoothing": 0.1},
    "optimizer": {"kind": "adamw", "lr": 3e-3, "weight_decay": 0.05},
    "schedule": {"kind": "one_cycle", "rise_share": 0.25},
    "training": {"epochs": 12, "batch_size": 128, "monitor": "val_accuracy"},
}
LONG: Document = SHORT | {
    "augmentation": [*SHORT["augmentation"], {"kind": "random_erasing"}],
    "regularizers": [*SHORT["regularizers"], {"kind": "ema", "decay": 0.999}],
    "training": SHORT["training"] | {"epochs": 40},
}


def main() -> None:
    """Train, evaluate and judge."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    how_long = parser.add_mutually_exclusive_group()
    how_long.add_argument("--quick", action="store_true", help="one epoch on a few images, without a verdict")
    how_long.add_argument("--long", action="store_true", help="the best accuracy, whatever the time")
    parser.add_argument("--data", type=Path, default=SAMPLES, help="folder of the four idx files")
    options = parser.parse_args()

    arrays = read(options.data, step=QUICK_STEP if options.quick else 1)
    asked = LONG if options.long else SHORT
    if options.quick:
        asked = asked | {"training": asked["training"] | {"epochs": 1}}
    train_count = len(arrays.split("train"))
    facts = ImageFacts(train_count, dict.fromkeys(CLASSES, train_count // len(CLASSES)), median_side=28, grey=True)
    spec, _ = IMAGE.resolve(ImageSpec.model_validate(asked), facts)
    judged = learn(spec, arrays, weights_dir=Path())
    print(f"{judged.precision} on {device().type}, {torch.get_num_threads()} threads, best epoch {judged.best_epoch}")
    figures = {
        "test_accuracy": judged.accuracy,
        "test_accuracy_low": judged.interval[0],
        "test_accuracy_high": judged.interval[1],
        "test_loss": judged.loss,
        "train_s": judged.train_s,
        "images_per_s": spec.training.epochs * train_count / judged.train_s,
    }
    goals = [Goal("test_accuracy", "at least", 0.94)]
    if not options.long:
        goals.append(Goal("train_s", "at most", LIMIT_S))
    conclude("fashion_mnist", figures, goals=goals, binding=not options.quick)


def read(folder: Path, *, step: int = 1) -> Examples:
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
    return Examples({"images": np.concatenate(images)}, np.concatenate(labels), np.concatenate(splits), CLASSES)


def _bytes(path: Path, *, offset: int) -> npt.NDArray[np.uint8]:
    """Return the values of an idx file, which follow a header of `offset` bytes."""
    with gzip.open(path) as file:
        return np.frombuffer(file.read(), dtype=np.uint8, offset=offset)


if __name__ == "__main__":
    main()
