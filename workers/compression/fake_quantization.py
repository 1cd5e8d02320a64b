"""The rounding of an int8 file, simulated in a net that trains (Jacob et al. 2017, arXiv:1712.05877).

Where the file rounds, the net rounds: weights to signed 8 bits, symmetric around zero, by the largest there is;
activations to unsigned 8 bits, by a range that begins as the file's and moves with what training sees. Rounding passes
gradients on as they are, and none beyond a range (the straight-through estimator, Bengio et al. 2013,
arXiv:1308.3432).
"""

# B batch, C channel, H height, W width, O output

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, fx, nn

from models_store.wording import counted
from workers.compression import origins
from workers.compression.folding import LAYERS, traced
from workers.compression.origins import Origin
from workers.compression.quantization.failures import QuantizationImpossible
from workers.training.learner import Prepared

MOMENTUM = 0.01  # of a batch in a range, as in torch's own moving average
LEVELS = 255  # steps between the lowest and the highest of unsigned 8 bits
LEAST_SIMULATED = 0.9  # of what the file rounds, or training is for another file
NAMED = 3  # layers in an error
LARGEST = 127  # of signed 8 bits, with as many below zero as above

aten = torch.ops.aten
PRODUCTS = (aten.matmul.default, aten.bmm.default, aten.scaled_dot_product_attention.default)


@dataclass(frozen=True)
class Rounding:
    """What an int8 file rounds: activations, each with its lowest and highest value, and layers' weights."""

    tensors: dict[Origin, int]
    """how many of the file's tensors are rounded, by where they come from"""
    ranges: dict[Origin, tuple[float, float]]
    """of tensors that their origin tells apart"""
    layers: list[str]
    float_layers: list[str]
    per_channel: bool


@dataclass(frozen=True)
class Simulated:
    """A net that answers as an int8 file, and where it rounds activations."""

    net: fx.GraphModule
    activations: "dict[Origin, RoundedActivation]"

    def places_of(self, rounding: Rounding) -> int:
        """Return how many of the tensors that the file rounds are rounded here too."""
        return sum(rounding.tensors[origin] for origin in self.activations)


