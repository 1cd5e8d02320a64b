"""Dynamic quantisation of onnxruntime: 8-bit weights, embeddings too, and activation ranges found at each call."""

from pathlib import Path
from typing import TYPE_CHECKING

import onnx
from onnxruntime import quantization

from models_store.spec.quantization import DynamicInt8
from models_store.wording import counted, inflected
from workers.compression.facts import Quantized
from workers.compression.quantization import graphs, tables
from workers.compression.quantization.failures import QuantizationImpossible, explaining_errors

if TYPE_CHECKING:  # torch is not needed here
    from models_store.targets import Activation

LINEAR = ("MatMul", "LSTM")
"""an LSTM's steps are products of matrices; other recurrent layers have no such kernel"""
OPERATORS = {"linear": LINEAR, "all": ("Conv", *LINEAR)}


def quantize_dynamic(
    source: Path, target: Path, *, part: DynamicInt8, activation: "Activation" = "softmax"
) -> Quantized:
    """Write the variant to `target`, and return what was done to it. For numbers the last layer stays in float.

    Raises:
        QuantizationImpossible: if there is no layer to quantise, or onnxruntime can't.
    """
    with graphs.prepared(source, beside=target) as prepared:
        model = graphs.without_gemm(onnx.load(prepared))
        del model.graph.value_info[:]  # shapes of torch's exporter, which onnxruntime's own inference contradicts
        kept = graphs.outside(model.graph, activation)
        layers = graphs.layers(model.graph)
        chosen = [node for node in layers if node.op_type in OPERATORS[part.layers] and node.name not in kept]
        if not chosen:
            raise QuantizationImpossible(_nothing_to_quantise(layers, part))
        onnx.save_model(model, prepared)
        with explaining_errors("quantise the layers dynamically"):
            quantization.quantize_dynamic(
                prepared,
                target,
                op_types_to_quantize=list(OPERATORS[part.layers]),
                per_channel=part.per_channel,
                weight_type=quantization.QuantType.QInt8,
                nodes_to_quantize=[node.name for node in chosen],
                extra_options={"MatMulConstBOnly": True},
            )
    quantised = onnx.load(target)
    tables.round_to_8_bits(quantised.graph, tables.of(quantised.graph))
    graphs.save(quantised, target, source=source)
    left = {node.name for node in quantised.graph.node}
    return Quantized(
        layers=len(layers),
        float_layers=[graphs.layer_name(node) for node in layers if node.name in left],
        per_channel=part.per_channel,
    )


def _nothing_to_quantise(layers: list[onnx.NodeProto], part: DynamicInt8) -> str:
    convolutions = sum(node.op_type in graphs.CONVOLUTIONS for node in layers)
    if part.layers == "linear":
        are_convolutions = inflected(convolutions, "is a convolution", "are convolutions")
        return (
            f"the net has no linear layer to quantise ({convolutions} of its {counted(len(layers), 'layer')} with "
            f"weights {are_convolutions}; one that gives numbers stays in float); take `static_int8`, or `layers: all`"
        )
    none = inflected(len(layers), "the net's only layer", f"none of the net's {len(layers)} layers")
    can = inflected(len(layers), "can't", "can")
    return (
        f"{none} with weights {can} be quantised dynamically: transposed convolutions "
        "have no such kernel, and a layer that gives numbers stays in float; take `static_int8`"
    )
