"""Explanations of answers: the model is run on copies of an example with a part hidden in each.

The copies go through the engine like any other example, one batch after the other and behind everything else that
waits. Each batch is made when the one before is answered: all 64 copies of a large example take some hundred MB.

NotExplained 422 · TooManyToExplain 422
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from models_store.errors import FieldError, Invalid
from models_store.models.served import Served
from models_store.targets import Target
from models_store.tasks import rooms
from models_store.tasks.codec import Codec
from models_store.tasks.explanation import MOST_PARTS, Method
from service.inference.decode import Ready, decode
from service.inference.engine import LAST, Answer, Engine, Outputs, Work

MOST_EXPLAINED = 4
"""examples of one request: each takes as long as MOST_PARTS"""


class NotExplained(Invalid):
    """Answers about such examples can't be explained."""

    code = "not_explained"
    title = "The answer can't be explained"


class TooManyToExplain(Invalid):
    """The request has more examples than are explained at once."""

    code = "too_many_to_explain"
    title = "Too many examples to explain"


@dataclass(frozen=True)
class Explanation:
    """Explanation of one answer, and how often the model was run for it."""

    method: Method
    runs: int
    largest_loss: float
    """of the answer's probability, or how far its number moved, at the part that matters most; 0 without any part"""
    shown: dict[str, Any]
    """as the task's room shows it, see `Occlusion.show`"""

    def as_json(self) -> dict[str, Any]:
        """Return the member of a prediction."""
        return {"method": self.method, "runs": self.runs, "largest_loss": self.largest_loss, **self.shown}


def check_count(examples: Sequence[Any]) -> None:
    """Refuse a request that asks for too much.

    Raises:
        TooManyToExplain: if it does.
    """
    if len(examples) > MOST_EXPLAINED:
        message = (
            f"{len(examples)} {rooms.examples()} came, and at most {MOST_EXPLAINED} are explained at once: the model "
            f"is run up to {MOST_PARTS} times for each"
        )
        raise TooManyToExplain(message, errors=[FieldError("/explain", TooManyToExplain.code, message)])


async def explain(
    engine: Engine, served: Served, work: Work, answer: Answer, *, codec: Codec[Any], target: Target
) -> list[Explanation]:
    """Return an explanation of each answer to the work's examples.

    Raises:
        NotExplained: if the model's task explains nothing.
        EspalierError: as `Engine.infer` does.
    """
    found = []
    alone = replace(served, shadow=None)  # a shadow is compared by examples of clients, not by these copies
    for example, pointer, row_K in zip(work.examples, work.pointers, answer.outputs, strict=True):
        decoded = await asyncio.to_thread(decode, example, codec, pointer=pointer, budget=codec.budget())
        occlusion = codec.occlusion(example, decoded)
        if occlusion is None:
            raise _not_explained(served)
        copies = occlusion.copies()
        outputs = await _outputs(engine, alone, replace(work, priority=LAST), copies, size=codec.most_per_batch)
        lost_M = target.lost(row_K, np.stack(outputs) if outputs else np.zeros((0, len(row_K)), np.float32))
        shown = await asyncio.to_thread(occlusion.show, lost_M)
        found.append(Explanation(occlusion.method, len(outputs), float(lost_M.max()) if outputs else 0.0, shown))
    return found


async def _outputs(engine: Engine, served: Served, work: Work, copies: Iterator[Any], *, size: int) -> list[Outputs]:
    outputs: list[Outputs] = []
    while batch := [Ready(copy) for copy in await asyncio.to_thread(list, islice(copies, size))]:
        part = replace(work, examples=batch, pointers=[work.pointers[0]] * len(batch))
        outputs += (await engine.infer(served, part)).outputs
    return outputs


def _not_explained(served: Served) -> NotExplained:
    taken = rooms.contract_of(rooms.task_of(served.card)).examples
    message = f"{served.model!r} takes {taken}, and answers about {taken} are not explained; leave `explain` out"
    return NotExplained(message, errors=[FieldError("/explain", NotExplained.code, message)])
