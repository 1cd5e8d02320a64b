"""Origins of an exported file's tensors in the net. Names don't show them, because the exporter renames tensors.

A tensor is known by where it comes from. What a layer gives is the layer's, by the name of its weights; of what follows
it counts how it is cut and with what it is added up, as far back as the layers before. What only moves or pools numbers
changes nothing, for it keeps their range, and all other operators are alike, however many of them the exporter makes of
one. Before the first layer everything is the input.
"""

from collections.abc import Iterable
from typing import Any

import onnx
import torch
from torch import fx

from workers.compression.folding import LAYERS
from workers.compression.quantization import graphs

Origin = tuple[str, Any]
"""("layer", its name) | ("sum", origins) | ("cut", origin) | ("other", origins)"""
INPUT: Origin = ("input", None)
LAYER, SUM, CUT, MOVE, OTHER = "layer", "sum", "cut", "move", "other"

aten = torch.ops.aten
IN_NET: dict[Any, str] = dict.fromkeys(LAYERS, LAYER) | {
    aten.add.Tensor: SUM, aten.cat.default: SUM,
    aten.relu.default: CUT, aten.hardtanh.default: CUT, aten.clamp.default: CUT,
    aten.max_pool2d.default: MOVE, aten.avg_pool2d.default: MOVE, aten.reshape.default: MOVE,
    aten.flatten.using_ints: MOVE, aten.dropout.default: MOVE, aten.clone.default: MOVE,
}  # fmt: skip
IN_FILE = {
    "Add": SUM, "Concat": SUM, "Relu": CUT, "Clip": CUT, "MaxPool": MOVE, "AveragePool": MOVE, "Reshape": MOVE,
    "Flatten": MOVE, "Identity": MOVE,
}  # fmt: skip


def in_net(graph: fx.Graph) -> dict[fx.Node, Origin]:
    """Return the origin of each tensor of a traced net that depends on the examples, in order."""
    origins: dict[fx.Node, Origin] = {}
    for node in graph.nodes:
        kind = IN_NET.get(node.target, OTHER)
        before = [origins[source] for source in node.all_input_nodes if source in origins]
        if node.op == "placeholder":
            origins[node] = INPUT
        elif node.op == "call_function" and before and isinstance(node.meta.get("val"), torch.Tensor | tuple | list):
            origins[node] = (LAYER, layer_name(node)) if kind == LAYER else _origin(kind, before)
    return origins


def in_file(graph: onnx.GraphProto) -> dict[str, Origin]:
    """Return the origin of each tensor of an exported file that depends on the examples, by its name."""
    layers = layer_names(graph)
    origins: dict[str, Origin] = dict.fromkeys((value.name for value in graph.input), INPUT)
    for node in graph.node:
        before = [origins[name] for name in node.input if name in origins]
        if node.name in layers:
            origins |= dict.fromkeys(node.output, (LAYER, layers[node.name]))
        elif before:
            origins |= dict.fromkeys(node.output, _origin(IN_FILE.get(node.op_type, OTHER), before))
    return origins


def layer_name(node: fx.Node) -> str:
    """Return what a layer of a traced net is called, by the name of its weights."""
    return str(node.all_input_nodes[1].target).removesuffix(".weight")


def layer_names(graph: onnx.GraphProto) -> dict[str, str]:
    """Return for each node of an exported file that is a layer what it is called in the net."""
    return {node.name: graphs.layer_name(node) for node in graphs.layers(graph)}


def _origin(kind: str, before: Iterable[Origin]) -> Origin:
    """Return the origin of what an operator that is no layer makes of tensors."""
    origins = frozenset(before)
    if origins == {INPUT}:
        return INPUT
    if kind == SUM:
        return (SUM, origins)
    if kind == CUT:
        return (CUT, next(iter(origins)))
    if kind == MOVE:
        return next(iter(origins))
    merged = [origin[1] if origin[0] == OTHER else frozenset([origin]) for origin in origins]
    return (OTHER, frozenset().union(*merged))
