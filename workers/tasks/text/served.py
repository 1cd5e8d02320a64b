"""A text net as it is served: code points in, probabilities or numbers out."""

# N texts, L code points

import torch
from torch import Tensor, nn

from models_store.targets import Activation
from models_store.tasks.text.codec import CODE_POINTS
from workers.export.served import Served, ServedNet
from workers.training.recurrence import as_nodes

OUTPUT = "probabilities"
TRACED_LENGTH = 16


class ServedTextNet(ServedNet):
    """A net with its activation: code points int32 (N, L) in, probabilities or numbers (N, K) out."""

    def forward(self, code_points_NL: Tensor) -> Tensor:
        """Return the probability of each class or label, or the number, for each text."""
        return self.answers(code_points_NL)


def served(net: nn.Module, *, activation: Activation, temperature: float = 1.0) -> Served:
    """Return a net as it is served; it stays as it is."""
    module = ServedTextNet(as_nodes(net), activation=activation, temperature=temperature)
    example_NL = torch.arange(65, 65 + 2 * TRACED_LENGTH, dtype=torch.int32).reshape(2, TRACED_LENGTH)
    return Served(module.eval(), inputs={CODE_POINTS: example_NL}, output=OUTPUT, free={CODE_POINTS: {0: "N", 1: "L"}})
