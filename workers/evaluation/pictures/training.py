"""A run's pictures: how loss, metric and learning rate went, epoch by epoch."""

import math
from collections.abc import Sequence

from workers.evaluation.pictures.canvas import COLOURS, FAINT, Drawing, Picture, in_style

LABELS = {"train": COLOURS[0], "val": COLOURS[1]}
FEW_EPOCHS = 30  # a marker each


@in_style
def curves(
    history: Sequence[dict[str, float]], *, best_epoch: int | None, metric: str = "accuracy", monitor: str = "val_loss"
) -> Picture | None:
    """Return loss, accuracy and learning rate over the epochs, None without an epoch; `best_epoch` is marked.

    `metric` is what the task's accuracy is called; a balanced `monitor`, which picked the best epoch, is a dashed line.
    """
    if not history:
        return None
    drawing = Drawing(width=10.5, height=3.0, panels=3)
    drawing.figure.subplots_adjust(wspace=0.28)
    epochs = [row["epoch"] for row in history]
    marker = "o" if len(history) <= FEW_EPOCHS else None
    for axes, quantity in zip(drawing.panels, ("loss", "accuracy", "lr"), strict=True):
        axes.set_title({"lr": "learning rate", "accuracy": metric}.get(quantity, quantity))
        axes.set_xlabel("epoch")
        names = (
            {quantity: COLOURS[2]} if quantity == "lr" else {f"{split}_{quantity}": LABELS[split] for split in LABELS}
        )
        for name, colour in names.items():
            values = [_finite(row.get(name)) for row in history]
            label = {"train": "train", "val": "validation"}.get(name.partition("_")[0], name)
            axes.plot(epochs, values, color=colour, label=label, marker=marker, markersize=3)
        if monitor == f"val_balanced_{quantity}" and monitor in history[-1]:
            values = [_finite(row.get(monitor)) for row in history]
            axes.plot(epochs, values, color=LABELS["val"], label="validation, balanced over classes", linestyle="--")
            axes.legend()
        if best_epoch is not None and len(history) > 1:
            axes.axvline(best_epoch, color=FAINT, linewidth=1, linestyle=":")
        axes.xaxis.get_major_locator().set_params(integer=True)
    drawing.panels[0].legend()
    drawing.panels[2].yaxis.set_major_formatter("{x:g}")
    last = history[-1]
    names = {"train_loss": "train loss", "val_loss": "validation loss", "val_accuracy": f"validation {metric}"}
    reported = ", ".join(f"{words} {last[name]:.4g}" for name, words in names.items() if name in last)
    why = f", the best by {monitor} ({history[best_epoch - 1][monitor]:.4g})" if best_epoch and monitor in last else ""
    best = f"; the weights of epoch {best_epoch} are kept (dotted line){why}" if best_epoch is not None else ""
    text = f"After epoch {last['epoch']:g}: {reported}{best}."
    return drawing.svg("curves", title=f"Loss, {metric} and learning rate", text=text)


def _finite(value: float | None) -> float:
    return value if value is not None and math.isfinite(value) else math.nan
