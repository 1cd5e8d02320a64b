"""A classifier's pictures on one split: confusions, curves, calibration, classes."""

# K classes

from collections.abc import Sequence
from typing import Any

import numpy as np

from models_store.wording import counted, inflected
from workers.evaluation.pictures.canvas import (
    COLOURS,
    FAINT,
    INK,
    MOST_ROWS,
    SHADES,
    Drawing,
    Picture,
    in_style,
    room_for,
    short,
)

DARK = 0.55  # share of a row from which a cell needs dark figures
CURVES = {
    "roc": ("false_positive_rate", "true_positive_rate", "roc_auc", "ROC curves", "area under the ROC curve"),
    "precision_recall": ("recall", "precision", "average_precision", "Precision and recall", "average precision"),
}


def worst(rows: Sequence[dict[str, Any]], figure: str, *, most: int = MOST_ROWS) -> list[int]:
    """Return the classes of lowest figure, lowest first; those without one come not at all."""
    defined = [number for number, row in enumerate(rows) if row[figure] is not None]
    return sorted(defined, key=lambda number: (rows[number][figure], number))[:most]


@in_style
def confusion(matrix_KK: Sequence[Sequence[int]], rows: Sequence[dict[str, Any]], *, split: str) -> Picture:
    """Return the confusion matrix; the colour is the share of the row, the figure the count.

    Of more than 20 classes the 20 of lowest F1 are shown.
    """
    counts_KK = np.asarray(matrix_KK)
    everyone = len(rows) <= MOST_ROWS
    shown = list(range(len(rows))) if everyone else sorted(worst(rows, "f1"))
    labels = [short(rows[number]["label"]) for number in shown]
    part_KK = counts_KK[np.ix_(shown, shown)]
    shares_KK = part_KK / np.maximum(counts_KK[shown].sum(axis=1, keepdims=True), 1)
    side, margin = max(2.2, 0.34 * len(shown)), room_for(labels)
    drawing = Drawing(width=side + margin + 1.3, height=side + margin + 0.7)
    axes = drawing.panels[0]
    width, height = drawing.figure.get_size_inches()
    axes.set_position([(margin + 0.3) / width, (margin + 0.3) / height, side / width, side / height])
    mesh = axes.pcolormesh(shares_KK, cmap=SHADES, vmin=0, vmax=1, edgecolors=FAINT, linewidth=0.3)
    for row, column in zip(*np.nonzero(part_KK), strict=True):
        colour = "#000000" if shares_KK[row, column] > DARK else "#ffffff"
        axes.text(column + 0.5, row + 0.5, f"{part_KK[row, column]}", ha="center", va="center", size=8, color=colour)
    axes.invert_yaxis()
    axes.set_xticks(np.arange(len(shown)) + 0.5, labels, rotation=90)
    axes.set_yticks(np.arange(len(shown)) + 0.5, labels)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.set_xlabel("answered")
    axes.set_ylabel("true")
    bar = drawing.figure.add_axes(
        [(margin + 0.45 + side) / width, (margin + 0.3) / height, 0.12 / width, side / height]
    )
    drawing.figure.colorbar(mesh, cax=bar, label="share of the true class")
    bar.grid(visible=False)
    right, total = int(counts_KK.diagonal().sum()), int(counts_KK.sum())
    title = "Confusion matrix" if everyone else f"Confusion matrix of the {len(shown)} classes with the lowest F1"
    are_right = f"{right} of {counted(total, 'answer')} {inflected(right, 'is', 'are')} right"
    text = f"{are_right}. {list_of_confusions(confusions(counts_KK, rows)[:3])}"
    return drawing.svg(f"{split}-confusion", title=title, text=text)


def confusions(matrix_KK: Any, rows: Sequence[dict[str, Any]], *, most: int = 20) -> list[dict[str, Any]]:  # noqa: ANN401  an array or lists
    """Return the most frequent confusions, the most frequent first: `label`, `answer`, `count`."""
    wrong_KK = np.array(matrix_KK)
    np.fill_diagonal(wrong_KK, 0)
    order = np.argsort(-wrong_KK, axis=None, kind="stable")[:most]
    pairs = zip(*np.unravel_index(order, wrong_KK.shape), strict=True)
    return [
        {"label": rows[true]["label"], "answer": rows[answer]["label"], "count": int(wrong_KK[true, answer])}
        for true, answer in pairs
        if wrong_KK[true, answer]
    ]


def list_of_confusions(found: Sequence[dict[str, Any]]) -> str:
    """Return the confusions in words."""
    if not found:
        return "Nothing is confused."
    pairs = ", ".join(f"{short(each['label'])} for {short(each['answer'])} ({each['count']})" for each in found)
    return f"Most often confused: {pairs}."


