"""Served files: what a reference means at a moment, with the shares of an alias that has several targets."""

from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Served:
    """What a reference means at this moment: one file, and what is known of it.

    Of an alias with several targets it is the first; `drawn` returns the one that answers a request.
    """

    owner: str
    model: str
    version: int
    variant: str
    blob: str
    card: dict[str, Any]
    variant_card: dict[str, Any]
    auxiliary_blobs: dict[str, str]
    size_bytes: int = 0
    golden_blob: str | None = None
    """a few validation examples with every variant's outputs; None: published by an earlier release"""
    split: tuple[tuple[float, "Served"], ...] = ()
    """the targets of a weighted alias, each with the sum of the shares up to it; empty: there is one"""
    shadow: "Shadowed | None" = None

    @property
    def name(self) -> str:
        """Return the reference that names this file alone."""
        return f"{self.model}:{self.version}/{self.variant}"

    def drawn(self, at: float) -> "Served":
        """Return the target at this place, from 0 to below 1, of all shares laid one after the other."""
        for until, target in self.split:
            if at < until:
                return target
        return self if not self.split else self.split[-1][1]


@dataclass(frozen=True)
class Shadowed:
    """A second file that is asked the same as an alias's targets, for a share of the requests."""

    alias: str
    served: Served
    share: float


def weighted(targets: list[tuple[float, Served]], *, shadow: Shadowed | None) -> Served:
    """Return the first target, with all of them as its split where there are several."""
    shadowed = [(weight, replace(served, shadow=shadow)) for weight, served in targets]
    if len(shadowed) == 1:
        return shadowed[0][1]
    total, until = sum(weight for weight, _ in shadowed), 0.0
    split = []
    for weight, served in shadowed:
        until += weight / total
        split.append((until, served))
    return replace(shadowed[0][1], split=tuple(split))
