"""Explanations of answers, by one run of a file that explains itself, or by runs on copies with a part hidden in each.

The copies go through the engine like any other example, one batch after the other and behind everything else that
waits. Each batch is made when the one before is answered: all 64 copies of a large example take some hundred MB.

A file explains itself by one more output, which predictions don't have: its graph is opened with it for the request, on
the CPU, one at a time, and let go. None of these runs is counted as a prediction.

NotExplained 422 · TooManyToExplain 422
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models_store.errors import EspalierError, FieldError, Invalid
from models_store.models.served import Served
from models_store.targets import NUMBER, ONE_CLASS, Target
from models_store.tasks import rooms
from models_store.tasks.codec import Codec
from models_store.tasks.explanation import CONTRIBUTIONS, MOST_PARTS, Method
from service.inference import devices
from service.inference.counted import CLIENT_LEFT
from service.inference.decode import Example, Ready, decode
from service.inference.engine import LAST, Answer, Engine, Outputs, PredictTimeout, Work
from service.metrics import Metrics
from service.side_figures import ExplanationFigures

RUN_ON_COPIES = ("occlusion", "leave_one_out")
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
class Question:
    """Answers that are to be explained, and what they are of."""

    served: Served
    work: Work
    answer: Answer
    codec: Codec[Any]
    target: Target
    method: Method | None = None
    """None: the best that the file offers"""

    def answered(self) -> Iterator[tuple[Example, str, Outputs]]:
        """Yield each example, its pointer, and the outputs for it."""
        return zip(self.work.examples, self.work.pointers, self.answer.outputs, strict=True)


@dataclass(frozen=True)
class Explanation:
    """Explanation of one answer, and how often the model was run for it."""

    method: Method
    runs: int
    largest_loss: float
    """at the part that matters most: of the answer's probability, or how far its number moved; of a file that explains
    itself, what it adds before the activation; 0 without any part"""
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


class Explaining:
    """Explanations by an engine that counts nothing, and by the files of models."""

    def __init__(self, engine: Engine, *, model_file: Callable[[str], Path], metrics: Metrics) -> None:
        self._engine = engine
        self._model_file = model_file
        self._figures = ExplanationFigures(metrics)
        self._opening = asyncio.Lock()

    async def explain(self, question: Question) -> list[Explanation]:
        """Return an explanation of each answer to the work's examples.

        Raises:
            NotExplained: if the model's task explains nothing, or not by the method that is asked for.
            EspalierError: as `Engine.infer` does.
        """
        started_s, status = time.perf_counter(), 500
        try:
            found = await self._explained(question)
            status = 200
        except EspalierError as error:
            status = error.status
            raise
        except asyncio.CancelledError:
            status = CLIENT_LEFT
            raise
        finally:
            self._figures.answered(status, time.perf_counter() - started_s)
        for each in found:
            self._figures.explained(each.method, each.runs)
        return found

    async def _explained(self, question: Question) -> list[Explanation]:
        if question.method not in RUN_ON_COPIES:
            found = await self._by_file(question)
            if found is not None:
                return found
        return await self._by_copies(question)

    async def _by_file(self, question: Question) -> list[Explanation] | None:
        """Return the explanations that the file itself gives; None: it gives none."""
        deadline_s = question.work.deadline_s
        async with self._opening:
            if deadline_s is not None and time.monotonic() >= deadline_s:
                raise PredictTimeout("the time for the request passed before its answers were explained")
            file = await asyncio.to_thread(self._model_file, question.served.blob)
            return await asyncio.to_thread(_by_file, file, question)

    async def _by_copies(self, question: Question) -> list[Explanation]:
        served, work, codec = question.served, question.work, question.codec
        found = []
        alone = replace(served, shadow=None)  # a shadow is compared by examples of clients, not by these copies
        for example, pointer, row_K in question.answered():
            decoded = await asyncio.to_thread(decode, example, codec, pointer=pointer, budget=codec.budget())
            occlusion = codec.occlusion(example, decoded)
            if occlusion is None:
                raise _not_explained(served)
            if question.method not in {None, occlusion.method}:
                raise _not_by(question.method, occlusion.method, served)
            copies = occlusion.copies()
            outputs = await self._outputs(alone, replace(work, priority=LAST), copies, size=codec.most_per_batch)
            lost_M = question.target.lost(
                row_K, np.stack(outputs) if outputs else np.zeros((0, len(row_K)), np.float32)
            )
            shown = await asyncio.to_thread(occlusion.show, lost_M)
            found.append(Explanation(occlusion.method, len(outputs), float(lost_M.max()) if outputs else 0.0, shown))
        return found

    async def _outputs(self, served: Served, work: Work, copies: Iterator[Any], *, size: int) -> list[Outputs]:
        outputs: list[Outputs] = []
        while batch := [Ready(copy) for copy in await asyncio.to_thread(list, islice(copies, size))]:
            part = replace(work, examples=batch, pointers=[work.pointers[0]] * len(batch))
            outputs += (await self._engine.infer(served, part)).outputs
        return outputs


def _by_file(file: Path, question: Question) -> list[Explanation] | None:
    codec = question.codec
    own = codec.self_explaining(file)
    if own is None or question.method not in {None, own.method}:
        return None
    session = devices.open_session(own.graph, provider=devices.CPU, threads=1)
    found = []
    for example, pointer, row_K in question.answered():
        decoded = decode(example, codec, pointer=pointer, budget=codec.budget())
        contributions = session.run([CONTRIBUTIONS], codec.collate([decoded]))[0][0]
        added = _of_the_answer(contributions, row_K, question.target)
        shown = own.show(decoded, added)
        found.append(Explanation(own.method, 1, float(added.max(initial=0.0)), shown))
    return found


def _of_the_answer(contributions: npt.NDArray[np.float32], row_K: Outputs, target: Target) -> npt.NDArray[np.float64]:
    """Return what each place adds to the answer of a row; `contributions` (K, …) has what it adds to each output."""
    added_KM = contributions.reshape(len(row_K), -1).astype(np.float64)
    if target is ONE_CLASS:  # of classes that exclude each other only differences matter
        added_KM -= added_KM.mean(axis=0)
    added_M = added_KM[0] if target is NUMBER else target.lost(row_K, row_K - added_KM.T)
    return added_M.reshape(contributions.shape[1:])


def _not_by(method: Method | None, offered: Method, served: Served) -> NotExplained:
    message = f"{served.name!r} can't be explained by {method}; it can by {offered}: name that, or no method"
    return NotExplained(message, errors=[FieldError("/explanation_method", NotExplained.code, message)])


def _not_explained(served: Served) -> NotExplained:
    taken = rooms.contract_of(rooms.task_of(served.card)).examples
    message = f"{served.model!r} takes {taken}, and answers about {taken} are not explained; leave `explain` out"
    return NotExplained(message, errors=[FieldError("/explain", NotExplained.code, message)])
