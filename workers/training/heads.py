"""Head of a net: the layers between the backbone's features and the outputs."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models_store.spec.head import Head

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}


def build(
    part: Head,
    feature_count: int,
    *,
    output_count: int,
    noise: Sequence[nn.Module],
    last_layer: nn.Module | None = None,
) -> nn.Module:
    """Return the head of a spec, from features (B, F) to logits (B, K).

    `noise` are the regularizers that act before its last linear layer; `last_layer`, when there is one, follows it.
    """
    layers: list[tuple[str, nn.Module]] = []
    width = feature_count
    for number, hidden in enumerate(part.hidden_sizes, 1):
        layers += [
            (f"dense{number}", nn.Linear(width, hidden)),
            (f"activation{number}", ACTIVATIONS[part.activation]()),
        ]
        if part.dropout:
            layers.append((f"dropout{number}", nn.Dropout(part.dropout)))
        width = hidden
    layers += [(f"noise{number}", layer) for number, layer in enumerate(noise, 1)]
    layers.append(("classes", nn.Linear(width, output_count)))
    if last_layer is not None:
        layers.append(("unit", last_layer))
    return nn.Sequential(OrderedDict(layers))


def bias(output_count: int, *, last_layer: nn.Module | None = None) -> nn.Module:
    """Return the head of a backbone whose features are scores of the classes: it adds a bias to each."""
    layers: list[tuple[str, nn.Module]] = [("classes", Bias(output_count))]
    if last_layer is not None:
        layers.append(("unit", last_layer))
    return nn.Sequential(OrderedDict(layers))


class Bias(nn.Module):
    """Adds a number to each output (B, K)."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(count))

    def forward(self, scores_BK: Tensor) -> Tensor:
        """Return scores with their biases."""
        return scores_BK + self.bias
