"""Static quantisation of fp32 ONNX to int8 ONNX (Jacob et al. 2017, arXiv:1712.05877) by onnxruntime, as QDQ.

What is chosen here was measured on a real EfficientNet-Lite0: unsigned activations with signed weights (signed/signed
is 1.6 times slower on AVX-512 VNNI, unsigned/unsigned 10 times), a weight scale per output channel (one per tensor
loses 8 points), exact minimum and maximum as activation ranges. The preprocessing before the first convolution and the
softmax stay in float: quantised, they cost accuracy and half of the speedup. `positions` has what else does.
"""

import copy
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
from onnxruntime.quantization import QDQQuantizer, QuantType, TensorsData

from models_store.spec.quantization import StaticInt8
from workers.compression.facts import Quantized, Ranges
from workers.compression.quantization import graphs
from workers.compression.quantization.calibration import CalibrationExamples, read_ranges
from workers.compression.quantization.failures import explaining_errors
from workers.compression.quantization.positions import QUANTISED, kept_in_float

if TYPE_CHECKING:  # torch is not needed here
    from models_store.targets import Activation


def quantize_static(
    source: Path,
    target: Path,
    *,
    part: StaticInt8,
    examples: CalibrationExamples,
    activation: "Activation" = "softmax",
    report: Callable[[float], None] = lambda _: None,
) -> Quantized:
    """Write the int8 variant of the exported file `source` to `target`, and return what was done to it.

    Its labels and card come along. Temporary files are gone on return, also after an error.

    Raises:
        QuantizationImpossible: if weights or activations are not finite, or onnxruntime can't quantise the graph.
    """
    with graphs.prepared(source, beside=target) as prepared:
        ranges = read_ranges(prepared, examples, part=part, operators=QUANTISED, report=report)
        model = onnx.load(prepared)
    kept = kept_in_float(model.graph, activation)
    quantised = rounded(model, ranges, in_float=kept, part=part)
    graphs.save(quantised, target, source=source)
    return Quantized(
        layers=len(graphs.layers(model.graph)),
        float_layers=[graphs.layer_name(node) for node in graphs.layers(model.graph) if node.name in kept],
        ranges=ranges_of(part, len(examples)),
    )


def rounded(
    model: onnx.ModelProto, ranges: TensorsData, *, in_float: Collection[str], part: StaticInt8
) -> onnx.ModelProto:
    """Return a copy of the prepared model in which all operators that can, but those `in_float`, work in 8 bits."""
    with explaining_errors("quantise the graph"):
        quantizer = QDQQuantizer(
            copy.deepcopy(model),
            per_channel=part.per_channel,
            reduce_range=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=copy.deepcopy(ranges),  # it narrows them to what the operators leave of each tensor
            nodes_to_quantize=[],
            nodes_to_exclude=sorted(in_float),
            op_types_to_quantize=list(QUANTISED),
            extra_options={
                "MatMulConstBOnly": True,  # attention multiplies activations, and unsigned by unsigned is slow
                "OpTypesToExcludeOutputQuantization": ["MatMul"],  # a bias is added to it, in float
            },
        )
        quantizer.quantize_model()
        quantizer.model.topological_sort()
        quantised: onnx.ModelProto = quantizer.model.model
    _answer_in_float(quantised.graph)
    return quantised


def _answer_in_float(graph: onnx.GraphProto) -> None:
    """Take the rounding off what the last layer gives: of 256 values, the likeliest two classes may have the same."""
    layer = next(node for node in reversed(graph.node) if node.op_type in graphs.LINEAR + graphs.CONVOLUTIONS)
    if layer.op_type not in graphs.LINEAR:
        return
    rounding = [node for node in graph.node if layer.output[0] in node.input]
    if [node.op_type for node in rounding] != ["QuantizeLinear"]:
        return
    (restoring,) = (node for node in graph.node if rounding[0].output[0] in node.input)
    layer.output[0] = restoring.output[0]
    graph.node.remove(rounding[0])
    graph.node.remove(restoring)


def ranges_of(part: StaticInt8, examples: int) -> Ranges:
    """Return how the ranges of activations were found, on so many examples."""
    percentile = part.percentile if part.calibration == "percentile" else None
    return Ranges(part.calibration, examples, part.per_channel, percentile)
