"""Conversion of fp32 ONNX to 16-bit floats: IEEE half, or bfloat16 (Kalamkar et al. 2019, arXiv:1905.12322).

Done here, tensor by tensor, not by a library's converter: those know half alone, and a bfloat16 file runs only where
each of its operators has such a kernel. What has none stays in float32 between two casts. So do the preprocessing
before the first layer with weights and what comes after the last one: temperature, softmax, a number's unit.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from workers.compression.facts import Quantized
from workers.compression.quantization import graphs
from workers.compression.quantization.failures import QuantizationImpossible, explaining_errors

Kind = Literal["fp16", "bf16"]

# operators that onnxruntime's CUDA provider has in bfloat16 (its list of kernels, docs/OperatorKernels.md)
IN_BF16 = frozenset({
    "Add", "AveragePool", "Concat", "Conv", "Div", "Erf", "Exp", "Expand", "Flatten", "Gather", "Gelu", "Gemm",
    "HardSigmoid", "HardSwish", "Identity", "LayerNormalization", "MatMul", "Mul", "Neg", "Relu", "Reshape", "Shape",
    "Sigmoid", "Slice", "Softmax", "Split", "Sqrt", "Squeeze", "Sub", "Tanh", "Transpose", "Unsqueeze",
})  # fmt: skip
IN_FP16 = IN_BF16 | {
    "BatchNormalization", "Clip", "ConvTranspose", "Elu", "GlobalAveragePool", "GlobalMaxPool", "InstanceNormalization",
    "LeakyRelu", "Max", "MaxPool", "Min", "PRelu", "Pad", "Pow", "ReduceMean", "ReduceSum", "Softplus",
}  # fmt: skip
TYPES = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
OPERATORS = {"fp16": IN_FP16, "bf16": IN_BF16}
BF16_OPSET = 22  # the first in which convolutions may be bfloat16


def halve(source: Path, target: Path, *, kind: Kind) -> Quantized:
    """Write the variant to `target`, and return what was done to it. Its inputs and outputs stay as they are.

    Raises:
        QuantizationImpossible: if a weight is not finite, or too large for a half.
    """
    with graphs.prepared(source, beside=target) as prepared:
        model = onnx.load(prepared)
    if kind == "fp16":
        _require_range(model)
    with explaining_errors(f"write the graph in {kind}"):
        if kind == "bf16" and model.opset_import[0].version < BF16_OPSET:
            model = onnx.version_converter.convert_version(model, BF16_OPSET)
        model = onnx.shape_inference.infer_shapes(model)
        edges = graphs.outside(model.graph, "softmax") | _after_the_last_layer(model.graph)
        edges -= {node.name for node in graphs.tables(model.graph)}
        lowered = {node.name for node in model.graph.node if node.op_type in OPERATORS[kind]} - edges
        lowered -= _crashing(model.graph)
        inside = [node for node in model.graph.node if node.name not in edges]
        _Halving(model.graph, TYPES[kind], stored=_recurrent_weights(model.graph)).rewrite(lowered)
        graphs.save(model, target, source=source)
        onnx.checker.check_model(onnx.load(target), full_check=True)
    return Quantized(float_operators=sorted({node.op_type for node in inside if node.name not in lowered}))


class _Halving:
    """Rewrites a graph node by node; a tensor exists in float32, in 16 bits, or in both, with a cast between them.

    `stored` are weights that lie in 16 bits in the file, whatever computes with them.
    """

    def __init__(self, graph: onnx.GraphProto, low: int, *, stored: Collection[str]) -> None:
        self._graph, self._low = graph, low
        values = (*graph.value_info, *graph.input, *graph.output)
        self._weights = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}
        self._floats = {value.name for value in values if value.type.tensor_type.elem_type == TensorProto.FLOAT}
        self._floats |= self._weights.keys()
        self._high, self._halved = set(self._weights) | {value.name for value in graph.input}, set[str]()
        self._nodes: list[onnx.NodeProto] = []
        for name in stored:
            self._in_16_bits(name)
            self._high.remove(name)
            graph.initializer.remove(self._weights[name])

    def rewrite(self, lowered: set[str]) -> None:
        for node in list(self._graph.node):
            rewritten = onnx.NodeProto()
            rewritten.CopyFrom(node)
            given = self._in_16_bits if node.name in lowered else self._in_32_bits
            rewritten.input[:] = [given(name) if name in self._floats else name for name in node.input]
            floats = self._floats.intersection(node.output)
            if node.name in lowered:
                rewritten.output[:] = [_half(name) if name in floats else name for name in node.output]
                self._halved |= floats
            else:
                self._high |= floats
            self._nodes.append(rewritten)
        for value in self._graph.output:
            self._in_32_bits(value.name)
        self._replace()

    def _in_16_bits(self, name: str) -> str:
        if name not in self._halved:
            self._halved.add(name)
            if name in self._weights:
                self._graph.initializer.append(_halved_weights(self._weights[name], self._low))
            else:
                self._nodes.append(helper.make_node("Cast", [name], [_half(name)], f"{name}_to_half", to=self._low))
        return _half(name)

    def _in_32_bits(self, name: str) -> str:
        if name not in self._high:
            self._high.add(name)
            self._nodes.append(
                helper.make_node("Cast", [_half(name)], [name], f"{name}_to_float", to=TensorProto.FLOAT)
            )
        return name

    def _replace(self) -> None:
        graph = self._graph
        del graph.node[:], graph.value_info[:]
        graph.node.extend(self._nodes)


def _half(name: str) -> str:
    return f"{name}_half"


def _halved_weights(tensor: TensorProto, low: int) -> TensorProto:
    values = numpy_helper.to_array(tensor)
    return numpy_helper.from_array(values.astype(helper.tensor_dtype_to_np_dtype(low)), _half(tensor.name))


def _recurrent_weights(graph: onnx.GraphProto) -> list[str]:
    """Return the matrices of recurrent layers, which no CPU computes with in 16 bits: they are most of such a net."""
    layers = graphs.layers(graph, kinds=graphs.RECURRENT)
    return list(dict.fromkeys(name for node in layers for name in node.input[1:3]))


def _after_the_last_layer(graph: onnx.GraphProto) -> set[str]:
    layers = graphs.layers(graph)
    names = [node.name for node in graph.node]
    return set(names[names.index(layers[-1].name) + 1 :]) if layers else set(names)


def _crashing(graph: onnx.GraphProto) -> set[str]:
    """Return the transpositions of layer norms: with those in half floats, onnxruntime 1.31 crashes on CPUs at load."""
    norms = {node.output[0] for node in graph.node if node.op_type == "LayerNormalization"}
    return {node.name for node in graph.node if node.op_type == "Transpose" and node.input[0] in norms}


def _require_range(model: onnx.ModelProto) -> None:
    largest = float(np.finfo(np.float16).max)
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and np.abs(numpy_helper.to_array(tensor)).max(initial=0) > largest:
            raise QuantizationImpossible(
                f"the weights {tensor.name!r} pass {largest:,.0f}, the largest 16-bit float; take `bf16`, whose range "
                "is that of fp32"
            )
