"""Class activation maps of exported files against the same computation in torch, and of the variants made of a file."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from models_store.spec.quantization import StaticInt8
from models_store.tasks.explanation import CONTRIBUTIONS
from models_store.tasks.image.class_activation import with_maps
from tests.workers.colour_nets import a_net, export_net, leaves
from workers.compression.quantization.calibration import CalibrationExamples
from workers.compression.quantization.floats import halve
from workers.compression.quantization.static import quantize_static
from workers.tasks.image.net import Classifier

IMAGES = leaves().images_NHWC[:4]


def a_pooling_net(kind: str, *, size: int = 32) -> Classifier:
    net = a_net(kind, size=size, **({"dense_size": None} if kind == "small_cnn" else {}))
    torch.manual_seed(0)
    net.head.classes.weight.data.normal_(0, 1)
    return net


def maps_of(path: Path, images: np.ndarray = IMAGES) -> np.ndarray:
    graph = with_maps(path)
    assert graph is not None
    found = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"]).run(
        [CONTRIBUTIONS], {"images": images}
    )[0]
    return np.asarray(found)


def maps_of_torch(net: Classifier) -> np.ndarray:
    """Return the product of the head's weights and what the pooling takes."""
    taken: list[torch.Tensor] = []
    (pooling,) = (each for each in net.modules() if isinstance(each, torch.nn.AdaptiveAvgPool2d))
    handle = pooling.register_forward_hook(lambda _module, given, _made: taken.append(given[0]))
    with torch.no_grad():
        net(net.prepare({"images": torch.from_numpy(IMAGES)}, None))
        handle.remove()
        return torch.einsum("kc,nchw->nkhw", net.head.classes.weight, taken[0]).numpy()


def logits_of(net: Classifier, images: np.ndarray = IMAGES) -> np.ndarray:
    with torch.no_grad():
        return np.asarray(net(net.prepare({"images": torch.from_numpy(images)}, None)).numpy())


@pytest.mark.parametrize("kind", ["small_cnn", "cifar_resnet18"])
def test_the_maps_of_a_file_are_those_of_its_net(kind: str, tmp_path: Path) -> None:
    net = a_pooling_net(kind)

    maps = maps_of(export_net(net, tmp_path / "net.onnx"))

    np.testing.assert_allclose(maps, maps_of_torch(net), atol=1e-4)
    bias = net.head.classes.bias.detach().numpy()
    np.testing.assert_allclose(maps.mean(axis=(2, 3)) + bias, logits_of(net), atol=1e-4)


@pytest.mark.parametrize("kind", ["mobilenet_v2", "resnet18"])
def test_published_nets_have_maps_too(kind: str, tmp_path: Path) -> None:
    net = a_pooling_net(kind, size=64)
    larger = IMAGES.repeat(2, axis=1).repeat(2, axis=2)

    maps = maps_of(export_net(net, tmp_path / "net.onnx", size=64), larger)

    bias = net.head.classes.bias.detach().numpy()
    assert maps.shape[2:] == (2, 2)
    np.testing.assert_allclose(maps.mean(axis=(2, 3)) + bias, logits_of(net, larger), atol=1e-3)


@pytest.mark.parametrize("variant", ["fp16", "int8"])
def test_variants_of_a_file_have_nearly_the_same_maps(variant: str, tmp_path: Path) -> None:
    exported, made = export_net(a_pooling_net("cifar_resnet18"), tmp_path / "net.onnx"), tmp_path / "made.onnx"
    examples: Any = CalibrationExamples({"images": leaves().images_NHWC}, leaves().train)

    if variant == "fp16":
        halve(exported, made, kind="fp16")
    else:
        quantize_static(exported, made, part=StaticInt8(), examples=examples)

    expected, found = maps_of(exported), maps_of(made)
    assert np.abs(found - expected).max() < 0.1 * np.abs(expected).max()


def test_a_net_with_a_dense_layer_has_none(tmp_path: Path) -> None:
    assert with_maps(export_net(a_net("small_cnn", dense_size=32), tmp_path / "net.onnx")) is None
