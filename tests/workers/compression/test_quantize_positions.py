from pathlib import Path

import numpy as np
import onnx
import pytest

from models_store.spec.quantization import StaticInt8
from tests.workers.compression.tiny_graphs import Graph, some_images
from workers.compression.quantization.calibration import CalibrationExamples
from workers.compression.quantization.static import quantize_static

IMAGES = CalibrationExamples({"images": some_images()}, np.arange(24))


def float_layers(source: Path, *, activation: str = "softmax") -> list[str]:
    target = source.with_name("int8.onnx")
    facts = quantize_static(source, target, part=StaticInt8(), examples=IMAGES, activation=activation)
    return facts.float_layers


def operators_between_roundings(path: Path) -> set[str]:
    """Return the operators whose first input and first output are both rounded values."""
    graph = onnx.load(path).graph
    rounded = {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    rounding = {node.input[0] for node in graph.node if node.op_type == "QuantizeLinear"}
    return {node.op_type for node in graph.node if node.input[0] in rounded and rounding & set(node.output)}


def test_a_first_convolution_of_colours_stays_in_float(tmp_path: Path) -> None:
    graph = Graph()
    stem = graph.node("Relu", [graph.conv(graph.start, "stem", (3, 8))], "active")
    body = graph.conv(stem, "body", (8, 8))

    source = graph.answering(graph.linear(graph.pooled(body), "head", (8, 3)), tmp_path / "fp32.onnx")

    assert float_layers(source) == ["stem"]


def test_a_first_convolution_before_a_pooling_is_quantised(tmp_path: Path) -> None:
    graph = Graph()
    stem = graph.node("Relu", [graph.conv(graph.start, "stem", (3, 8))], "active")
    small = graph.node("MaxPool", [stem], "small", kernel_shape=[2, 2], strides=[2, 2])
    body = graph.conv(small, "body", (8, 8))

    source = graph.answering(graph.linear(graph.pooled(body), "head", (8, 3)), tmp_path / "fp32.onnx")

    assert float_layers(source) == []
    assert operators_between_roundings(tmp_path / "int8.onnx") >= {"MaxPool"}


@pytest.mark.parametrize("between", ["HardSwish", "Relu"])
def test_a_depthwise_convolution_stays_in_float_beside_a_swish(tmp_path: Path, between: str) -> None:
    graph = Graph()
    first = graph.node("Relu", [graph.conv(graph.start, "stem", (3, 8))], "active")
    wide = graph.node(between, [graph.conv(first, "wide", (8, 16), kernel=1)], "wide_active")
    deep = graph.node(between, [graph.conv(wide, "depthwise", (16, 16), groups=16)], "deep_active")
    narrow = graph.conv(deep, "narrow", (16, 8), kernel=1)

    source = graph.answering(graph.linear(graph.pooled(narrow), "head", (8, 3)), tmp_path / "fp32.onnx")

    assert float_layers(source) == (["stem", "depthwise"] if between == "HardSwish" else ["stem"])


@pytest.mark.parametrize("after", ["HardSwish", "Relu"])
def test_a_sum_is_quantised_when_what_it_goes_into_is(tmp_path: Path, after: str) -> None:
    graph = Graph()
    stem = graph.conv(graph.start, "stem", (3, 8))
    added = graph.node("Add", [graph.conv(stem, "left", (8, 8)), graph.conv(stem, "right", (8, 8))], "added")
    out = graph.conv(graph.node(after, [added], "after"), "out", (8, 8))
    source = graph.answering(graph.linear(graph.pooled(out), "head", (8, 3)), tmp_path / "fp32.onnx")

    float_layers(source)

    model = onnx.load(tmp_path / "int8.onnx")
    (adding,) = [node for node in model.graph.node if node.op_type == "Add"]
    rounding = {node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    assert bool(rounding & set(adding.output)) == (after == "Relu")


def test_the_layer_that_gives_numbers_stays_in_float(tmp_path: Path) -> None:
    graph = Graph()
    features = graph.pooled(graph.conv(graph.conv(graph.start, "stem", (3, 8)), "body", (8, 8)))

    source = graph.answering(graph.linear(features, "head", (8, 1)), tmp_path / "fp32.onnx", classes=1, activation=None)

    assert float_layers(source, activation="identity") == ["stem", "head"]
