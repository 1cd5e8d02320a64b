"""Export from torch to ONNX: one self-contained file that takes raw examples and returns probabilities or numbers.

What is in it is a net as it is served (`workers.export.served`): its preprocessing before it, its temperature and its
activation after it. The task's codec comes before the file, and nothing after it but reading the labels from the file's
own metadata.
"""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import torch

from models_store.errors import Invalid
from workers.export import metadata
from workers.export.metadata import CARD_KEY, LABELS_KEY
from workers.export.served import Served

PROTOBUF_LIMIT_BYTES = 2**31 - 2**20  # one ONNX file is one protobuf message, and those end at 2 GiB


class ModelTooLarge(Invalid):
    """The net's weights don't fit into one ONNX file."""

    code = "model_too_large"
    title = "The model is too large for one file"


def export(
    served: Served,
    *,
    opset: int,
    labels: Sequence[str],
    card: Mapping[str, Any],
    path: Path,
) -> None:
    """Write a net as it is served to `path` as one ONNX file.

    Its inputs and its output have the names that `served` gives them. `labels` and `card` go into the file's metadata
    as JSON. The same weights give the same bytes. The net in `served` is a copy on the CPU, in evaluation mode.

    Raises:
        ModelTooLarge: if the weights pass 2 GiB, where a single ONNX file ends.
    """
    weight_bytes = sum(tensor.numel() * 4 for tensor in served.module.state_dict().values())
    if weight_bytes > PROTOBUF_LIMIT_BYTES:
        raise ModelTooLarge(
            f"the net's weights take {weight_bytes:,} bytes and one ONNX file holds at most {PROTOBUF_LIMIT_BYTES:,}; "
            "choose smaller `head.hidden_sizes`, or a smaller input"
        )
    model = _convert(served, opset=opset)
    _forget_where_it_was_made(model)
    _name_free_dimensions(model.graph, served)
    metadata.write(model, {LABELS_KEY: list(labels), CARD_KEY: dict(card)})
    onnx.checker.check_model(model, full_check=True)
    onnx.save_model(model, path)


def _convert(served: Served, *, opset: int) -> onnx.ModelProto:
    examples = tuple(served.inputs.values())
    free = tuple({axis: torch.export.Dim(name) for axis, name in served.free[each].items()} for each in served.inputs)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter's notes on its own internals
        program = torch.export.export(served.module, examples, dynamic_shapes=free)
        _simplify_pooling(program)
        converted = torch.onnx.export(
            program,
            examples,
            dynamo=True,
            input_names=list(served.inputs),
            output_names=[served.output],
            opset_version=opset,
            verbose=False,
        )
    assert converted is not None, "dynamo=True returns a program"
    return converted.model_proto


def _simplify_pooling(program: torch.export.ExportedProgram) -> None:
    """Say adaptive pooling plainly where it is plain: to 1x1 it is a mean, to the size there is it is nothing.

    PyTorch's own decomposition turns the first into index arithmetic over the batch (Shape, Range, Gather).
    """
    graph = program.graph
    for node in list(graph.nodes):
        if node.target is not torch.ops.aten.adaptive_avg_pool2d.default:
            continue
        source, size = node.args
        if list(size) == list(source.meta["val"].shape[2:]):
            node.replace_all_uses_with(source)
            graph.erase_node(node)
        elif list(size) == [1, 1]:
            node.target = torch.ops.aten.mean.dim
            node.args = (source, [2, 3], True)
    program.graph_module.recompile()


def _forget_where_it_was_made(model: onnx.ModelProto) -> None:
    """Drop the exporter's notes: stack traces with paths of this machine, names of Python modules."""
    graph = model.graph
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")


def _name_free_dimensions(graph: onnx.GraphProto, served: Served) -> None:
    """Call the free dimensions by their names everywhere; the exporter has numbered them."""
    names = {
        value.type.tensor_type.shape.dim[axis].dim_param: name
        for value in graph.input
        for axis, name in served.free[value.name].items()
    }
    for value in (*graph.input, *graph.output, *graph.value_info):
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param:
                for numbered, name in names.items():
                    dimension.dim_param = dimension.dim_param.replace(numbered, name)
