"""Placement of points' names without overlap: each at the free place nearest to its point."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

GAP = 4.0  # between a point and its name, and at least between two names
STEP = (12.0, 6.0)  # of the places tried, across and up


@dataclass(frozen=True)
class Disc:
    """A point with the room that its marker takes."""

    x: float
    y: float
    radius: float


@dataclass(frozen=True)
class Box:
    """A rectangle by its lower left corner."""

    left: float
    bottom: float
    width: float
    height: float

    def overlaps(self, other: "Box", *, gap: float = 0.0) -> bool:
        """Return whether the two are nearer than `gap`."""
        return (
            self.left < other.left + other.width + gap
            and other.left < self.left + self.width + gap
            and self.bottom < other.bottom + other.height + gap
            and other.bottom < self.bottom + self.height + gap
        )

    def nearest(self, x: float, y: float) -> tuple[float, float]:
        """Return the place inside that is nearest to another one."""
        return min(max(x, self.left), self.left + self.width), min(max(y, self.bottom), self.bottom + self.height)

    def distance(self, disc: Disc) -> float:
        """Return how far the edge of the disc is, negative where it reaches in."""
        x, y = self.nearest(disc.x, disc.y)
        return math.hypot(x - disc.x, y - disc.y) - disc.radius


def place(discs: Sequence[Disc], sizes: Sequence[tuple[float, float]], *, area: Box) -> list[Box]:
    """Return a box of its size (width, height) for each disc: inside the area, off every disc and every other box.

    Where the area is too full for that, boxes may lie on discs, and in the end on each other.
    """
    placed: list[Box] = []
    for disc, (width, height) in zip(discs, sizes, strict=True):
        candidates = [
            box for box in _around(disc, width, height, area) if not any(box.overlaps(other, gap=2) for other in placed)
        ]
        free = (box for box in candidates if all(box.distance(other) >= GAP / 2 for other in discs))
        placed.append(next(free, candidates[0] if candidates else Box(disc.x, disc.y, width, height)))
    return placed


def _around(disc: Disc, width: float, height: float, area: Box) -> Iterator[Box]:
    """Yield the boxes beside the disc, then those all over the area, the nearest first; each is inside the area."""
    off = disc.radius + GAP
    beside = [
        Box(disc.x - width / 2, disc.y + off, width, height),
        Box(disc.x + 0.7 * off, disc.y + 0.7 * off, width, height),
        Box(disc.x - 0.7 * off - width, disc.y + 0.7 * off, width, height),
        Box(disc.x - off - width, disc.y - height / 2, width, height),
        Box(disc.x + off, disc.y - height / 2, width, height),
        Box(disc.x - width / 2, disc.y - off - height, width, height),
    ]
    across = range(max(int((area.width - width) / STEP[0]), 0) + 1)
    up = range(max(int((area.height - height) / STEP[1]), 0) + 1)
    grid = [
        Box(area.left + STEP[0] * column, area.bottom + STEP[1] * row, width, height)
        for column, row in itertools.product(across, up)
    ]
    inside = (
        box
        for box in beside
        if area.left <= box.left <= area.left + area.width - width
        and area.bottom <= box.bottom <= area.bottom + area.height - height
    )
    return itertools.chain(inside, sorted(grid, key=lambda box: box.distance(disc)))
