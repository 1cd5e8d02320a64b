"""Messages of the links between API processes: what fronts ask of the owner of large models, and its answers."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from models_store.errors import EspalierError
from models_store.models.served import Served
from service.inference.engine import Answer, Work


@dataclass(frozen=True)
class Asked:
    """A front's request; `served` comes with the first that bears its number."""

    request: int
    number: int
    served: Served | None
    work: Work


class Order(Enum):
    """What the owner is asked to do with a model."""

    LOAD = "load"
    UNLOAD = "unload"
    FIND = "find"


@dataclass(frozen=True)
class InMemory:
    """A file in memory: where it runs, and how."""

    provider: str
    """as onnxruntime names it, of the session itself"""
    tuning: str
    """name of the provider's tuning"""
    size_bytes: int
    """as measured when it was loaded"""
    is_pinned: bool


Orders = Mapping[Order, Callable[[Served], Awaitable[InMemory | None]]]


@dataclass(frozen=True)
class Ordered:
    """A front's order; its answer has the state of the file afterwards, or the owner's refusal."""

    request: int
    order: Order
    served: Served


@dataclass(frozen=True)
class Withdrawn:
    """A request whose client has gone."""

    request: int


@dataclass(frozen=True)
class Answered:
    """The owner's answer to a request, and whether the model is so small that the front had better run it itself."""

    request: int
    outcome: Answer | InMemory | EspalierError | None
    is_small: bool = False