@in_style
def curves(
    kind: str, found: dict[str, dict[str, list[float]]], rows: Sequence[dict[str, Any]], *, split: str
) -> Picture | None:
    """Return the ROC (`roc`) or the precision-recall curves, the worst in colour; None where no class defines one."""
    across, up, figure, title, area = CURVES[kind]
    drawn = [number for number in worst(rows, figure) if rows[number]["label"] in found]
    if not drawn:
        return None
    drawing = Drawing(width=5.2, height=4.2)
    axes = drawing.panels[0]
    for place, number in reversed(list(enumerate(drawn))):
        row = rows[number]
        curve = found[row["label"]]
        if place < len(COLOURS):
            label = f"{short(row['label'])} {row[figure]:.3f}"
            axes.plot(curve[across], curve[up], color=COLOURS[place], label=label, zorder=3)
        else:
            axes.plot(curve[across], curve[up], color=FAINT, linewidth=0.8)
    if kind == "roc":
        axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle="--")
    axes.set_xlabel(across.replace("_", " "))
    axes.set_ylabel(up.replace("_", " "))
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    axes.set_title(f"{area}, lowest first" if len(drawn) > 1 else area)
    axes.legend(loc="lower right" if kind == "roc" else "best", reverse=True)
    lowest = rows[drawn[0]]
    text = f"The lowest {area} is {lowest[figure]:.3f}, of {short(lowest['label'])}."
    return drawing.svg(f"{split}-{kind.replace('_', '-')}", title=title, text=text)


@in_style
def reliability(
    before: Sequence[dict[str, Any]],
    after: Sequence[dict[str, Any]],
    *,
    errors: tuple[float, float],
    temperature: float,
    split: str,
) -> Picture:
    """Return how right answers are against how sure they are, before and after temperature scaling.

    `errors` are the expected calibration errors of both.
    """
    drawing = Drawing(width=8.0, height=3.8, panels=2)
    drawing.figure.subplots_adjust(wspace=0.25)
    left, right = drawing.panels
    left.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle="--", label="confidence = accuracy")
    for bins, name, error, colour, style in (
        (before, "before", errors[0], COLOURS[1], "s--"),
        (after, "after", errors[1], COLOURS[0], "o-"),
    ):
        filled = [each for each in bins if each["count"]]
        sure, exact = [each["confidence"] for each in filled], [each["accuracy"] for each in filled]
        left.plot(sure, exact, style, color=colour, markersize=4, label=f"{name}: error {error:.4f}")
        edges = [each["from"] for each in bins] + [1.0]
        right.stairs([each["count"] for each in bins], edges, color=colour, linewidth=1.8, label=name)
    left.set_xlabel("confidence")
    left.set_ylabel("accuracy")
    drawing.figure.legend(*left.get_legend_handles_labels(), loc="upper center", ncols=3)
    right.set_xlabel("confidence")
    right.set_ylabel("answers")
    text = (
        f"Temperature {temperature:.3f}; the expected calibration error is {errors[0]:.4f} before scaling and "
        f"{errors[1]:.4f} after."
    )
    return drawing.svg(f"{split}-reliability", title="Calibration before and after temperature scaling", text=text)


@in_style
def per_class(rows: Sequence[dict[str, Any]], *, split: str) -> Picture | None:
    """Return each class's F1 as a bar, of many classes the worst 20; None where no class has one."""
    shown = worst(rows, "f1")
    if not shown:
        return None
    labels = [f"{short(rows[number]['label'])}  ({rows[number]['support']})" for number in shown]
    margin = 0.4 + 0.085 * max(len(label) for label in labels)
    drawing = Drawing(width=5.0 + margin, height=1.0 + 0.27 * len(shown))
    axes = drawing.panels[0]
    drawing.figure.subplots_adjust(left=margin / (5.0 + margin))
    values = [rows[number]["f1"] for number in shown]
    axes.barh(range(len(shown)), values, color=COLOURS[0], height=0.7)
    for place, value in enumerate(values):
        axes.text(value + 0.01, place, f"{value:.3f}", va="center", size=8)
    axes.set_yticks(range(len(shown)), labels)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.set_xlim(0, 1.1)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlabel("F1")
    title = "F1 of each class" if len(shown) == len(rows) else f"F1 of the {len(shown)} worst classes"
    text = f"The lowest F1 is {values[0]:.3f}, of {short(rows[shown[0]]['label'])}. In brackets: examples of the class."
    return drawing.svg(f"{split}-f1", title=title, text=text)
