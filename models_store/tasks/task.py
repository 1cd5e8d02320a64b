"""Protocols of a task: what its room supplies on the shared ground. `rooms` lists the tasks; no room is imported here."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from models_store.settings import Settings
from models_store.spec.train import ResolvedSpec, TrainSpec
from models_store.targets import Name
from models_store.tasks.codec import Codec


class Contract(Protocol):
    """A task on the shared ground. A room subclasses it; methods with a body suit most tasks as they are."""

    # ---- the spec

    targets: Mapping[str, Name]
    """a spec's `task` → what is learned; in the order in which the spec lists them"""
    Spec: type[TrainSpec]
    ResolvedSpec: type[ResolvedSpec]

    # ---- datasets

    # ---- predictions

    example: str
    """the word for one example in messages: "image\""""
    examples: str
    """its plural, which names metrics too"""
    json_example: Any
    """pydantic's type of one example in a JSON body"""
    json_meaning: str
    """the examples of a JSON body, in the API's description"""
    json_sample: Any
    """one example in a JSON body, for the API's description"""
    media_types: tuple[str, ...] = ()
    """content types of a body that is one example, beside application/octet-stream; "image/*" has all of a kind"""
    formats: str = ""
    """names of the formats of a file that is one example; none where no file is"""

    def codec(self, card: Mapping[str, Any], *, files: Mapping[str, Path], settings: Settings) -> Codec[Any]:
        """Return the codec that a model's card describes; `files` are the model's own besides its net, by name."""
        ...
