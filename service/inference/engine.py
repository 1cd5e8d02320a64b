"""Engine: the one way from examples to a model's outputs, for every protocol that a client may speak.

Errors besides those of decoding (`BadInput`, `OverBudget`):

EspalierError
├── Overloaded (429)          too much waits for the model; `Retry-After` says when it will have passed
│   └── DeadlineTooShort      what waits takes, or took, longer than the request's own deadline
├── PredictTimeout (504)      the deadline passed, though nothing was ahead of the request
├── ModelUnusable (503)       the model's file is missing, damaged, or not what its card says
└── InferenceFailed (500)     the model failed while it ran
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from models_store.errors import EspalierError, Unavailable
from models_store.models.served import Served
from models_store.tasks import rooms
from service.inference.decode import Example

# B batch, K class or label (1 for a number)
Outputs = npt.NDArray[np.float32]
Notes = dict[str, Any]
"""what the codec notes of an example, by name; JSON"""

FIRST, DEFAULT, LAST = 1, 5, 9
"""priorities of a request"""


@dataclass(frozen=True)
class Work:
    """Examples of one request, and how urgent they are. `pointers` name the examples in errors."""

    examples: Sequence[Example]
    pointers: Sequence[str]
    deadline_s: float | None = None
    """when the answer is of no use any more, by `time.monotonic()`; None: PREDICT_TIMEOUT_S from now"""
    priority: int = DEFAULT
    """1 is served first, 9 last; requests of the same priority are served in their order"""


@dataclass(frozen=True)
class Answer:
    """Outputs for a request; times are of its own examples, the longest of each where several lanes shared them."""

    outputs: list[Outputs]
    """float32 (K,) of each example, in the order of the request"""
    queue_s: float
    decode_s: float
    run_s: float
    batch_size: int
    """examples that ran together, the most where several lanes shared the request"""
    provider: str
    """execution provider that ran them, as onnxruntime names it"""
    notes: Sequence[Notes] = ()
    """what the codec notes of each example, in the same order; empty: nothing of any"""
    better_in_owner: bool = False
    """another API process has answered, which had better have the client's connection too"""


class Engine(Protocol):
    """Models that answer: in this process, or in another one."""

    async def infer(self, served: Served, work: Work) -> Answer:
        """Return the model's outputs. Cancelling it withdraws the examples, and stops a batch that nobody waits for.

        Raises:
            BadInput: naming every example that can't be used (the first 20).
            OverBudget: if they are too much together.
            Overloaded: if too much waits for the model.
            DeadlineTooShort: if they can't be answered in time.
            PredictTimeout: if they were not answered in time.
            ModelUnusable: if the model's file can't be used.
            InferenceFailed: if the model failed.
        """
        ...


class Overloaded(EspalierError):
    """Too much waits for this model; the same request is taken once that has passed."""

    status = 429
    code = "overloaded"
    title = f"Too many {rooms.examples()} are waiting"

    def __init__(self, detail: str, *, retry_after_s: float = 1) -> None:
        super().__init__(detail)
        self.headers = {"Retry-After": str(max(1, math.ceil(retry_after_s)))}


class DeadlineTooShort(Overloaded):
    """What waits for this model takes longer than the request can wait."""

    code = "deadline_too_short"
    title = "The answer would come too late"


class PredictTimeout(EspalierError):
    """The examples were not answered in time."""

    status = 504
    code = "predict_timeout"
    title = "The prediction took too long"


class ModelUnusable(Unavailable):
    """The model is registered, and its file is missing, damaged, or not what its card says."""

    code = "model_unusable"
    title = "The model's file can't be used"


class InferenceFailed(EspalierError):
    """The model failed while it ran."""

    code = "inference_failed"
    title = "The model failed"
