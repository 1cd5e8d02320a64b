"""Defaults alone: an archive and a name, nothing else, and what comes out on the archive's test images.

    python -m benchmarks.defaults [--quick] [--seeds N] [--hymenoptera ZIP] [--archive ZIP …] [--only NAME …]

Each archive is taken in as an upload is; the recipe chosen for it is printed. PneumoniaMNIST and 5,000 images of
Fashion-MNIST ship with the project. The ants and bees of PyTorch's transfer-learning tutorial don't, for want of a
licence: `--hymenoptera` names a zip of its class folders. `--archive` adds any other archive, without a goal. With
several seeds the figure is their mean, and the lowest and the highest are shown.
"""

import argparse
import tempfile
import zipfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.home import Opened, home
from benchmarks.learning import Judged, Silent, learn
from benchmarks.verdict import Goal, conclude
from models_store.tasks.image.contract import IMAGE
from models_store.tasks.image.spec import ImageSpec, ResolvedImageSpec, of_images

SAMPLES = Path(__file__).parent.parent / "samples"
PNEUMONIA = SAMPLES / "pneumonia" / "pneumoniamnist.npz"
FASHION = SAMPLES / "fashion-mnist" / "fashion_mnist_5k.zip"
PUBLISHED = {
    "hymenoptera": "ResNet-18 fine-tuned 0.94 to 0.96",
    "pneumonia": "ResNet-18 0.854 at 28 px, 0.911 at 224 px",
    "fashion_mnist_5k": "of the whole set: two convolutions and BN 0.934, ResNet-18 0.949",
}
GOALS = {"hymenoptera": 0.96, "pneumonia": 0.90}


def main() -> None:
    """Train on each archive with defaults alone, and judge."""
    options = _options()
    with tempfile.TemporaryDirectory() as folder, home(Path(folder)) as store:
        archives = _archives(options, Path(folder))
        results: dict[str, list[Judged]] = {}
        for name, archive in archives.items():
            opened = store.open(archive)
            results[name] = [_judged(opened, seed=seed, quick=options.quick) for seed in range(options.seeds)]
    _show(results)
    figures = {
        f"{name}_{figure}": value
        for name, judged in results.items()
        for figure, value in (
            ("test_accuracy", float(np.mean([each.accuracy for each in judged]))),
            ("test_balanced_accuracy", float(np.mean([each.balanced_accuracy for each in judged]))),
            ("train_s", float(np.mean([each.train_s for each in judged]))),
        )
    }
    goals = [Goal(f"{name}_test_accuracy", "at least", least) for name, least in GOALS.items() if name in results]
    conclude("defaults", figures, goals=goals, binding=not options.quick)


def pneumonia_archive(source: Path, target: Path) -> Path:
    """Write MedMNIST's arrays as a zip of `pneumonia/<split>/<class>/<number>.png`, and return it."""
    arrays = np.load(source)
    with zipfile.ZipFile(target, "w") as archive:
        for split in ("train", "val", "test"):
            labels_N = arrays[f"{split}_labels"].ravel()
            for number, (image_HW, label) in enumerate(zip(arrays[f"{split}_images"], labels_N, strict=True)):
                file = BytesIO()
                Image.fromarray(image_HW).save(file, "PNG")
                folder = ("normal", "pneumonia")[int(label)]
                archive.writestr(f"pneumonia/{split}/{folder}/{number:05}.png", file.getvalue())
    return target


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one epoch each, without a verdict")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each archive")
    parser.add_argument("--hymenoptera", type=Path, help="zip of the ants and bees")
    parser.add_argument("--archive", type=Path, action="append", default=[], help="any other archive; may be repeated")
    parser.add_argument("--only", nargs="+", help="names of the archives to train on")
    return parser.parse_args()


def _archives(options: argparse.Namespace, folder: Path) -> dict[str, Path]:
    archives = {"hymenoptera": options.hymenoptera} if options.hymenoptera else {}
    archives["pneumonia"] = pneumonia_archive(PNEUMONIA, folder / "pneumonia.zip")
    archives["fashion_mnist_5k"] = FASHION
    archives |= {path.stem: path for path in options.archive}
    return {name: path for name, path in archives.items() if not options.only or name in options.only}


def _judged(opened: Opened, *, seed: int, quick: bool) -> Judged:
    asked = {"name": "defaults", "dataset": opened.dataset.id, "seed": seed}
    spec, warnings = IMAGE.resolve(
        ImageSpec.model_validate(asked | ({"training": {"epochs": 1}} if quick else {})), opened.facts
    )
    spec = of_images(spec)
    _tell(opened, spec, warnings)
    return learn(spec, opened.arrays(spec), weights_dir=opened.home.settings.scratch, reporter=Silent)


def _tell(opened: Opened, spec: ResolvedImageSpec, warnings: Sequence[str]) -> None:
    changes = ", ".join(part.kind for part in spec.augmentation) or "no augmentation"
    print(
        f"{opened.dataset.name}: {opened.facts.train_count} training images of {opened.facts.median_side} px → "
        f"{spec.backbone.kind} at {spec.input.size} px, freeze {spec.backbone.freeze}, "
        f"{spec.transfer.probe_epochs} + {spec.training.epochs} epochs, {changes}, seed {spec.seed}",
        *warnings,
        sep="\n  ",
        flush=True,
    )


def _show(results: dict[str, list[Judged]]) -> None:
    table = Table(title="defaults alone, test images", title_justify="left")
    spread = ("95 % interval (first seed)", "lowest to highest", "best epochs")
    for column in ("data", "accuracy", *spread, "seconds", "published"):
        table.add_column(column)
    for name, judged in results.items():
        accuracies = [each.accuracy for each in judged]
        low, high = judged[0].interval
        table.add_row(
            name,
            f"{np.mean(accuracies):.4f}",
            f"{low:.4f} to {high:.4f}",
            f"{min(accuracies):.4f} to {max(accuracies):.4f} of {len(judged)}",
            ", ".join(str(each.best_epoch) for each in judged),
            f"{np.mean([each.train_s for each in judged]):,.0f}",
            PUBLISHED.get(name, ""),
        )
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
