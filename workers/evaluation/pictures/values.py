"""The pictures of numbers on one split: answers against the truth, and what is left between them."""

# N examples

import numpy as np
import numpy.typing as npt

from workers.evaluation.pictures.canvas import COLOURS, INK, Drawing, Picture, in_style

Floats = npt.NDArray[np.float64]

MOST_POINTS = 3000
MANY = 300  # points from which each is faint


@in_style
def scatter(answers_N: Floats, true_N: Floats, *, split: str) -> Picture | None:
    """Return answers against true numbers and the errors beside them; None where an answer is not finite.

    Of more than 3000 examples every so-many-th is a point.
    """
    if not np.isfinite(answers_N).all():
        return None
    drawing = Drawing(width=9.0, height=4.0, panels=2)
    drawing.figure.subplots_adjust(wspace=0.28)
    left, right = drawing.panels
    kept = slice(None, None, -(-len(true_N) // MOST_POINTS))
    ends = [float(min(true_N.min(), answers_N.min())), float(max(true_N.max(), answers_N.max()))]
    alpha = 0.8 if len(true_N) <= MANY else 0.3
    left.plot(ends, ends, color=INK, linewidth=0.8, linestyle="--", label="answer = truth")
    left.scatter(true_N[kept], answers_N[kept], s=12, color=COLOURS[0], alpha=alpha, linewidths=0)
    left.set_xlabel("true")
    left.set_ylabel("answered")
    left.set_title("answers")
    left.legend(loc="upper left")
    errors_N = answers_N - true_N
    right.axhline(0, color=INK, linewidth=0.8, linestyle="--")
    right.scatter(true_N[kept], errors_N[kept], s=12, color=COLOURS[1], alpha=alpha, linewidths=0)
    right.set_xlabel("true")
    right.set_ylabel("predicted - true")
    right.set_title("residuals")
    text = (
        f"The mean absolute error is {np.abs(errors_N).mean():.4g}, the mean error {errors_N.mean():+.4g}, and the "
        f"median absolute error {np.median(np.abs(errors_N)):.4g}."
    )
    return drawing.svg(f"{split}-answers", title="Predicted against true numbers", text=text)


@in_style
def errors(answers_N: Floats, true_N: Floats, *, split: str) -> Picture | None:
    """Return how often which error comes; None where an answer is not finite."""
    if not np.isfinite(answers_N).all():
        return None
    errors_N = answers_N - true_N
    drawing = Drawing(width=5.0, height=4.0)
    axes = drawing.panels[0]
    axes.hist(errors_N, bins=min(40, max(5, int(np.sqrt(len(errors_N))))), color=COLOURS[0])
    axes.axvline(0, color=INK, linewidth=0.8, linestyle="--")
    axes.set_xlabel("predicted - true")
    axes.set_ylabel("examples")
    low, high = np.quantile(errors_N, [0.05, 0.95])
    text = f"Nine of ten errors are between {low:.4g} and {high:.4g}."
    return drawing.svg(f"{split}-errors", title="Distribution of the errors", text=text)
