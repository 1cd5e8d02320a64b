"""Weights in fewer bits, computing in float: the file gets smaller, and the work stays the same."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from models_store.spec.quantization import WeightsInt4
from models_store.wording import counted
from workers.compression.facts import Quantized
from workers.compression.quantization import graphs, tables
from workers.compression.quantization.failures import QuantizationImpossible
from workers.compression.quantization.tables import rounded

if TYPE_CHECKING:  # torch is not needed here
    from models_store.targets import Activation

LEAST_SHARE = 0.1  # of a net's weights that linear layers hold, or 4 bits of them change next to nothing


def round_weights_to_8_bits(source: Path, target: Path, *, most_bytes: int | None = None) -> Quantized:
    """Write the variant with 8-bit weights, a scale per output channel, and return what was done to it.

    Each is a cast and a product, which onnxruntime does once, when it loads the file. A DequantizeLinear it does at
    every call: an EfficientNet-Lite0 then took three times as long as in fp32. Rows of embeddings are looked up in 8
    bits (see `tables`); those that weigh least leave until the file has `most_bytes` at most.

    Raises:
        QuantizationImpossible: if a weight is not a finite number, or onnxruntime can't read the graph, or no file of
            that size can be made.
    """
    with graphs.prepared(source, beside=target) as prepared:
        model = onnx.load(prepared)
    layers = graphs.layers(model.graph)
    _round_layers(model.graph, layers)
    found = tables.of(model.graph)
    rows = sum(table.rows for table in found)
    kept = rows
    if most_bytes is None:
        tables.round_to_8_bits(model.graph, found)
        graphs.save(model, target, source=source)
    else:
        kept = tables.fit(model, found, target, source=source, most_bytes=most_bytes)
    return Quantized(
        layers=len(layers) + len(found),
        float_layers=[],
        size_only=True,
        rows=rows if most_bytes else None,
        rows_kept=kept if most_bytes else None,
    )


def _round_layers(graph: onnx.GraphProto, layers: Sequence[onnx.NodeProto]) -> None:
    axes = {node.input[1]: _output_axis(node) for node in layers}
    axes |= {node.input[2]: 1 for node in layers if node.op_type in graphs.RECURRENT}
    floats = [tensor for tensor in graph.initializer if tensor.name in axes]
    kept = [tensor for tensor in graph.initializer if tensor.name not in axes]
    nodes = list(graph.node)
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept)
    for tensor in floats:
        values, scale = rounded(numpy_helper.to_array(tensor), axis=axes[tensor.name])
        names = [f"{tensor.name}_{part}" for part in ("int8", "scale", "float")]
        graph.initializer.extend(
            [
                numpy_helper.from_array(values, names[0]),
                numpy_helper.from_array(scale, names[1]),
            ]
        )
        graph.node.extend(
            [
                onnx.helper.make_node("Cast", [names[0]], [names[2]], to=onnx.TensorProto.FLOAT),
                onnx.helper.make_node("Mul", [names[2], names[1]], [tensor.name]),
            ]
        )
    graph.node.extend(nodes)


def round_weights_to_4_bits(
    source: Path, target: Path, *, part: WeightsInt4, activation: "Activation" = "softmax"
) -> Quantized:
    """Write the variant with 4-bit weights in linear layers, and return what was done to it.

    For numbers the last layer stays in float, and so does one with fewer inputs than a block.

    Raises:
        QuantizationImpossible: if there is no linear layer of that size, or those there are hold next to nothing.
    """
    with graphs.prepared(source, beside=target) as prepared:
        model = graphs.without_gemm(onnx.load(prepared))
    kept = graphs.outside(model.graph, activation)
    sizes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    layers = graphs.layers(model.graph)
    linear = [node for node in layers if node.op_type == "MatMul" and node.name not in kept]
    fitting = [node for node in linear if sizes[node.input[1]][-2] >= part.block_size]
    total = sum(np.prod(sizes[node.input[1]]) for node in layers)
    share = sum(np.prod(sizes[node.input[1]]) for node in fitting) / total if layers else 0.0
    if share < LEAST_SHARE:
        raise QuantizationImpossible(
            f"4-bit weights are for linear layers with at least {part.block_size} inputs (`block_size`), and those "
            f"hold {100 * share:.1f} % of this net's weights ({len(fitting)} of {counted(len(layers), 'layer')}); at "
            f"least {100 * LEAST_SHARE:g} % makes sense: take `weights_int8`, or a backbone of linear layers"
        )
    chosen = {node.name for node in fitting}
    matrices = {
        tensor.name: tensor for tensor in model.graph.initializer if tensor.name in {n.input[1] for n in fitting}
    }
    for node in fitting:
        packed, scale = _packed(numpy_helper.to_array(matrices[node.input[1]]), block_size=part.block_size)
        given, weights = node.input
        inputs, outputs = sizes[weights]
        names = [f"{weights}_int4", f"{weights}_scale"]
        model.graph.initializer.extend(
            [
                numpy_helper.from_array(packed, names[0]),
                numpy_helper.from_array(scale, names[1]),
            ]
        )
        node.CopyFrom(
            onnx.helper.make_node(
                "MatMulNBits", [given, *names], list(node.output), node.name, domain=graphs.CONTRIBUTED,
                K=inputs, N=outputs, bits=4, block_size=part.block_size,
            )
        )  # fmt: skip
    graphs.save(model, target, source=source)
    return Quantized(
        layers=len(layers),
        float_layers=[graphs.layer_name(node) for node in layers if node.name not in chosen],
        block_size=part.block_size,
        size_only=True,
    )


def _output_axis(node: onnx.NodeProto) -> int:
    """Return the axis of a layer's weights along which its output channels lie."""
    if node.op_type == "Conv":
        return 0
    if node.op_type == "Gemm":
        return 0 if any(attribute.name == "transB" and attribute.i for attribute in node.attribute) else 1
    return 1  # of a transposed convolution (of one group), a product's right side, and a recurrent layer's gates


def _packed(weights_KN: NDArray[np.float32], *, block_size: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return the weights as `MatMulNBits` holds them, uint8 (N, blocks, block_size / 2), and the scales (N, blocks).

    Of a pair of weights the first is the low half of the byte; 8 stands for zero. The largest weight of a block is
    exact: it takes the lowest of the 16 steps, and the scale its sign.
    """
    inputs, outputs = weights_KN.shape
    blocks = -(-inputs // block_size)
    padded_NK = np.pad(weights_KN.T, ((0, 0), (0, blocks * block_size - inputs)))
    blocks_NBS = padded_NK.reshape(outputs, blocks, block_size)
    places = np.abs(blocks_NBS).argmax(axis=2, keepdims=True)
    scale = np.take_along_axis(blocks_NBS, places, axis=2) / -8
    steps = np.rint(blocks_NBS / np.where(scale == 0, 1, scale)) + 8
    nibbles = np.clip(steps, 0, 15).astype(np.uint8)
    return nibbles[..., ::2] | (nibbles[..., 1::2] << 4), scale[..., 0].astype(np.float32)
