"""Targets by their names."""

from collections.abc import Mapping

from models_store.targets.labels import LABELS
from models_store.targets.number import NUMBER
from models_store.targets.one_class import ONE_CLASS
from models_store.targets.target import Name, Target

NAMED: Mapping[Name, Target] = {target.name: target for target in (ONE_CLASS, LABELS, NUMBER)}
