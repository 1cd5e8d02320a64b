"""Facts of a dataset that a spec is resolved against."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Target = Literal["class", "labels", "number"]


@dataclass(frozen=True)
class DatasetFacts:
    """Facts of any dataset; a task's room may add its own.

    `counts` are the train split's examples of each class (or with each label; empty for numbers). `target` says what an
    example has: one class, any number of labels, or a number. `grouped`: its table has a column of groups.
    `validation_count` are the examples of the val split, as far as that is known.
    """

    train_count: int
    counts: Mapping[str, int] = field(default_factory=dict)
    target: Target = "class"
    grouped: bool = field(default=False, kw_only=True)
    validation_count: int | None = field(default=None, kw_only=True)

    @property
    def class_count(self) -> int:
        """Return the number of classes or labels; 1 for numbers."""
        return max(1, len(self.counts))
