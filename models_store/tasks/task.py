"""Protocols of a task: what its room supplies on the shared ground. `rooms` lists the tasks; no room is imported here."""

from collections.abc import Mapping
from typing import Protocol

from models_store.spec.train import ResolvedSpec, TrainSpec
from models_store.targets import Name


class Contract(Protocol):
    """A task on the shared ground. A room subclasses it; methods with a body suit most tasks as they are."""

    # ---- the spec

    targets: Mapping[str, Name]
    """a spec's `task` → what is learned; in the order in which the spec lists them"""
    Spec: type[TrainSpec]
    ResolvedSpec: type[ResolvedSpec]

    # ---- datasets

    # ---- the codec
