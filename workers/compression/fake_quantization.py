"""The rounding of an int8 file, simulated in a net that trains (Jacob et al. 2017, arXiv:1712.05877).

Where the QDQ file rounds (`quantization.static`), the net rounds: weights to signed 8 bits, symmetric around zero, by
the largest there is; activations to unsigned 8 bits, by a range that moves with what training sees. Rounding passes
gradients on as they are, and none beyond a range (the straight-through estimator, Bengio et al. 2013,
arXiv:1308.3432).
"""

# B batch, C channel, H height, W width

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx, nn

from workers.compression.folding import LAYERS, traced
from workers.compression.quantization.failures import QuantizationImpossible

MOMENTUM = 0.01  # of a batch in a range, as in torch's own moving average
LEVELS = 255  # steps between the lowest and the highest of unsigned 8 bits
LARGEST = 127  # of signed 8 bits, with as many below zero as above

aten = torch.ops.aten
SUMS = (aten.add.Tensor, aten.cat.default, aten.avg_pool2d.default)
CUTS = (aten.relu.default, aten.hardtanh.default, aten.clamp.default)
MOVES = (
    aten.max_pool2d.default, aten.view.default, aten.reshape.default, aten.flatten.using_ints, aten.dropout.default,
    aten.clone.default,
)  # fmt: skip
PRODUCTS = (aten.matmul.default, aten.bmm.default, aten.scaled_dot_product_attention.default)


class RoundedActivation(nn.Module):
    """Rounds a tensor to 256 values of the range seen so far; the range holds zero, which padding needs exactly."""

    lowest: Tensor
    highest: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("lowest", torch.zeros(()))
        self.register_buffer("highest", torch.zeros(()))
        self.reads = False
        """whether it takes the whole range of what comes, and does not round"""

    def forward(self, values: Tensor) -> Tensor:
        """Return the values rounded; in training the range moves a little towards theirs."""
        if self.reads or self.training:
            lowest, highest = values.detach().float().aminmax()
            lowest, highest = lowest.clamp(max=0), highest.clamp(min=0)
            if self.reads:
                torch.minimum(self.lowest, lowest, out=self.lowest)
                torch.maximum(self.highest, highest, out=self.highest)
                return values
            self.lowest.lerp_(lowest, MOMENTUM)
            self.highest.lerp_(highest, MOMENTUM)
        width = self.highest - self.lowest
        scale = torch.where(width > 0, width / LEVELS, 1.0)
        zero_point = (-self.lowest / scale).round().clamp(0, LEVELS).int()
        rounded = torch.fake_quantize_per_tensor_affine(values.float(), scale, zero_point, 0, LEVELS)
        return rounded.to(values.dtype)


