"""The picture of a version's variants on one provider: accuracy against latency, the size of the file as area."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from workers.evaluation.pictures.canvas import COLOURS, FAINT, INK, Drawing, Picture, in_style
from workers.evaluation.pictures.labels import Box, Disc, place

Standing = Literal["default", "accepted", "refused"]

WIDTH, HEIGHT = 8.0, 4.8
HEIGHT_PER_FORM = 0.12
LARGEST, LEAST = 900.0, 14.0  # area of the markers of the largest file, and of one that is next to nothing; points²
WIDE = 4.0  # slowest to fastest, from which on the axis is logarithmic
LEGIBLE = 6.0  # pixels between a marker and its name, from which on a line joins them
MARKS = {"default": "default", "accepted": "accepted", "refused": "refused or size only"}
COLOUR = {"default": COLOURS[2], "accepted": COLOURS[0], "refused": COLOURS[1]}


@dataclass(frozen=True)
class Point:
    """One variant as measured: `accuracy` on the test split (else validation; of numbers R²), p50 of one example."""

    name: str
    accuracy: float
    latency_ms: float
    size_bytes: int
    standing: Standing


def front(points: Sequence[Point]) -> list[Point]:
    """Return the points that none beats in both accuracy and latency, fastest first."""
    kept: list[Point] = []
    for point in sorted(points, key=lambda each: (each.latency_ms, -each.accuracy)):
        if not kept or point.accuracy > kept[-1].accuracy:
            kept.append(point)
    return kept


def megabytes(size_bytes: float) -> str:
    """Return a size for people."""
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 1e6 else f"{size_bytes / 1e3:.0f} KB"  # noqa: PLR2004  as said


@in_style
def pareto(points: Sequence[Point], *, provider: str, split: str, metric: str = "accuracy") -> list[Picture]:
    """Return the picture as SVG and as PNG; nothing without a point.

    The default is a ringed, starred disc, an accepted variant a disc, a refused one a dashed circle with a cross.
    """
    points = [each for each in points if math.isfinite(each.accuracy) and math.isfinite(each.latency_ms)]
    if not points:
        return []
    drawing = Drawing(width=WIDTH, height=HEIGHT + HEIGHT_PER_FORM * len(points))
    axes = drawing.panels[0]
    drawing.figure.subplots_adjust(left=0.95 / WIDTH)
    _scale(axes, points)
    best = front(points)
    ends = axes.get_xlim()[1], axes.get_ylim()[0]
    axes.plot(
        [best[0].latency_ms, *(each.latency_ms for each in best), ends[0]],
        [ends[1], *(each.accuracy for each in best), best[-1].accuracy],
        drawstyle="steps-post",
        color=FAINT,
        linewidth=1.2,
        linestyle="--",
        zorder=1,
        label="Pareto front",
    )
    for point in sorted(points, key=lambda each: -each.size_bytes):
        _mark(axes, point, _area(point, points))
    _write_names(drawing, points)
    for standing in dict.fromkeys(each.standing for each in points):
        _mark(axes, Point("", math.nan, math.nan, 1, standing), 60.0, label=MARKS[standing])
    axes.set_xlabel("latency of one example, p50 in ms" + (", logarithmic" if axes.get_xscale() == "log" else ""))
    axes.set_ylabel(f"{metric} on the {'validation' if split == 'val' else split} split")
    drawing.figure.legend(loc="upper center", ncols=4)
    title = f"{metric.capitalize()} against latency: {provider}"
    text = _described(points, best)
    return [
        drawing.svg(f"forms-{provider}", title=title, text=text),
        drawing.png(f"forms-{provider}", title=title, text=text),
    ]


def _scale(axes: Any, points: Sequence[Point]) -> None:  # noqa: ANN401  matplotlib has no types
    fastest, slowest = (choose(each.latency_ms for each in points) for choose in (min, max))
    lowest, highest = (choose(each.accuracy for each in points) for choose in (min, max))
    if slowest > WIDE * fastest:
        from matplotlib.ticker import LogLocator, NullFormatter  # noqa: PLC0415  a second that others are spared

        axes.set_xscale("log")
        margin = (slowest / fastest) ** 0.12
        axes.set_xlim(fastest / margin, slowest * margin)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        margin = max(0.15 * (slowest - fastest), 0.1 * slowest)
        axes.set_xlim(fastest - margin, slowest + margin)
    room = max(0.15 * (highest - lowest), 0.004)
    axes.set_ylim(lowest - room, highest + room)


def _area(point: Point, points: Sequence[Point]) -> float:
    return max(LARGEST * point.size_bytes / max(each.size_bytes for each in points), LEAST)


def _mark(axes: Any, point: Point, area: float, *, label: str | None = None) -> None:  # noqa: ANN401  as above
    at, colour = ([point.latency_ms], [point.accuracy]), COLOUR[point.standing]
    if point.standing == "refused":
        axes.scatter(*at, s=area, facecolors="none", edgecolors=colour, linestyles="--", linewidths=1.4, zorder=3)
        axes.scatter(*at, s=22, marker="x", color=colour, linewidths=1.4, zorder=4, label=label)
    elif point.standing == "accepted":
        axes.scatter(*at, s=area, color=colour, alpha=0.75, linewidths=0, zorder=2, label=label)
    else:
        axes.scatter(*at, s=area, facecolors=colour, edgecolors=INK, linewidths=1.8, zorder=3)
        axes.scatter(*at, s=60, marker="*", color=INK, linewidths=0, zorder=5, label=label)


def _write_names(drawing: Drawing, points: Sequence[Point]) -> None:
    """Write each variant's name and size beside its point, joined by a line where the place there was taken."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415  as above

    figure, axes = drawing.figure, drawing.panels[0]
    renderer = FigureCanvasAgg(figure).get_renderer()
    names = [f"{each.name}, {megabytes(each.size_bytes)}" for each in points]
    weights = ["bold" if each.standing == "default" else "normal" for each in points]
    texts = [
        figure.text(0, 0, name, size=8.5, weight=weight, ha="left", va="bottom", zorder=6)
        for name, weight in zip(names, weights, strict=True)
    ]
    extents = [text.get_window_extent(renderer) for text in texts]
    discs = [_disc(axes, each, _area(each, points), dpi=figure.dpi) for each in points]
    inside = axes.get_window_extent(renderer)
    area = Box(inside.x0, inside.y0, inside.width, inside.height)
    boxes = place(discs, [(each.width, each.height) for each in extents], area=area)
    width, height = figure.bbox.size
    for text, disc, box in zip(texts, discs, boxes, strict=True):
        text.set_position((box.left / width, box.bottom / height))
        if box.distance(disc) > LEGIBLE:
            x, y = box.nearest(disc.x, disc.y)
            axes.plot(
                [disc.x / width, x / width],
                [disc.y / height, y / height],
                transform=figure.transFigure,
                color=FAINT,
                linewidth=0.7,
                zorder=1.5,
            )


def _disc(axes: Any, point: Point, area: float, *, dpi: float) -> Disc:  # noqa: ANN401  as above
    x, y = axes.transData.transform((point.latency_ms, point.accuracy))
    return Disc(float(x), float(y), radius=math.sqrt(area) / 2 * dpi / 72)


def _described(points: Sequence[Point], best: Sequence[Point]) -> str:
    lines = [f"The area of a mark is the size of the file. On the Pareto front, fastest first: {_listed(best)}."]
    defaults = [each for each in points if each.standing == "default"]
    if defaults:
        lines.append(f"Default: {_listed(defaults)}.")
    refused = [each.name for each in points if each.standing == "refused"]
    if refused:
        lines.append(f"Refused: {', '.join(refused)}.")
    return " ".join(lines)


def _listed(points: Sequence[Point]) -> str:
    return ", ".join(f"{each.name} ({each.accuracy:.4f} at {each.latency_ms:.3g} ms)" for each in points)
