"""A tiny report of made-up answers, for the tests of its making and of its way to a reader."""

from pathlib import Path
from typing import Any

import numpy as np

from models_store.targets import ONE_CLASS
from models_store.tasks.image.evaluation import ImageEvaluation
from tests.workers.evaluation.variant_cards import CARDS, DEFAULTS, NOT_MADE
from workers.evaluation import report
from workers.evaluation.calibration import activate
from workers.evaluation.pictures.canvas import Picture
from workers.evaluation.split_report import Split, SplitReport, report_on

CLASSES = ["ant", "bee & $x_1$", "<script>alert(1)</script>"]
HISTORY = [
    {"epoch": epoch, "lr": 0.1 / epoch, "train_loss": 2.0 / epoch, "val_loss": 2.1 / epoch, "val_accuracy": 0.5}
    for epoch in (1, 2, 3)
]


def answers(count: int, classes: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities (N, K) that are right more often than not, and the classes (N,)."""
    generator = np.random.default_rng(seed)
    labels_N = generator.integers(0, classes, count)
    logits_NK = generator.normal(size=(count, classes)) + 2 * np.eye(classes)[labels_N]
    return activate(logits_NK, activation="softmax"), labels_N


def a_split(name: str, outputs_NK: np.ndarray, targets: np.ndarray, **more: Any) -> Split:
    pixels = np.random.default_rng(1).integers(0, 256, (len(outputs_NK), 20, 24, 3), dtype=np.uint8)
    files = [f"leaves/{number}.png" for number in range(len(outputs_NK))]
    return Split(name, outputs_NK, targets, files=files, show=pixels.__getitem__, **more)


def examined(split: Split, classes: list[str] = CLASSES, **changes: Any) -> SplitReport:
    given = {"target": ONE_CLASS, "temperature": 1.5, "seed": 0} | changes
    wanted = given.pop("evaluation", ImageEvaluation(bootstrap_samples=100))
    return report_on(split, classes=classes, evaluation=wanted, **given)


def a_report(path: Path, *, count: int = 60) -> tuple[dict[str, Any], list[Picture]]:
    """Write a report of three classes to `path`; return its document and pictures."""
    splits = {name: examined(a_split(name, *answers(count, 3, seed=seed))) for seed, name in enumerate(("val", "test"))}
    document, pictures = report.assemble(
        {
            "job": "job_01hzx3v7k2",
            "model": "leaves",
            "task": "image_classification",
            "backbone": "small_cnn",
            "dataset": "ds_0000000000",
            "classes": CLASSES,
            "monitor": "val_loss",
        },
        splits,
        history=HISTORY,
        best_epoch=2,
        temperature={"value": 1.5, "loss_before": 1.0, "loss_after": 0.9, "reason": None},
        made=CARDS,
        defaults=DEFAULTS,
        not_made=NOT_MADE,
    )
    report.write(path, document, pictures)
    return document, pictures
