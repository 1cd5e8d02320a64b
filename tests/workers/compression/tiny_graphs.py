"""ONNX files of a few nodes, made by hand in milliseconds: uint8 images in, probabilities out."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SIZE = 8


class Graph:
    """Grows node by node; each method returns the name of its output."""

    def __init__(self, *, channels: int = 3, seed: int = 0) -> None:
        self._random = np.random.default_rng(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[TensorProto] = []
        self._channels = channels
        as_float = self.node("Cast", ["images"], "as_float", to=TensorProto.FLOAT)
        scaled = self.node("Mul", [as_float, self.constant("scale", np.float32(1 / 255))], "scaled")
        self.start = self.node("Transpose", [scaled], "planes", perm=[0, 3, 1, 2])

    def node(self, kind: str, inputs: Sequence[str], output: str, **attributes: object) -> str:
        self._nodes.append(helper.make_node(kind, list(inputs), [output], f"node_{output}", **attributes))
        return output

    def constant(self, name: str, values: NDArray[np.generic] | np.generic) -> str:
        self._weights.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def weights(self, name: str, *shape: int, fan_in: int) -> str:
        values = self._random.normal(size=shape) * np.sqrt(2 / fan_in)
        return self.constant(f"classifier.{name}.weight", values.astype(np.float32))

    def conv(self, source: str, name: str, channels: tuple[int, int], *, kernel: int = 3, groups: int = 1) -> str:
        inputs, outputs = channels
        shape = (outputs, inputs // groups, kernel, kernel)
        weights = self.weights(name, *shape, fan_in=shape[1] * kernel**2)
        return self.node("Conv", [source, weights], name, pads=[kernel // 2] * 4, group=groups)

    def linear(self, source: str, name: str, features: tuple[int, int]) -> str:
        inputs, outputs = features
        weights = self.weights(name, outputs, inputs, fan_in=inputs)
        bias = self.constant(f"classifier.{name}.bias", np.linspace(-0.1, 0.1, outputs, dtype=np.float32))
        return self.node("Gemm", [source, weights, bias], name, transB=1)

    def pooled(self, source: str) -> str:
        return self.node("Flatten", [self.node("GlobalAveragePool", [source], "mean")], "features")

    def answering(self, logits: str, path: Path, *, classes: int = 3, activation: str | None = "Softmax") -> Path:
        if activation is None:
            self.node("Identity", [logits], "probabilities")
        else:
            self.node(activation, [logits], "probabilities")
        images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", SIZE, SIZE, self._channels])
        answers = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", classes])
        graph = helper.make_graph(self._nodes, "tiny", [images], [answers], self._weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        helper.set_model_props(model, {"espalier.labels": '["blue", "green", "red"]', "espalier.card": "{}"})
        onnx.checker.check_model(model, full_check=True)
        onnx.save_model(model, path)
        return path


def some_images(count: int = 24, *, channels: int = 3, seed: int = 0) -> NDArray[np.uint8]:
    """Return smooth noise: bright and dark images, each with a slope."""
    random = np.random.default_rng(seed)
    slope_HW = np.linspace(-1, 1, SIZE)[:, None] * np.linspace(-1, 1, SIZE)[None, :]
    level_N = random.uniform(60, 200, count)
    images = level_N[:, None, None, None] + 40 * slope_HW[None, :, :, None] * random.normal(
        size=(count, 1, 1, channels)
    )
    return np.clip(images + random.normal(size=(count, SIZE, SIZE, channels)) * 8, 0, 255).astype(np.uint8)