class RoundedActivation(nn.Module):
    """Rounds a tensor to 256 values of a range that holds zero, which padding needs exactly."""

    lowest: Tensor
    highest: Tensor

    def __init__(self, lowest: float, highest: float) -> None:
        super().__init__()
        self.register_buffer("lowest", torch.tensor(lowest))
        self.register_buffer("highest", torch.tensor(highest))

    def forward(self, values: Tensor) -> Tensor:
        """Return the values rounded; in training the range moves a little towards theirs."""
        if self.training:
            lowest, highest = values.detach().float().aminmax()
            self.lowest.lerp_(lowest.clamp(max=0), MOMENTUM)
            self.highest.lerp_(highest.clamp(min=0), MOMENTUM)
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

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight rounded."""
        weight = weight.float() if self.kept is None else weight.float() * self.kept
        sizes = weight.detach().abs()
        if self.per_channel:
            scale_O = _scale(sizes.flatten(1).amax(dim=1))
            zeros_O = torch.zeros_like(scale_O, dtype=torch.int32)
            return torch.fake_quantize_per_channel_affine(weight, scale_O, zeros_O, 0, -LARGEST, LARGEST)
        scale = _scale(sizes.amax())
        zero = torch.zeros_like(scale, dtype=torch.int32)
        return torch.fake_quantize_per_tensor_affine(weight, scale, zero, -LARGEST, LARGEST)


def rounding_of(quantised: onnx.ModelProto, prepared: onnx.ModelProto, *, per_channel: bool) -> Rounding:
    """Return what a QDQ file rounds; `prepared` is the file of floats that it was made of, by the same names."""
    constants = {tensor.name: tensor for tensor in quantised.graph.initializer}
    names = origins.layer_names(prepared.graph)
    tensors = origins.in_file(prepared.graph)
    found: dict[Origin, set[tuple[float, float]]] = {}
    counts: Counter[Origin] = Counter()
    for node in quantised.graph.node:
        if node.op_type == "QuantizeLinear" and node.input[0] in tensors:
            scale, zero_point = (numpy_helper.to_array(constants[name]).item() for name in node.input[1:3])
            bounds = (-zero_point * scale, (LEVELS - zero_point) * scale)
            found.setdefault(tensors[node.input[0]], set()).add(bounds)
            counts[tensors[node.input[0]]] += 1
    # what only moves a tensor has its range; with several ranges, tensors of one origin can't be distinguished
    ranges = {origin: bounds.pop() for origin, bounds in found.items() if len(bounds) == 1}
    in_float = [names[node.name] for node in quantised.graph.node if node.name in names and node.input[1] in constants]
    layers = [name for name in names.values() if name not in in_float]
    return Rounding(dict(counts), ranges, layers, in_float, per_channel=per_channel)


def simulate(folded: nn.Module, example: Prepared, rounding: Rounding, *, kept: Mapping[str, Tensor]) -> Simulated:
    """Return a net that answers as an int8 file of `folded` that rounds so, and that trains.

    Its weights have the names that they have in `folded`, a net without batch norms after layers. It is a graph of the
    net in evaluation: dropped units and paths are not drawn. `kept` are masks of weights, by their names, of which the
    rest stays zero.

    Raises:
        QuantizationImpossible: if a layer's rounding can't be simulated, too little of all that the file rounds can,
            or the net multiplies activations by each other, as attention does.
    """
    net = traced(folded, example)
    layers = {origins.layer_name(node): node for node in net.graph.nodes if node.target in LAYERS}
    _refuse_what_is_not_simulated(net.graph, [name for name in rounding.layers if name not in layers])
    if not rounding.layers:
        raise QuantizationImpossible("no layer of this net works in 8 bits in its file: there is nothing to train for")
    activations: dict[Origin, RoundedActivation] = {}
    for number, (node, origin) in enumerate(list(_places(origins.in_net(net.graph), rounding))):
        activations[origin] = RoundedActivation(*rounding.ranges[origin])
        _insert_after(net, node, f"rounded.activation{number}", activations[origin])
    for number, layer in enumerate(rounding.layers):
        weight = layers[layer].all_input_nodes[1]
        rounded = RoundedWeight(per_channel=rounding.per_channel, kept=kept.get(str(weight.target)))
        _insert_after(net, weight, f"rounded.weight{number}", rounded)
    net.graph.lint()
    net.recompile()
    simulated = Simulated(net.to(example.device), activations)
    total, places = sum(rounding.tensors.values()), simulated.places_of(rounding)
    if places < LEAST_SIMULATED * total:
        raise QuantizationImpossible(
            f"the int8 file of this net rounds {counted(total, 'tensor')}, and training can simulate {places} of them "
            f"({places / total:.0%}; at least {LEAST_SIMULATED:.0%} are needed): it would train for another file. Take "
            "`mixed_int8` or `static_int8`, or a backbone that does not split and shuffle its channels"
        )
    return simulated


def _refuse_what_is_not_simulated(graph: fx.Graph, missing: Sequence[str]) -> None:
    """Refuse a net of which layers (`missing`, as its file names them) or products can't be simulated, by what it has.

    Raises:
        QuantizationImpossible: naming what does not fit.
    """
    if any(node.target in PRODUCTS for node in graph.nodes):
        found = "attention, which multiplies activations by each other"
    elif missing:
        on_rows = [
            origins.layer_name(node)
            for node in graph.nodes
            if node.target is aten.linear.default and node.meta["val"].ndim > len("BC")
        ]
        scaled = [name.partition("classifier.")[2] for name in missing if "MulFusion" in name]
        names = scaled or on_rows or missing
        listed = ", ".join(repr(name) for name in names[:NAMED]) + (" …" if len(names) > NAMED else "")
        what = "linear layers over more than two dimensions" if on_rows else "layers of another kind"
        if scaled:
            what = "layers with a factor behind them (layer scale), which in the file is part of their weights"
        found = f"{len(names)} {what} ({listed})"
    else:
        return
    raise QuantizationImpossible(
        "rounding is simulated in training for convolutions, linear layers on features, and what lies between; this "
        f"net has {found}: use `static_int8`, `dynamic_int8` or `weights_int8`, or a backbone without them"
    )


def _places(tensors: Mapping[fx.Node, Origin], rounding: Rounding) -> Iterator[tuple[fx.Node, Origin]]:
    """Yield after which nodes to round, each with its origin: where there first is a tensor of it.

    Several operators may make it together; then it is the last of them, which a layer or a sum takes.
    """
    seen: set[Origin] = set()
    for node, origin in tensors.items():
        is_whole = True
        if origin[0] == origins.OTHER:
            taken = any(origins.IN_NET.get(user.target) in {origins.LAYER, origins.SUM} for user in node.users)
            is_whole = taken and not any(tensors.get(user) == origin for user in node.users)
        if is_whole and origin in rounding.ranges and origin not in seen:
            seen.add(origin)
            yield node, origin


def _insert_after(net: fx.GraphModule, node: fx.Node, name: str, module: nn.Module) -> None:
    net.add_submodule(name, module)
    with net.graph.inserting_after(node):
        called = net.graph.call_module(name, (node,))
    node.replace_all_uses_with(called, delete_user_cb=lambda user: user is not called)


def _scale(largest: Tensor) -> Tensor:
    return torch.where(largest > 0, largest / LARGEST, 1.0)
