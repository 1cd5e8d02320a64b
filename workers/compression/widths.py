"""Widths of all bundles: the rungs of a ladder, from the whole net down to the narrowest, in one order.

A rung takes from one bundle as much as leaves the next multiple of `round_to` channels. How far down to go is one
number, so that a ratio is kept by counting, and a speedup is found by bisection.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from models_store.spec.pruning import StructuredPruning

Widths = dict[str, int]
"""bundle → units left"""

LEAST_SHARE = 0.1  # of a layer, that ranking all layers together leaves it
ROUNDING = 1e-9


@dataclass(frozen=True)
class Studied:
    """A bundle's units as they were found: what each is worth, on average 1, and how many channels one is of."""

    name: str
    channels: int
    scores: tuple[float, ...]

    @property
    def width(self) -> int:
        """Return how many units there are."""
        return len(self.scores)

    def leaving(self, left: int) -> list[int]:
        """Return the units of least worth, all but `left`, in ascending order; of equals, the first leave."""
        order = sorted(range(self.width), key=lambda unit: self.scores[unit])
        return sorted(order[: self.width - left])


@dataclass(frozen=True)
class Rung:
    """One bundle's next step down, to `left` units; `key` is its place in the order of all."""

    name: str
    left: int
    key: float


def ladder(bundles: Sequence[Studied], part: StructuredPruning, *, whole: Mapping[str, int]) -> list[Rung]:
    """Return the rungs from the net as it is. `whole` are the widths of the net before any cut, for what a share is of.

    `uniform`: by the share that is gone, half way through the rung, so that each layer has lost the same share, to the
    nearest multiple. `global`: by the mean worth of what leaves; a tenth of a layer stays in any case.
    """
    rungs = []
    for bundle in bundles:
        least = LEAST_SHARE * whole[bundle.name] if part.scope == "global" else 0
        lefts = [left for left in _multiples(bundle, part.round_to) if left >= least]
        steps = list(zip([bundle.width, *lefts], lefts, strict=False))
        if part.scope == "uniform":
            keys = [1 - (before + left) / (2 * whole[bundle.name]) for before, left in steps]
        else:
            ranked = sorted(bundle.scores)
            means = [
                sum(ranked[bundle.width - before : bundle.width - left]) / (before - left) for before, left in steps
            ]
            keys = list(accumulate(means, max))  # never below the rung above, whatever rounding does
        rungs += [Rung(bundle.name, left, key) for (_, left), key in zip(steps, keys, strict=True)]
    return sorted(rungs, key=lambda rung: rung.key)  # stable: of equals, what is nearer to the input


def count_at(
    rungs: Sequence[Rung],
    bundles: Sequence[Studied],
    part: StructuredPruning,
    ratio: float,
    *,
    whole: Mapping[str, int],
) -> int:
    """Return how many rungs to take for a share of `ratio` of the whole net's channels to be gone."""
    if part.scope == "uniform":
        return sum(rung.key <= ratio + ROUNDING for rung in rungs)
    for count in range(len(rungs) + 1):
        if removed_share(rungs[:count], bundles, whole=whole) >= ratio - ROUNDING:
            return count
    return len(rungs)


def after(rungs: Sequence[Rung], bundles: Sequence[Studied]) -> Widths:
    """Return the widths when these rungs are taken, one after the other."""
    return {bundle.name: bundle.width for bundle in bundles} | {rung.name: rung.left for rung in rungs}


def removed_share(rungs: Sequence[Rung], bundles: Sequence[Studied], *, whole: Mapping[str, int]) -> float:
    """Return the share of the whole net's channels, of all bundles, that is gone after the rungs."""
    left = after(rungs, bundles)
    total = sum(whole[bundle.name] * bundle.channels for bundle in bundles)
    return 1 - sum(left[bundle.name] * bundle.channels for bundle in bundles) / total if total else 0.0


def on_the_way(
    goal: Mapping[str, int],
    bundles: Sequence[Studied],
    part: StructuredPruning,
    share: float,
    *,
    whole: Mapping[str, int],
) -> Widths:
    """Return the widths after a share of the way from the whole net to the goal, rounded up to what a rung leaves."""
    found = {}
    for bundle in bundles:
        wanted = whole[bundle.name] - share * (whole[bundle.name] - goal[bundle.name])
        possible = [bundle.width, *_multiples(bundle, part.round_to)]
        found[bundle.name] = min(left for left in possible if left >= min(wanted, bundle.width) - ROUNDING)
    return found


def _multiples(bundle: Studied, round_to: int) -> list[int]:
    """Return the widths below the bundle's own whose channels are a multiple of `round_to`, in falling order."""
    step = round_to // math.gcd(round_to, bundle.channels)
    return [left for left in range(bundle.width - 1, 0, -1) if left % step == 0]
