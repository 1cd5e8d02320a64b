"""Batch norm made part of the layer before it, as it is in every exported file.

Which norm follows which layer is read from the graph that the exporter reads too (torch.export), so every net that can
be published can be folded.
"""

# B batch, C channel, H height, W width

import copy
from collections.abc import Iterator
from typing import TypeVar

import torch
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights

from workers.compression.quantization.failures import QuantizationImpossible
from workers.training.learner import Prepared

Net = TypeVar("Net", bound=nn.Module)

TOLERANCE = 1e-3  # of the largest logit: folding rounds
NORM = torch.ops.aten._native_batch_norm_legit_no_training.default  # noqa: SLF001  the operator's own name
LAYERS = (
    torch.ops.aten.conv1d.default, torch.ops.aten.conv2d.default, torch.ops.aten.conv2d.padding,
    torch.ops.aten.conv3d.default, torch.ops.aten.linear.default,
)  # fmt: skip


def traced(net: nn.Module, example: Prepared) -> fx.GraphModule:
    """Return the net in evaluation mode as a graph of ATen operators without side effects, for any size of batch.

    Its parameters and buffers are the net's own, by the names they have there. Both are on one device.

    Raises:
        QuantizationImpossible: if the net can't be traced.
    """
    try:
        program = torch.export.export(
            net.eval(), (example,), dynamic_shapes=({0: torch.export.Dim("N")},)
        ).run_decompositions({})
        module = program.module(check_guards=False)
    except Exception as error:  # the tracer fails on what it does not know in any way
        raise QuantizationImpossible(
            f"the net's graph can't be read ({str(error).strip()[:200] or type(error).__name__}), and rounding is put "
            "between its operators; take `static_int8`, or another backbone"
        ) from error
    for node in module.graph.nodes:
        if node.target is torch.ops.aten.view.default:
            node.target = torch.ops.aten.reshape.default  # a view of what came in one memory format fails in another
    return fx.GraphModule(module, module.graph)  # the exporter's own class refuses `train()`


def fold_norms(net: Net, example: Prepared) -> Net:
    """Return a copy of the net, on the CPU and in evaluation mode, whose norms after a layer are part of that layer.

    Norms elsewhere stay. The copy's layers have the names that they had, and every weight of it can be trained.

    Raises:
        QuantizationImpossible: if the net can't be traced, or answers differently without its norms.
    """
    folded = copy.deepcopy(net).cpu().eval()
    for layer_name, norm_name in _pairs(traced(folded, example).graph):
        layer, norm = folded.get_submodule(layer_name), folded.get_submodule(norm_name)
        assert isinstance(norm, _BatchNorm), "batch norm's operator is batch norm's"
        assert norm.running_mean is not None, "in evaluation, a norm without statistics is another operator"
        assert norm.running_var is not None, "as above"
        layer.weight, layer.bias = fuse_conv_bn_weights(
            layer.get_parameter("weight"),
            layer.bias,  # type: ignore[arg-type]  # a parameter, or None
            norm.running_mean,
            norm.running_var,
            norm.eps,
            norm.weight,
            norm.bias,
        )
        parent, _, child = norm_name.rpartition(".")
        setattr(folded.get_submodule(parent), child, _rest_of(norm))
    folded.requires_grad_(requires_grad=True)
    inputs_BCHW = torch.randn(example.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, given = copy.deepcopy(net).cpu().eval()(inputs_BCHW), folded(inputs_BCHW)
    if not bool((expected - given).abs().max() <= TOLERANCE * expected.abs().max()):  # not so of what is no number
        raise QuantizationImpossible(
            "the net answers differently when its batch norms are folded into its layers (it has norms of a kind of "
            "its own, or weights that are not finite); take `static_int8`, or another backbone"
        )
    return folded


def _pairs(graph: fx.Graph) -> Iterator[tuple[str, str]]:
    """Yield the names of each layer and the norm that alone takes what it gives, where both are used once."""
    for norm in graph.nodes:
        if norm.target is not NORM:
            continue
        layer, statistics = norm.args[0], norm.args[3]
        if layer.target not in LAYERS or len(layer.users) > 1 or len(statistics.users) > 1:
            continue
        weight = layer.args[1]
        is_its_own = weight.op == "get_attr" and len(weight.users) == 1 and weight.target.endswith(".weight")
        of_rows = layer.target is not torch.ops.aten.linear.default or layer.meta["val"].ndim == len("BC")
        if is_its_own and of_rows:
            yield weight.target.removesuffix(".weight"), statistics.target.removesuffix(".running_mean")


def _rest_of(norm: _BatchNorm) -> nn.Module:
    """Return what a norm does besides: timm's go on to an activation."""
    if hasattr(norm, "act") and hasattr(norm, "drop"):
        return nn.Sequential(norm.drop, norm.act)  # type: ignore[arg-type]  # modules, both
    return nn.Identity()
