"""A text net as it is served: code points or tokens in, probabilities or numbers out."""

# N texts, L code points

import torch
from torch import Tensor, nn

from models_store.targets import Activation
from models_store.tasks.text.codec import CODE_POINTS, LENGTHS, TOKENS
from workers.export.served import Served, ServedNet
from workers.tasks.text.backbones.ensemble import EnsembleNet
from workers.tasks.text.backbones.ngrams import BagNet, LinearNet
from workers.tasks.text.net import TextNet
from workers.training.recurrence import as_nodes

OUTPUT = "probabilities"
TRACED_LENGTH = 16


class ServedCodePoints(ServedNet):
    """A net with its activation: code points int32 (N, L) in, probabilities or numbers (N, K) out."""

    def forward(self, code_points_NL: Tensor) -> Tensor:
        """Return the probability of each class or label, or the number, for each text."""
        return self.answers(code_points_NL)


class ServedTokens(ServedNet):
    """A net with its activation: tokens int32 (N, L) and how many of each row count (N,) in, the same out."""

    def forward(self, tokens_NL: Tensor, lengths_N: Tensor) -> Tensor:
        """Return the probability of each class or label, or the number, for each text."""
        places_L = torch.arange(tokens_NL.shape[1], dtype=torch.int32)
        return self.answers(torch.where(places_L < lengths_N.unsqueeze(1), tokens_NL, 0))


def served(net: nn.Module, *, in_graph: bool, activation: Activation, temperature: float = 1.0) -> Served:
    """Return a net as it is served, with its tokenizer in its graph or not; it stays as it is."""
    example_NL = torch.arange(65, 65 + 2 * TRACED_LENGTH, dtype=torch.int32).reshape(2, TRACED_LENGTH)
    free = {0: "N", 1: "L"}
    kind = ServedCodePoints if in_graph else ServedTokens
    module = kind(as_nodes(net), activation=activation, temperature=temperature)
    _fold(module)
    if in_graph:
        return Served(module.eval(), inputs={CODE_POINTS: example_NL}, output=OUTPUT, free={CODE_POINTS: free})
    inputs = {TOKENS: example_NL % 2 + 1, LENGTHS: torch.tensor([TRACED_LENGTH, TRACED_LENGTH - 1], dtype=torch.int32)}
    return Served(module.eval(), inputs=inputs, output=OUTPUT, free={TOKENS: free, LENGTHS: {0: "N"}})


def _fold(module: nn.Module) -> None:
    """Leave out of a served copy what only its training needs."""
    for part in module.modules():
        if isinstance(part, TextNet):
            _fold_head(part.backbone, part.head)
        elif isinstance(part, EnsembleNet):
            for member in part.members:
                _fold_head(member.get_submodule("net"), member.get_submodule("head"))
    for part in module.modules():
        if isinstance(part, LinearNet | BagNet):
            part.fold()


def _fold_head(backbone: nn.Module, head: nn.Module) -> None:
    """Let the n-grams of a bag have scores of their own, where these are fewer and its head has one layer."""
    if not isinstance(backbone, BagNet) or not isinstance(head, nn.Sequential):
        return
    layers = dict(head.named_children())
    last = layers.pop("classes", None)
    layers.pop("unit", None)  # it follows the last layer
    is_lone = all(isinstance(layer, nn.Dropout) for layer in layers.values())
    if is_lone and isinstance(last, nn.Linear) and last.out_features <= last.in_features:
        head.add_module("classes", backbone.take(last))
