"""Choice of a graph's operators that work in 8 bits. An operator that gains nothing costs a conversion each way.

Measured with onnxruntime 1.31 on AVX-512 VNNI, in milliseconds of one thread: a convolution of three channels takes
0.40 in 8 bits and 0.19 in float, a depthwise one as long as in float, and one of 1x1 with hundreds of channels a third.
"""

from typing import TYPE_CHECKING

import onnx

from workers.compression.quantization import graphs

if TYPE_CHECKING:  # torch is not needed here
    from models_store.targets import Activation

QUANTISED = (
    *graphs.CONVOLUTIONS, *graphs.LINEAR, "Add", "Relu", "Clip", "MaxPool", "AveragePool", "GlobalAveragePool",
    "Concat", "Reshape", "Flatten",
)  # fmt: skip
FUSED = ("Relu", "Clip")  # what a layer in 8 bits does in passing, by the range of its output
POOLING = ("MaxPool", "AveragePool")
MERGING = ("Add", "Concat")
FEW_CHANNELS = 4


def kept_in_float(graph: onnx.GraphProto, activation: "Activation") -> set[str]:
    """Return the nodes that stay in float in every 8-bit variant. Nodes are in topological order.

    They are the preprocessing before the first layer with weights; for numbers all from the last layer on, which in 8
    bits could give 256 numbers, and none beyond those of the calibration data; a first convolution of a few channels,
    unless a pooling follows, which in float is slower still; a depthwise convolution next to what is in float anyway,
    as a swish is; and a sum that goes into what is in float, as a transformer's residuals go into layer norms, or adds
    a bias to a product.
    """
    kept = graphs.outside(graph, activation)
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    producers = {name: node for node in graph.node for name in node.output}
    consumers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            consumers.setdefault(name, []).append(node)

    def in_float(node: onnx.NodeProto) -> bool:
        return node.op_type not in QUANTISED or node.name in kept

    layers = [layer for layer in graphs.layers(graph) if layer.name not in kept]
    for layer in (layer for layer in layers if layer.op_type == "Conv"):
        shape = shapes[layer.input[1]]
        fused = [node for node in consumers[layer.output[0]] if node.op_type in FUSED]
        after = [each for node in (fused or [layer]) for each in consumers.get(node.output[0], [])]
        if layer is layers[0]:
            useless = shape[1] <= FEW_CHANNELS and not any(node.op_type in POOLING for node in after)
        else:
            neighbours = [producers[layer.input[0]], *after]
            useless = _is_depthwise(layer, shape) and any(in_float(node) for node in neighbours)
        if useless:
            kept |= {layer.name, *(node.name for node in fused)}
    for node in graph.node:
        if node.op_type == "Add" and (
            any(in_float(each) for each in consumers.get(node.output[0], []))
            or any(name in shapes for name in node.input)
        ):
            kept.add(node.name)
    return kept


def left_in_float(graph: onnx.GraphProto, layers: set[str]) -> set[str]:
    """Return `layers` and the operators that stay in float with them.

    Those are what passes on a layer's values (an activation) and the sum or concatenation that they go into, with what
    passes on that: rounded there, a layer in float would gain nothing. A pooling stays in 8 bits, which is exact on
    rounded values and faster; the next sum is its own.
    """
    weighted = {node.name for node in graphs.layers(graph)}
    origins: dict[str, str] = {}  # tensor → "layer" or "merged", where what it comes from is in float
    found = set(layers)
    for node in graph.node:
        given = {origins[name] for name in node.input if name in origins}
        if node.name in layers:
            origin = "layer"
        elif node.name in weighted or not given:
            continue
        elif node.op_type in MERGING and "layer" in given:
            origin = "merged"
        elif node.op_type in FUSED:
            origin = given.pop()
        else:
            continue
        found.add(node.name)
        origins |= dict.fromkeys(node.output, origin)
    return found


def _is_depthwise(layer: onnx.NodeProto, shape: tuple[int, ...]) -> bool:
    groups = next((attribute.i for attribute in layer.attribute if attribute.name == "group"), 1)
    return groups > 1 and shape[1] == 1
