"""Nets that every server serves: made by the real export with random weights, and published into a fresh home."""

# N images, H height, W width, C channel

import shutil
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import onnx
import torch
from PIL import Image
from pydantic import TypeAdapter
from sqlalchemy import update
from torch import nn

from benchmarks.backbones import settle
from benchmarks.home import Opened, home
from models_store.jobs import claims, submissions
from models_store.models import publish
from models_store.models.registry import Variant
from models_store.storage import tables
from models_store.tasks.image.backbones.backbone import Backbone
from models_store.tasks.image.backbones.network import Network
from models_store.tasks.image.contract import IMAGE
from models_store.tasks.image.spec import ImageSpec
from workers.export.graph import export
from workers.tasks.image import backbones
from workers.tasks.image.served import served

SAMPLE = Path(__file__).parent.parent.parent / "samples" / "demo.zip"
OWNER = "local"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Net:
    """A net to serve, and the JPEG that is asked about."""

    name: str
    backbone: str
    size: int
    classes: int
    picture: tuple[int, int]
    """width and height of the JPEG"""
    peer_batch: int
    """largest batch of the peers: on a CPU a larger one gains nothing, and leaves their other worker idle"""
    share: float
    """of `--seconds` that one measurement takes: many answers need less time"""

    @property
    def labels(self) -> list[str]:
        """Return the names of its classes."""
        return [f"class_{number:04}" for number in range(self.classes)]

    def jpeg(self) -> bytes:
        """Return a JPEG of coarse shapes under fine grain, as a photograph has them."""
        random = np.random.default_rng(0)
        width, height = self.picture
        coarse = Image.fromarray(random.integers(0, 255, (12, 16, 3), dtype=np.uint8))
        grain = random.integers(-12, 13, (height, width, 1))
        pixels = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=np.int16) + grain
        file = BytesIO()
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=87)
        return file.getvalue()


NETS = {
    net.name: net
    for net in (
        Net("mobilenet-v2", "mobilenet_v2", 224, 1000, (500, 375), peer_batch=4, share=1.0),
        Net("tiny", "small_cnn", 28, 10, (28, 28), peer_batch=32, share=0.5),
    )
}


def write(net: Net, path: Path) -> Path:
    """Export a net with random weights and settled norms to an ONNX file that takes uint8 images."""
    torch.manual_seed(0)
    part = TypeAdapter[Network](Backbone).validate_python({"kind": net.backbone, "weights": None})
    backbone = backbones.build(part, size=net.size, channels=3, weights_dir=Path("unused"))
    head = nn.Linear(backbone.feature_count, net.classes)
    settle(backbone.net, head, torch.randn(4, 3, net.size, net.size))
    whole = served(nn.Sequential(backbone.net, head).eval(), mean=MEAN, std=STD, size=net.size)
    export(whole, opset=20, labels=net.labels, card={}, path=path)
    return path


def numbered(file: Path, number: int) -> Path:
    """Write a file of the same net with other bytes, so that it is loaded as a model of its own."""
    model = onnx.load(file)
    onnx.helper.set_model_props(
        model, {each.key: each.value for each in model.metadata_props} | {"number": str(number)}
    )
    path = file.with_name(f"{file.stem}-{number}.onnx")
    onnx.save(model, path)
    return path


def published(folder: Path, nets: dict[str, Path]) -> Path:
    """Publish the files, net → path, into a fresh home below `folder`, and return the home."""
    with home(folder) as store:
        opened = store.open(SAMPLE, owner=OWNER)
        for name, path in nets.items():
            publish_file(opened, NETS[name], path, model=name)
    return folder / "home"


def publish_file(opened: Opened, net: Net, path: Path, *, model: str) -> int:
    """Publish a file as the next version of a model, as a finished job does; return the version."""
    store, asked = opened.home, {"name": model, "dataset": opened.dataset.id}
    spec, _ = IMAGE.resolve(ImageSpec.model_validate(asked), opened.facts)
    job, _ = submissions.submit(store.database, owner=OWNER, spec=spec, settings=store.settings)
    with store.database.write() as connection:
        connection.execute(update(tables.job).where(tables.job.c.id == job.id).values(state="running"))
    blob = store.blobs.put(Path(shutil.copy(path, path.with_suffix(".copy"))))  # the store takes its file away
    figures = {"accuracy": {"val": 0.9, "test": 0.9}, "speedup": 1.0, "accepted": True, "reasons": []}
    variant_card = {"kind": "fp32", "parent": None, "measured": {"cpu": figures}}
    variant = Variant("fp32", blob.sha256, blob.size_bytes, variant_card, accepted=True)
    card = {
        "task": "image_classification",
        "labels": net.labels,
        "input": {"size": net.size, "channels": 3, "fit": "crop"},
        "metrics": {"test": {"accuracy": 0.9}},
    }
    publication = publish.Publication(card, "fp32", [variant], defaults={"cpu": "fp32"})
    return publish.publish(store.database, claims.Claim(job, job.fence), publication)
