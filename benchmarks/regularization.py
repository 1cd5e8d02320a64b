"""Effect of each regularizer and each group of augmentations on 500 images: its gain over the same run without it.

    python -m benchmarks.regularization [--quick] [--seeds N] [--only NAME …]

500 images of Fashion-MNIST, 50 of each class, train `small_cnn` from scratch, other ones for every seed; one more thing
is asked for in each run and nothing else changes. All runs of a seed share images, first weights and number of steps.
The gain is that of the test accuracy on the 10,000 test images, over the run without, in percentage points. Its 95 %
interval resamples the seeds and, within each, the test images. Those that don't help stand there as well.
"""

# S resamples, R runs, N test images

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from benchmarks.fashion_mnist import CLASSES, SAMPLES, read
from benchmarks.learning import Silent, learn
from benchmarks.verdict import Goal, conclude
from models_store.tasks.image.contract import IMAGE
from models_store.tasks.image.facts import ImageFacts
from models_store.tasks.image.spec import ImageSpec
from workers.training.examples import Examples

IMAGES_PER_CLASS = 50
VAL_IMAGES_PER_CLASS = 20
EPOCHS = 40
RESAMPLES = 2000
PLAIN = "nothing"
HELPFUL = 3
"""how many must have an interval above 0: that they act at all is what is shown"""

Document = dict[str, Any]
BASE: Document = {
    "name": "regularization",
    "dataset": "ds_fashionmnist",
    "input": {"size": 28, "channels": 1},
    "backbone": {"kind": "small_cnn"},
    "transfer": {},
    "augmentation": [],
    "regularizers": [],
    "loss": {"kind": "cross_entropy"},
    "optimizer": {"kind": "adamw", "lr": 1e-3, "weight_decay": 0.0},
    "schedule": {"kind": "cosine", "warmup_epochs": 1.0},
    "training": {"epochs": EPOCHS, "batch_size": 50, "monitor": "val_loss", "precision": "fp32"},
}
ASKED: Mapping[str, Document] = {
    PLAIN: {},
    "l1": {"regularizers": [{"kind": "l1", "strength": 1e-4}]},
    "l2": {"regularizers": [{"kind": "l2", "strength": 1e-2}]},
    "elastic": {"regularizers": [{"kind": "elastic", "strength": 1e-4}]},
    "weight decay": {"optimizer": {"kind": "adamw", "lr": 1e-3, "weight_decay": 0.1}},
    "dropout": {"regularizers": [{"kind": "dropout", "probability": 0.5}]},
    "label smoothing": {"loss": {"kind": "cross_entropy", "label_smoothing": 0.1}},
    "confidence penalty": {"regularizers": [{"kind": "confidence_penalty"}]},
    "max norm": {"regularizers": [{"kind": "max_norm", "limit": 0.5}]},
    "weight EMA": {"regularizers": [{"kind": "ema", "decay": 0.98}]},
    "SWA": {"regularizers": [{"kind": "swa", "start": 0.1, "lr_fraction": 0.5}]},
    "SAM": {"regularizers": [{"kind": "sam"}]},
    "early stopping": {"training": {**BASE["training"], "early_stopping": {"patience": 5}}},
    "geometry: crop": {"augmentation": [{"kind": "random_crop", "scale": 1.0, "padding": 0.07}]},
    "geometry: flip": {"augmentation": [{"kind": "random_flip"}]},
    "geometry: rotate, scale, shear": {
        "augmentation": [{"kind": "random_rotation"}, {"kind": "random_scale"}, {"kind": "random_shear"}]
    },
    "colours: jitter": {"augmentation": [{"kind": "color_jitter", "brightness": 0.3, "contrast": 0.3}]},
    "colours: blur, noise": {
        "augmentation": [{"kind": "gaussian_blur", "probability": 0.5}, {"kind": "gaussian_noise", "sigma": 0.05}]
    },
    "erasing": {"augmentation": [{"kind": "random_erasing"}]},
    "mixing: mixup": {"augmentation": [{"kind": "mixup"}]},
    "mixing: cutmix": {"augmentation": [{"kind": "cutmix"}]},
    "policy: RandAugment": {"augmentation": [{"kind": "rand_augment"}]},
    "policy: TrivialAugmentWide": {"augmentation": [{"kind": "trivial_augment_wide"}]},
    "crop, flip, erasing, EMA, smoothing": {
        "augmentation": [
            {"kind": "random_crop", "scale": 1.0, "padding": 0.07},
            {"kind": "random_flip"},
            {"kind": "random_erasing"},
        ],
        "regularizers": [{"kind": "ema", "decay": 0.98}],
        "loss": {"kind": "cross_entropy", "label_smoothing": 0.1},
    },
}

