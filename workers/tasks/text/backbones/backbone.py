"""Backbones of texts as torch modules, made of their parts in a spec."""

from dataclasses import dataclass
from functools import singledispatch

from torch import nn

from models_store.spec.network import Network
from workers.tasks.text.front_end import FrontEnd, FrontEnds
from workers.training.learner import Stages


@dataclass(frozen=True, eq=False)
class Backbone:
    """A net from texts as its front end takes them to features (B, F)."""

    net: nn.Module
    feature_count: int
    stages: Stages
    has_scores: bool = False
    """whether the features are scores of the classes, to which the head adds no weights"""


@singledispatch
def build(part: Network, *, front_end: FrontEnd | FrontEnds, drop_path: float = 0.0) -> Backbone:
    """Return the backbone of a spec's part, with random weights.

    `drop_path` is how often the last of its residual branches is left out in training, if it has any.
    """
    raise NotImplementedError(f"there is no backbone {part.kind}")
