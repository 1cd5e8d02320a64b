"""Figures of a split, whatever its target is."""

# N examples, K classes or labels (1 for a number)

from typing import Any, assert_never

import numpy.typing as npt

from models_store.targets import Target
from workers.evaluation import metrics, multilabel, regression
from workers.evaluation.calibration import Scores


def evaluate(target: Target, outputs_NK: Scores, truths: npt.NDArray[Any], names: list[str]) -> dict[str, Any]:
    """Return every figure that the target has, ready for JSON; `names` are of the classes or labels."""
    true = target.as_answers(truths)
    match target.name:
        case "class":
            return metrics.evaluate(outputs_NK, true, names)
        case "labels":
            return multilabel.evaluate(outputs_NK, true, names)
        case "number":
            return regression.evaluate(target.answers(outputs_NK), true)
        case _ as unknown:
            assert_never(unknown)


def headline(target: Target, outputs_NK: Scores, truths: npt.NDArray[Any], names: list[str]) -> dict[str, float]:
    """Return every headline figure that the target has and the examples define."""
    found = evaluate(target, outputs_NK, truths, names)
    return {name: float(found[name]) for name in target.headline if found[name] is not None}
