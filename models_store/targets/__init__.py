"""Targets: what is learned of an example (one class, labels, a number), with its scores and answers. numpy only."""

from models_store.targets.activations import ACTIVATIONS, Activation
from models_store.targets.labels import LABELS, THRESHOLD
from models_store.targets.names import NAMED
from models_store.targets.number import NUMBER
from models_store.targets.one_class import ONE_CLASS
from models_store.targets.target import TIE, Answers, Figure, Name, Target

__all__ = [
    "ACTIVATIONS",
    "LABELS",
    "NAMED",
    "NUMBER",
    "ONE_CLASS",
    "THRESHOLD",
    "TIE",
    "Activation",
    "Answers",
    "Figure",
    "Name",
    "Target",
]
