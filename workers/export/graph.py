"""torch → ONNX: one self-contained file that takes raw uint8 pixels and answers probabilities, or numbers.

The graph is `uint8 (N, H, W, C) → float → normalise → (N, C, H, W) → net → ÷ temperature → softmax`, or the sigmoid
for labels, or nothing for numbers. Decoding and resizing come before it (`models_store.tasks.image.codec`), nothing
comes after it but reading the labels from the file's own metadata.
"""

import copy
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from models_store.errors import Invalid
from models_store.targets import Activation
from workers.export import metadata
from workers.export.metadata import CARD_KEY, LABELS_KEY
from workers.training.targets import ACTIVATIONS

# N images, H height, W width, C channel, K class

INPUT = "images"
OUTPUT = "probabilities"
PROTOBUF_LIMIT_BYTES = 2**31 - 2**20  # one ONNX file is one protobuf message, and those end at 2 GiB


class ModelTooLarge(Invalid):
    """The net's weights don't fit into one ONNX file."""

    code = "model_too_large"
    title = "The model is too large for one file"


class ServedNet(nn.Module):
    """A net with its preprocessing and its activation: uint8 (N, H, W, C) in, probabilities or numbers (N, K) out."""

    scale: Tensor
    shift: Tensor

    def __init__(
        self,
        classifier: nn.Module,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        size: int,
        activation: Activation = "softmax",
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        self.classifier = classifier
        self.size = size
        self.activation = activation
        self.temperature = temperature
        mean_C, std_C = torch.tensor(mean, dtype=torch.float64), torch.tensor(std, dtype=torch.float64)
        # Of shape (W * C), a value for each number of a row, not (C,): a broadcast over a last axis of 3 costs
        # onnxruntime as much as a quarter of an int8 mobilenet, one over a long row costs nothing.
        self.register_buffer("scale", (1 / (255 * std_C)).repeat(size).float())
        self.register_buffer("shift", (-mean_C / std_C).repeat(size).float())

    def forward(self, images_NHWC: Tensor) -> Tensor:
        """Return the probability of each class or label, or the number, for each image."""
        rows_NHX = images_NHWC.flatten(2).to(torch.float32) * self.scale + self.shift
        pixels_NCHW = rows_NHX.reshape(-1, self.size, self.size, self.scale.numel() // self.size).permute(0, 3, 1, 2)
        logits_NK: Tensor = self.classifier(pixels_NCHW)
        if self.temperature != 1:
            logits_NK = logits_NK / self.temperature
        return ACTIVATIONS[self.activation](logits_NK)


def export(
    classifier: nn.Module,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    size: int,
    channels: int,
    opset: int,
    labels: Sequence[str],
    card: Mapping[str, Any],
    path: Path,
    activation: Activation = "softmax",
    temperature: float = 1.0,
) -> None:
    """Write `classifier` (normalised float (N, C, H, W) → logits (N, K)) to `path` as one ONNX file.

    The input `images` is uint8 (N, size, size, channels) with a free N, the output `probabilities` float32 (N, K).
    `mean` and `std` are per channel, of pixels in [0, 1]. The logits are divided by `temperature` (Guo et al. 2017,
    arXiv:1706.04599), then `activation` makes them the output. `labels` and `card` go into the file's metadata as JSON.
    The same weights give the same bytes. `classifier` is not touched: its copy is exported, on the CPU, in evaluation
    mode.

    Raises:
        ModelTooLarge: if the weights pass 2 GiB, where a single ONNX file ends.
    """
    assert len(mean) == len(std) == channels, "one mean and one deviation per channel"
    weight_bytes = sum(tensor.numel() * 4 for tensor in classifier.state_dict().values())
    if weight_bytes > PROTOBUF_LIMIT_BYTES:
        raise ModelTooLarge(
            f"the net's weights take {weight_bytes:,} bytes and one ONNX file holds at most {PROTOBUF_LIMIT_BYTES:,}; "
            "choose smaller `head.hidden_sizes` or a smaller `input.size`"
        )
    copied = copy.deepcopy(classifier).cpu().float().to(memory_format=torch.contiguous_format)
    served = ServedNet(copied, mean=mean, std=std, size=size, activation=activation, temperature=temperature).eval()
    model = _convert(served, torch.zeros(2, size, size, channels, dtype=torch.uint8), opset=opset)
    _forget_where_it_was_made(model)
    _name_the_batch(model.graph)
    metadata.write(model, {LABELS_KEY: list(labels), CARD_KEY: dict(card)})
    onnx.checker.check_model(model, full_check=True)
    onnx.save_model(model, path)


def _convert(served: ServedNet, example_NHWC: Tensor, *, opset: int) -> onnx.ModelProto:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter's notes on its own internals
        program = torch.export.export(served, (example_NHWC,), dynamic_shapes=({0: torch.export.Dim("N")},))
        _simplify_pooling(program)
        converted = torch.onnx.export(
            program,
            (example_NHWC,),
            dynamo=True,
            input_names=[INPUT],
            output_names=[OUTPUT],
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


def _name_the_batch(graph: onnx.GraphProto) -> None:
    """Call the free dimension N everywhere; the exporter has numbered it."""
    numbered = graph.input[0].type.tensor_type.shape.dim[0].dim_param
    for value in (*graph.input, *graph.output, *graph.value_info):
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param:
                dimension.dim_param = dimension.dim_param.replace(numbered, "N")
