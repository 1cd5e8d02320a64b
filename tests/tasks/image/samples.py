"""Images of a class, with labels and with a number, for the tests of every task."""

import base64

from tests.samples import a_png
from tests.tasks.samples import Sample

COUNT = 60
RED = a_png(hue=0, size=(20, 20), seed=COUNT)
SMALL = {
    "input": {"size": 16},
    "backbone": {"kind": "small_cnn", "widths": [8, 16], "depth": 1, "dense_size": None},
    "augmentation": [],
}


def with_a_class() -> dict[str, bytes]:
    return {
        f"{'red' if row % 2 else 'blue'}/{row}.png": a_png(hue=0 if row % 2 else 2, seed=row) for row in range(COUNT)
    }


def with_a_table(column: str, cells: tuple[str, str]) -> dict[str, bytes]:
    rows = [f"{row}.png,{cells[row % 2]}" for row in range(COUNT)]
    images = {f"{row}.png": a_png(hue=0 if row % 2 else 2, seed=row) for row in range(COUNT)}
    return images | {"labels.csv": "\n".join([f"file,{column}", *rows]).encode()}


def with_labels() -> dict[str, bytes]:
    return with_a_table("labels", ("blue;dark", "red"))


def with_a_number() -> dict[str, bytes]:
    return with_a_table("value", ("-1.5", "1.5"))


TEXT, FILE = base64.b64encode(RED).decode(), ("red.png", RED)
SAMPLES = {
    "image_classification": Sample(with_a_class, TEXT, FILE, SMALL, RED[: len(RED) // 2]),
    "multilabel_classification": Sample(with_labels, TEXT, FILE, SMALL, RED[: len(RED) // 2]),
    "image_regression": Sample(with_a_number, TEXT, FILE, SMALL, RED[: len(RED) // 2]),
}
