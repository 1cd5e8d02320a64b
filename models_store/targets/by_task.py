"""Targets by their own name, and by the name of a task. No other module says which task has which target."""

from collections.abc import Mapping

from models_store.targets.labels import LABELS
from models_store.targets.number import NUMBER
from models_store.targets.one_class import ONE_CLASS
from models_store.targets.target import Name, Target

NAMED: Mapping[Name, Target] = {target.name: target for target in (ONE_CLASS, LABELS, NUMBER)}
OF_TASK: Mapping[str, Target] = {
    "image_classification": ONE_CLASS,
    "multilabel_classification": LABELS,
    "image_regression": NUMBER,
}


def of_task(task: str) -> Target:
    """Return the target of a spec's `task`."""
    return OF_TASK[task]
