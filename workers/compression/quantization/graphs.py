"""Preparation of an ONNX file for all variants: a prepared copy, its layers with weights, and its metadata."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
from onnxruntime.quantization.onnx_model import ONNXModel
from onnxruntime.quantization.shape_inference import quant_pre_process

from workers.compression.quantization.failures import QuantizationImpossible, explaining_errors, require_finite_weights

if TYPE_CHECKING:  # torch is not needed here
    from models_store.targets import Activation

CONVOLUTIONS = ("Conv", "ConvTranspose")
LINEAR = ("Gemm", "MatMul")
RECURRENT = ("LSTM", "GRU", "RNN")
MATRIX = 2  # dimensions
CONTRIBUTED = "com.microsoft"  # the domain of onnxruntime's own operators


def load(source: Path) -> onnx.ModelProto:
    """Return the exported file as it is.

    Raises:
        QuantizationImpossible: if it can't be read, a weight is not a finite number, or no layer has weights.
    """
    with explaining_errors("read the file"):
        model = onnx.load(source)
    require_finite_weights(model)
    if not layers(model.graph) and not tables(model.graph):
        raise QuantizationImpossible("the net has no layer with weights: there is nothing to write in fewer bits")
    return model


@contextmanager
def prepared(source: Path, *, beside: Path) -> Iterator[Path]:
    """Give a simplified copy of the exported file with the shape of every tensor, in a temporary folder `beside` it.

    Raises:
        QuantizationImpossible: if `load` refuses it, or onnxruntime can't read the graph.
    """
    load(source)
    with tempfile.TemporaryDirectory(prefix="quantize-", dir=beside.parent) as folder:
        path = Path(folder) / "prepared.onnx"
        with explaining_errors("simplify the graph"):
            # symbolic shape inference is for transformers (and needs sympy); the free batch size is no obstacle here
            quant_pre_process(source, path, skip_symbolic_shape=True)
        _forget_shapes_of_weights(path)
        yield path


def layers(
    graph: onnx.GraphProto, *, kinds: tuple[str, ...] = (*CONVOLUTIONS, *LINEAR, *RECURRENT)
) -> list[onnx.NodeProto]:
    """Return the nodes of `kinds` that have weights, in the graph's order.

    A product of activations is none, and neither is one of whole numbers, as by which n-grams are hashed.
    """
    weights = {tensor.name for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}
    return [node for node in graph.node if node.op_type in kinds and node.input[1] in weights]


def tables(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return the nodes that look rows up in a matrix of weights: embeddings."""
    matrices = {
        tensor.name
        for tensor in graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) == MATRIX
    }
    return [node for node in graph.node if node.op_type == "Gather" and node.input[0] in matrices and _axis(node) == 0]


def layer_name(node: onnx.NodeProto) -> str:
    """Return what a layer is called in the net, by the name of its weights."""
    name: str = node.input[1]
    return name.removeprefix("classifier.").removesuffix(".weight")


def outside(graph: onnx.GraphProto, activation: "Activation") -> set[str]:
    """Return the nodes before the first layer with weights, and for numbers those from the last one on.

    All nodes of a net without layers are outside. The first are the preprocessing; the others give the number itself,
    which in 8 bits would be one of 256. Nodes are in topological order.
    """
    weighted = {node.name for node in layers(graph)}
    places = [place for place, node in enumerate(graph.node) if node.name in weighted] or [len(graph.node)]
    end = places[-1] if activation == "identity" else len(graph.node)
    return {node.name for place, node in enumerate(graph.node) if place < places[0] or place >= end}


def without_gemm(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with each Gemm as a MatMul and an Add: there are kernels of fewer bits for the first alone."""
    wrapped = ONNXModel(model)
    wrapped.replace_gemm_with_matmul()
    replaced: onnx.ModelProto = wrapped.model
    return replaced


def _axis(node: onnx.NodeProto) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)


def save(model: onnx.ModelProto, path: Path, *, source: Path) -> None:
    """Write the model with the metadata of `source`, and only the weights and operator sets that it uses."""
    properties = {entry.key: entry.value for entry in onnx.load(source, load_external_data=False).metadata_props}
    onnx.helper.set_model_props(model, properties)
    read = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    used = {node.domain for node in model.graph.node}
    versions = {CONTRIBUTED: 1} | {entry.domain: entry.version for entry in model.opset_import}
    del model.opset_import[:]
    model.opset_import.extend(onnx.helper.make_opsetid(domain, versions[domain]) for domain in sorted(used))
    onnx.save_model(model, path)


def _forget_shapes_of_weights(path: Path) -> None:
    """Keep a weight's shape in the weight alone: where onnxruntime transposes it, a copy elsewhere would be wrong."""
    model = onnx.load(path)
    weights = {tensor.name for tensor in model.graph.initializer}
    others = [value for value in model.graph.value_info if value.name not in weights]
    del model.graph.value_info[:]
    model.graph.value_info.extend(others)
    onnx.save_model(model, path)
