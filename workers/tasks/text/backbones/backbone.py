"""Backbones of texts as torch modules, made of their parts in a spec."""

from dataclasses import dataclass
from functools import singledispatch

from torch import nn

from models_store.spec.network import Network
from workers.tasks.text.front_end import FrontEnd
from workers.training.learner import Stages


@dataclass(frozen=True, eq=False)
class Backbone:
    """A net from texts as its front end takes them to features (B, F)."""

    net: nn.Module
    feature_count: int
    stages: Stages


@singledispatch
def build(part: Network, *, front_end: FrontEnd) -> Backbone:
    """Return the backbone of a spec's part, with random weights."""
    raise NotImplementedError(f"there is no backbone {part.kind}")