class RoundedWeight(nn.Module):
    """Rounds a weight (O, …) to 255 values, by the largest of each output or of all. What `kept` denies stays zero."""

    kept: Tensor | None

    def __init__(self, *, per_channel: bool, kept: Tensor | None = None) -> None:
        super().__init__()
        self.per_channel = per_channel
        self.register_buffer("kept", kept, persistent=False)
        self.reads = False
        """whether ranges of activations are being read, as the file's are: without rounding"""

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight rounded."""
        weight = weight.float() if self.kept is None else weight.float() * self.kept
        if self.reads:
            return weight
        sizes = weight.detach().abs()
        if self.per_channel:
            scale_O = _scale(sizes.flatten(1).amax(dim=1))
            zeros_O = torch.zeros_like(scale_O, dtype=torch.int32)
            return torch.fake_quantize_per_channel_affine(weight, scale_O, zeros_O, 0, -LARGEST, LARGEST)
        scale = _scale(sizes.amax())
        zero = torch.zeros_like(scale, dtype=torch.int32)
        return torch.fake_quantize_per_tensor_affine(weight, scale, zero, -LARGEST, LARGEST)


def simulated(
    folded: nn.Module, example_BCHW: Tensor, *, per_channel: bool, ends_in_float: bool, kept: Mapping[str, Tensor]
) -> fx.GraphModule:
    """Return a net that answers as the int8 file of `folded` will, once its ranges are read, and that trains.

    Its weights have the names that they have in `folded`, a net without batch norms after layers. It is a graph of the
    net in evaluation: dropped units and paths are not drawn. `ends_in_float` leaves the last layer and what follows as
    they are, as the file of numbers does. `kept` are masks of weights, by their names, of which the rest stays zero.

    Raises:
        QuantizationImpossible: if there is no layer to round, or the net multiplies activations by each other, as
            attention does, which is not simulated.
    """
    net = traced(folded, example_BCHW)
    graph = net.graph
    layers = [node for node in graph.nodes if node.target in LAYERS]
    if not layers:
        raise QuantizationImpossible(
            "the net has no convolution and no linear layer: there is nothing to train with 8-bit weights"
        )
    if any(node.target in PRODUCTS for node in graph.nodes):
        raise QuantizationImpossible(
            "the net multiplies activations by each other (attention), whose rounding is not simulated in training; "
            "take `static_int8`, `dynamic_int8` or `weights_int8`, or a backbone of convolutions"
        )
    nodes = list(graph.nodes)
    inside = nodes[nodes.index(layers[0]) : nodes.index(layers[-1]) if ends_in_float else None]
    for number, node in enumerate(_rounded(inside)):
        _insert_after(net, node, f"rounded.activation{number}", RoundedActivation())
    weights = {node.args[1]: None for node in inside if node.target in LAYERS}  # in order, each once
    for number, node in enumerate(weights):
        kept_here = kept.get(str(node.target)) if node.op == "get_attr" else None
        _insert_after(net, node, f"rounded.weight{number}", RoundedWeight(per_channel=per_channel, kept=kept_here))
    graph.lint()
    net.recompile()
    return net


@contextmanager
def reading_ranges(net: nn.Module) -> Iterator[None]:
    """Read the ranges of activations anew from what the net is fed inside; nothing is rounded meanwhile."""
    roundings = [module for module in net.modules() if isinstance(module, RoundedActivation | RoundedWeight)]
    for module in roundings:
        module.reads = True
        if isinstance(module, RoundedActivation):
            module.lowest.zero_()
            module.highest.zero_()
    try:
        yield
    finally:
        for module in roundings:
            module.reads = False


def _rounded(nodes: list[fx.Node]) -> list[fx.Node]:
    """Return the nodes whose output the file rounds, as onnxruntime chooses them among `nodes`, in order.

    A layer's and a sum's inputs and outputs are rounded. Of one that goes to a ReLU alone it is the ReLU's output: a
    range from zero on is the ReLU. What moves numbers without changing them keeps their rounding.
    """
    rounded: dict[fx.Node, None] = {}
    moved: set[fx.Node] = set()
    for node in nodes:
        sources = _activations(node)
        if node.target in LAYERS or node.target in SUMS:
            rounded |= dict.fromkeys(source for source in sources if source not in moved)
            rounded[node] = None
        elif node.target in CUTS and sources[0] in rounded:
            if len(sources[0].users) == 1:
                del rounded[sources[0]]
            rounded[node] = None
        elif node.target in MOVES and (sources[0] in rounded or sources[0] in moved):
            moved.add(node)
    return list(rounded)


def _activations(node: fx.Node) -> list[fx.Node]:
    """Return the tensors that an operator works on: all but its weights and sizes."""
    first: Any = node.args[0] if node.args else []
    given = list(first) if isinstance(first, list | tuple) else [first]
    if node.target is aten.add.Tensor:
        given.append(node.args[1])
    return [each for each in given if isinstance(each, fx.Node) and isinstance(each.meta.get("val"), Tensor)]


def _insert_after(net: fx.GraphModule, node: fx.Node, name: str, module: nn.Module) -> None:
    net.add_submodule(name, module)
    with net.graph.inserting_after(node):
        called = net.graph.call_module(name, (node,))
    node.replace_all_uses_with(called, delete_user_cb=lambda user: user is not called)


def _scale(largest: Tensor) -> Tensor:
    return torch.where(largest > 0, largest / LARGEST, 1.0)