Rights = npt.NDArray[np.bool_]


def main() -> None:
    """Train each for each seed, one after the other within a seed, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one seed, two epochs, without a verdict")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each")
    parser.add_argument("--only", nargs="+", help="names of those to try")
    parser.add_argument("--data", type=Path, default=SAMPLES, help="folder of the four idx files")
    options = parser.parse_args()

    tried = [name for name in ASKED if not options.only or name in {PLAIN, *options.only}]
    whole = read(options.data)
    rights: dict[str, list[Rights]] = {name: [] for name in tried}
    for seed in range(1 if options.quick else options.seeds):
        arrays = few_of(whole, seed=seed)
        for name in tried if seed % 2 == 0 else tried[::-1]:
            rights[name].append(run(ASKED[name], arrays, seed=seed, epochs=2 if options.quick else None))
            print(f"seed {seed}  {name}: {rights[name][-1].mean():.4f}", flush=True)

    gains = {name: gain(rights[name], rights[PLAIN]) for name in tried if name != PLAIN}
    show(rights, gains)
    figures = {"accuracy without": float(np.mean(rights[PLAIN]))} | {name: mean for name, (mean, _, _) in gains.items()}
    figures["with an interval above 0"] = sum(low > 0 for _, low, _ in gains.values())
    figures["with an interval below 0"] = sum(high < 0 for _, _, high in gains.values())
    goals = [Goal("with an interval above 0", "at least", HELPFUL)]
    conclude("regularization", figures, goals=goals, binding=not (options.quick or options.only))


def few_of(whole: Examples, *, seed: int) -> Examples:
    """Return 50 training and 20 val images of each class, drawn by the seed, and all test images."""
    generator = np.random.default_rng(seed)
    kept = [whole.split("test")]
    for split, count in (("train", IMAGES_PER_CLASS), ("val", VAL_IMAGES_PER_CLASS)):
        rows = whole.split(split)
        labels = whole.targets[rows]
        kept += [generator.choice(rows[labels == number], count, replace=False) for number in range(len(CLASSES))]
    rows = np.sort(np.concatenate(kept))
    return replace(whole, inputs=whole.batch(rows), targets=whole.targets[rows], splits_N=whole.splits_N[rows])


def run(asked: Document, arrays: Examples, *, seed: int, epochs: int | None) -> Rights:
    """Return which test images are answered right after a run with one more thing than `BASE` has."""
    facts = ImageFacts(len(arrays.split("train")), dict.fromkeys(CLASSES, IMAGES_PER_CLASS), median_side=28, grey=True)
    document = BASE | asked | {"seed": seed}
    if epochs is not None:
        document["training"] = document["training"] | {"epochs": epochs, "early_stopping": None}
    spec, _ = IMAGE.resolve(ImageSpec.model_validate(document), facts)
    return learn(spec, arrays, weights_dir=Path(), reporter=Silent).right_N


def gain(treated: Sequence[Rights], plain: Sequence[Rights]) -> tuple[float, float, float]:
    """Return the mean gain in percentage points and its 95 % interval, over seeds and test images."""
    differences_RN = np.array(treated, dtype=np.int64) - np.array(plain, dtype=np.int64)
    runs, images = differences_RN.shape
    shares_R3 = np.stack([(differences_RN == value).mean(axis=1) for value in (-1, 0, 1)], axis=1)
    generator = np.random.default_rng(0)
    drawn_SR = generator.integers(runs, size=(RESAMPLES, runs))
    counts_SR3 = generator.multinomial(images, shares_R3[drawn_SR])  # drawing images is drawing their kinds
    means_S = (counts_SR3[..., 2] - counts_SR3[..., 0]).mean(axis=1) / images
    low, high = np.percentile(means_S, [2.5, 97.5])
    return 100 * float(differences_RN.mean()), 100 * float(low), 100 * float(high)


def show(rights: Mapping[str, Sequence[Rights]], gains: Mapping[str, tuple[float, float, float]]) -> None:
    """Print all of them, the most helpful first."""
    table = Table(title=f"500 training images, {len(rights[PLAIN])} seeds", title_justify="left")
    for column in ("beside nothing else", "test accuracy", "gain in points", "95 % interval", ""):
        table.add_column(column)
    table.add_row(PLAIN, f"{np.mean(rights[PLAIN]):.4f}", "", "", "")
    for name, (mean, low, high) in sorted(gains.items(), key=lambda item: -item[1][0]):
        verdict = "helps" if low > 0 else "harms" if high < 0 else "not told apart from nothing"
        table.add_row(name, f"{np.mean(rights[name]):.4f}", f"{mean:+.2f}", f"{low:+.2f} to {high:+.2f}", verdict)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
