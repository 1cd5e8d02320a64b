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


class Advice(Enum):
    """What the owner advises a front for the next requests of a client for the same model."""

    FORWARD = "forward"
    """go on as before"""
    COPY = "copy"
    """run it yourself: it is small"""
    MOVE = "move"
    """give the client's connection to the owner: the model is so slow that the owner's event loop has little to do"""


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
    """The owner's answer to a request, with its advice for the next ones."""

    request: int
    outcome: Answer | InMemory | EspalierError | None
    advice: Advice = Advice.FORWARD
