"""A tiny real task for the export and compression tests: PNGs of three colours, and a net that has learned them."""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from models_store.settings import Settings
from models_store.targets import Activation
from models_store.tasks.image import codec
from models_store.tasks.image.codec import ImageCodec
from models_store.tasks.image.input import Input
from tests.samples import a_png, a_train_spec
from workers.export.graph import export
from workers.tasks.image.net import Classifier, build
from workers.tasks.image.served import served

SIZE = 32
LABELS = ["blue", "green", "red"]
DECODING = Input(size=SIZE)
CODEC = ImageCodec.of(DECODING.model_dump(mode="json"), Settings())
CARD = {"task": "image_classification", "note": "für alle"}
IMAGES = 96


@dataclass(frozen=True)
class Leaves:
    files: list[bytes]
    images_NHWC: NDArray[np.uint8]  # noqa: N815  the shape is part of the name
    labels_N: NDArray[np.int64]  # noqa: N815  the shape is part of the name

    @property
    def train(self) -> NDArray[np.int64]:
        return np.arange(0, 60)

    @property
    def val(self) -> NDArray[np.int64]:
        return np.arange(60, IMAGES)


@functools.cache
def leaves() -> Leaves:
    labels_N = np.arange(IMAGES) % len(LABELS)
    files = [a_png(hue=int(label), seed=number) for number, label in enumerate(labels_N)]
    arrays = [codec.decode(data, size=SIZE, channels=3, fit="crop") for data in files]
    return Leaves(files, np.stack(arrays), labels_N.astype(np.int64))


def a_net(kind: str = "small_cnn", *, size: int = SIZE, **backbone: object) -> Classifier:
    """Return an untrained net of the repository's own."""
    spec = a_train_spec(
        input={"size": size}, backbone={"kind": kind, "weights": None, "freeze": "none", **backbone}, seed=3
    )
    return build(spec, class_count=len(LABELS), weights_dir=Path("unused")).eval()


@functools.cache
def _learned_state() -> dict[str, torch.Tensor]:
    net, data = a_net().train(), leaves()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    inputs = net.prepare({"images": torch.from_numpy(data.images_NHWC[data.train])}, None)
    labels = torch.from_numpy(data.labels_N[data.train])
    for _ in range(8):
        optimizer.zero_grad()
        functional.cross_entropy(net(inputs), labels).backward()
        optimizer.step()
    return net.state_dict()


def a_learned_net() -> Classifier:
    """Return a small CNN that has learned the colours; each call gives one of its own."""
    net = a_net()
    net.load_state_dict(_learned_state())
    return net


def torch_probabilities(net: Classifier, images_NHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
    with torch.no_grad():
        return net(net.prepare({"images": torch.from_numpy(images_NHWC)}, None)).softmax(dim=1).numpy()


def export_net(
    net: Classifier, path: Path, *, size: int = SIZE, opset: int = 20, activation: Activation = "softmax"
) -> Path:
    export(
        served(net, mean=net.mean, std=net.std, size=size, activation=activation),
        opset=opset,
        labels=LABELS,
        card=CARD,
        path=path,
    )
    return path
