"""A net as it is served: what is exported, pruned, quantised, measured and verified without knowing the task.

Each task's room makes a `Served` of its nets (`workers.tasks.task.Task.served`).
"""

# N examples, K class or label (1 for a number)

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models_store.targets import Activation
from workers.training.learner import Prepared
from workers.training.targets import ACTIVATIONS


@dataclass(frozen=True, eq=False)
class Served:
    """A module from raw inputs to outputs (N, K), and how its file names what goes in and out."""

    module: nn.Module
    """in evaluation mode on the CPU; preprocessing, temperature and activation are in it; it takes `inputs` in order"""
    inputs: Mapping[str, Tensor]
    """two examples of each input, by the input's name"""
    output: str
    """the name of what comes out, float32 (N, K)"""
    free: Mapping[str, Mapping[int, str]]
    """of each input, the axes of any length, by name; axis 0 is the batch, `N`"""


class ServedNet(nn.Module):
    """A copy of a net with what comes after it in its file. A task's room adds `forward`, from raw inputs to `answers`.

    In the file, weights are called `classifier.…`.
    """

    def __init__(self, net: nn.Module, *, activation: Activation, temperature: float) -> None:
        super().__init__()
        self.classifier = copy.deepcopy(net).cpu().float().to(memory_format=torch.contiguous_format)
        self.activation = activation
        self.temperature = temperature

    def answers(self, inputs: Prepared) -> Tensor:
        """Return the probability of each class or label, or the number, of prepared inputs.

        The net's logits are divided by the temperature first (Guo et al. 2017, arXiv:1706.04599).
        """
        logits_NK: Tensor = self.classifier(inputs)
        if self.temperature != 1:
            logits_NK = logits_NK / self.temperature
        return ACTIVATIONS[self.activation](logits_NK)
