"""Predictor: decodes batches of rows and runs a file on them, several at a time, in their order.

Each of its threads decodes and runs a batch by itself, as the lanes of the API do: no core waits for another one.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models_store.errors import EspalierError
from models_store.tasks.codec import Codec, Inputs
from workers.prediction.rows import Row

# N rows of a batch, K class or label (1 for a number)

Outputs = NDArray[np.float32]
WAITING_PER_THREAD = 2
"""batches that are read before a thread has time for them"""


@dataclass(frozen=True, slots=True)
class Answered:
    """A row with the file's output, float32 (K,), or with the reason why there is none."""

    row: Row
    output: Outputs | None
    fault: str | None = None
    notes: dict[str, Any] = field(default_factory=dict)
    """what the codec notes of the example"""


def predict(
    batches: Iterable[Sequence[Row]], *, codec: Codec[Any], run: Callable[[Inputs], Outputs], threads: int
) -> Generator[list[Answered]]:
    """Yield the answers to each batch, in order; `run` is called by all threads. Memory is that of a few batches."""
    waiting: deque[Future[list[Answered]]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="predict")
    try:
        for batch in batches:
            waiting.append(pool.submit(_answered, batch, codec, run))
            if len(waiting) > WAITING_PER_THREAD * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _answered(rows: Sequence[Row], codec: Codec[Any], run: Callable[[Inputs], Outputs]) -> list[Answered]:
    batch, faults = codec.batch(len(rows)), [row.fault for row in rows]
    notes: list[dict[str, Any]] = [{}] * len(rows)
    for place, row in enumerate(rows):
        if faults[place] is None:
            try:
                example = codec.decode(row.data)
                batch.add(example)
                notes[place] = codec.notes(example)
            except EspalierError as error:
                faults[place] = error.errors[0].message if error.errors else error.detail
    outputs = iter(run(batch.inputs())) if None in faults else iter(())
    return [
        Answered(row, next(outputs) if fault is None else None, fault, noted)
        for row, fault, noted in zip(rows, faults, notes, strict=True)
    ]
