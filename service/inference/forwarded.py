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


Orders = Mapping[Order, Callable[[Served], Awaitable[object]]]


@dataclass(frozen=True)
class Ordered:
    """A front's order; its answer has no outcome, unless the owner refuses it."""

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
    outcome: Answer | EspalierError | None
    is_small: bool = False
