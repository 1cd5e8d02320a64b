"""Makers of small real things that many tests need."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors.numpy import save
from sqlalchemy import insert

from models_store.settings import Settings
from models_store.storage import tables
from models_store.storage.database import Database
from models_store.tasks.image.contract import IMAGE
from models_store.tasks.image.facts import ImageFacts
from models_store.tasks.image.spec import ImageSpec, ResolvedImageSpec

DATASET_ID = "ds_0000000000"
LEAVES = ImageFacts(train_count=80, counts={"blue": 40, "red": 40}, median_side=32)


WEIGHTS = save({"w": np.ones((2, 3), np.float32)})
"""a safetensors file"""


def quick_settings(home: Path, **changes: Any) -> Settings:
    """Return settings whose waits are short, so that what takes a minute in life takes a second in a test."""
    quick = {
        "espalier_home": home,
        "beat_s": 0.2,
        "lease_s": 20,
        "beat_deadline_s": 15,
        "stop_grace_s": 10,
        "backoff_s": 0.1,
        "poll_s": 0.3,
        "reannounce_s": 2,
        "checkpoint_s": 0,
        "measure_s": 0.5,
        "device": "cpu",
    }
    return Settings(**(quick | changes))


PLAIN: dict[str, Any] = {
    "input": {"size": 32},
    "backbone": {"kind": "small_cnn"},
    "transfer": {},
    "augmentation": [],
    "regularizers": [],
    "optimizer": {"kind": "adamw"},
    "schedule": {"kind": "cosine"},
}
"""a tiny net on a small input, with nothing from the recipes that matters"""


def a_train_spec(*, facts: ImageFacts = LEAVES, **changes: Any) -> ResolvedImageSpec:
    """Return the resolved form of a plain spec."""
    document = {
        "name": "leaves",
        "dataset": DATASET_ID,
        **PLAIN,
        "training": {"epochs": 2, "batch_size": 16, "precision": "fp32"},
        "compression": None,
    }
    return IMAGE.resolve(ImageSpec.model_validate(document | changes), facts)[0]


def insert_dataset(database: Database, *, owner: str) -> None:
    """Insert the row of a dataset that no file stands behind, for tests of what happens to rows."""
    row = {"id": DATASET_ID, "owner": owner, "name": "leaves", "digest": "d" * 64}
    counts = {"train": {"x": 40, "y": 40}, "val": {"x": 5, "y": 5}, "test": {"x": 5, "y": 5}}
    card = {"classes": ["x", "y"], "counts": counts, "images": 100, "size_bytes": 100_000, "median_side": 64}
    blobs = {"content_blob": "1" * 64, "manifest_blob": "2" * 64}
    with database.write() as connection:
        connection.execute(insert(tables.dataset).values(**row, **blobs, card=card, report={}, created_at=0.0))


def a_png(*, size: tuple[int, int] = (40, 32), hue: int = 0, seed: int = 0) -> bytes:
    """Return a small noisy PNG of one dominant colour channel (`hue` 0, 1 or 2)."""
    pixels = np.random.default_rng(seed).integers(0, 120, (size[1], size[0], 3), dtype=np.uint8)
    pixels[..., hue] += 120
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def class_folders(folder: Path, *, per_class: int = 40, classes: tuple[str, ...] = ("blue", "green", "red")) -> Path:
    """Write class folders of easily told images below `folder`, and return it."""
    for hue, name in enumerate(classes):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for index in range(per_class):
            (folder / name / f"{index:04d}.png").write_bytes(a_png(hue=hue % 3, seed=1000 * hue + index))
    return folder
