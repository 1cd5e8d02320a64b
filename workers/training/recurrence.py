"""Recurrent layers that read each example to its own end, in both directions, whatever stands behind it.

In an exported file a layer is one node (LSTM, GRU or RNN of ONNX), which is given the true lengths: `sequence_lens`.
torch's own bidirectional layers read the padding first on their way back, and what they answer depends on how much
there is; packed sequences don't, but take 1.4 to 1.7 times as long to train on a CPU.
"""

# B batch, L step, E input, H width, D direction, G gate

import copy
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

Kind = Literal["rnn", "lstm", "gru"]
LAYERS: dict[Kind, Callable[..., nn.RNNBase]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
GATES: dict[Kind, tuple[int, ...]] = {"rnn": (0,), "lstm": (0, 3, 1, 2), "gru": (1, 0, 2)}
"""torch's gates in ONNX's order: input, output, forget and cell of an LSTM; update, reset and new of a GRU"""


class Recurrence(nn.Module):
    """One recurrent layer, one way or in both directions."""

    def __init__(self, kind: Kind, inputs: int, width: int, *, bidirectional: bool) -> None:
        super().__init__()
        self.kind: Kind = kind
        self.width = width
        self.forwards = LAYERS[kind](inputs, width, batch_first=True)
        self.backwards = LAYERS[kind](inputs, width, batch_first=True) if bidirectional else None

    @property
    def directions(self) -> list[nn.RNNBase]:
        """Return the layer of each direction."""
        return [self.forwards] if self.backwards is None else [self.forwards, self.backwards]

    def forward(self, steps_BLE: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features of each step (B, L, D * H), and those of both directions at their ends (B, D * H).

        `lengths_B` are 1 at least. Features behind the end of an example have no meaning.
        """
        last_B1 = lengths_B[:, None] - 1
        features_BLH, _ = self.forwards(steps_BLE)
        if self.backwards is None:
            return features_BLH, _taken(features_BLH, last_B1).squeeze(1)
        mirrored_BL = _mirrored(last_B1, steps_BLE.shape[1])
        backward_BLH, _ = self.backwards(_taken(steps_BLE, mirrored_BL))
        every = torch.cat([features_BLH, _taken(backward_BLH, mirrored_BL)], dim=2)
        ends = [_taken(each, last_B1).squeeze(1) for each in (features_BLH, backward_BLH)]
        return every, torch.cat(ends, dim=1)


class RecurrenceNode(nn.Module):
    """A trained layer as one node of an exported file: it can only be exported, not run."""

    weights: Tensor
    """(D, G * H, E)"""
    recurrence: Tensor
    """(D, G * H, H)"""
    biases: Tensor
    """(D, 2 * G * H)"""

    def __init__(self, layer: Recurrence) -> None:
        super().__init__()
        self.kind, self.width = layer.kind, layer.width
        found = [{name: _in_order(each, layer.kind) for name, each in d.named_parameters()} for d in layer.directions]
        weights = [each["weight_ih_l0"] for each in found]
        recurrence = [each["weight_hh_l0"] for each in found]
        biases = [torch.cat([each["bias_ih_l0"], each["bias_hh_l0"]]) for each in found]
        self.register_buffer("weights", torch.stack(weights))
        self.register_buffer("recurrence", torch.stack(recurrence))
        self.register_buffer("biases", torch.stack(biases))

    def forward(self, steps_BLE: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the node does, in the shapes of `Recurrence`."""
        directions, batch, length = len(self.weights), steps_BLE.shape[0], steps_BLE.shape[1]
        ends = (directions, batch, self.width)
        shapes = [(length, *ends), ends, *([ends] if self.kind == "lstm" else [])]  # the last is of its cells
        attributes: dict[str, Any] = {
            "hidden_size": self.width,
            "direction": "forward" if directions == 1 else "bidirectional",
            **({"linear_before_reset": 1} if self.kind == "gru" else {}),
        }
        every_LDBH, ends_DBH, *_ = torch.onnx.ops.symbolic_multi_out(
            self.kind.upper(),
            [steps_BLE.transpose(0, 1), self.weights, self.recurrence, self.biases, lengths_B.int()],
            attributes,
            dtypes=[steps_BLE.dtype] * len(shapes),
            shapes=shapes,
        )
        return every_LDBH.permute(2, 0, 1, 3).flatten(2), ends_DBH.transpose(0, 1).flatten(1)


def as_nodes(net: nn.Module) -> nn.Module:
    """Return a copy of a net for export, with each recurrent layer as one node."""
    exported = copy.deepcopy(net)
    for parent in list(exported.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Recurrence):
                parent.add_module(name, RecurrenceNode(child))
    return exported


def _in_order(weight: Tensor, kind: Kind) -> Tensor:
    """Return a tensor of all gates (G * H, …) with its gates as ONNX has them."""
    gates = weight.detach().chunk(len(GATES[kind]))
    return torch.cat([gates[place] for place in GATES[kind]])


def _mirrored(last_B1: Tensor, length: int) -> Tensor:
    """Return the places of each example's steps from its last to its first, int64 (B, L); those behind it stay."""
    places_L = torch.arange(length, device=last_B1.device)
    backwards_BL = last_B1 - places_L
    return torch.where(backwards_BL >= 0, backwards_BL, places_L)


def _taken(values_BLH: Tensor, places_BL: Tensor) -> Tensor:
    return values_BLH.gather(1, places_BL[:, :, None].expand(-1, -1, values_BLH.shape[2]))
