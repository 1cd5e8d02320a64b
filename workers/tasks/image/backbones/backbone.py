"""Backbone that every builder returns, and the one call that chooses a builder."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import singledispatch
from pathlib import Path

from torch import nn

from models_store.spec.part import Part
from workers.training.learner import Stages


@dataclass(frozen=True)
class Backbone:
    """A network without its classifier, and the number of features that it gives for each image.

    `stages` are its parts from input to output, each a name and the prefixes of its parameters' names; together they
    cover every parameter. `classifier` is what the names of the tensors begin with that published files have besides.
    """

    net: nn.Module
    feature_count: int
    stages: Stages
    classifier: str | None = None


@singledispatch
def build(part: Part, *, size: int, channels: int, weights_dir: Path, drop_path: float = 0.0) -> Backbone:
    """Return the backbone, with its published weights when the part says `imagenet`, else with random ones.

    `size` is the side of the input in pixels; `weights_dir` is looked into first, and keeps what is downloaded;
    `drop_path` is how often the last residual branch is left out in training, where a backbone has such branches.

    Raises:
        WeightsUnavailable: if the published weights can't be had.
        WeightsUnfit: if a file in `weights_dir` does not fit.
    """
    raise NotImplementedError(
        f"no backbone is built for {type(part).__name__}, {size} px, {channels} channels, {weights_dir}, {drop_path}"
    )


def named(stages: Sequence[str], prefixes: Sequence[Sequence[str]]) -> Stages:
    """Return the stages that a spec names with the prefixes of each one's parameters, in the same order."""
    return tuple((name, tuple(each)) for name, each in zip(stages, prefixes, strict=True))
