"""Check of a file where it serves, before an alias moves to it: it answers its golden inputs as it did when published.

A version that was published without them is run on zeros: its outputs must be finite, and as many as its card says.

CheckFailed 409
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models_store.errors import Conflict, EspalierError, FieldError
from models_store.models.golden import Golden
from models_store.models.providers import EXECUTION_PROVIDERS
from models_store.models.served import Served
from models_store.settings import Settings
from models_store.spec.quantization import VARIANTS
from models_store.storage.blobs import Blobs
from models_store.targets import Target
from models_store.tasks import rooms
from service.inference.decode import Example, Ready
from service.inference.engine import FIRST, Answer, DeadlineTooShort, Engine, Overloaded, Work

# N examples, K class or label (1 for a number)

LIMIT_S = 600.0
"""time for loading, warming and answering"""
PAUSE_S = 0.2
"""before a file with a full queue is asked again"""
EXACT, NEAR = 1e-3, 0.05
"""Largest differences of an output: of 32-bit floats on the CPU, and of all others, whose kernels round by the host."""


class CheckFailed(Conflict):
    """The file does not answer as it did when it was published; the alias stays where it was."""

    code = "alias_check_failed"
    title = "The file answers differently here"


@dataclass(frozen=True)
class Checked:
    """What was checked of a file."""

    served: Served
    provider: str
    examples: int
    """0: the version has no golden inputs, and its outputs for zeros were checked alone"""
    largest_difference: float | None
    tolerance: float | None


async def check(engine: Engine, served: Served, *, blobs: Blobs, settings: Settings) -> Checked:
    """Load the file, warm it in every shape, and compare what it answers with what it is known to answer.

    Raises:
        CheckFailed: if an output differs by more than the tolerance, or a label, or is no number.
        ModelUnusable: if it can't be loaded.
    """
    golden = await asyncio.to_thread(_golden, served, blobs)
    target = rooms.target_of(rooms.task_of(served.card))
    expected = None if golden is None else golden.outputs.get(served.variant)
    if golden is None or expected is None:
        examples: Sequence[Example] = [Ready(await asyncio.to_thread(_zeros, served, blobs, settings))]
        answer = await _answers(engine, served, examples)
        _check_numbers(served, answer, count=target.output_count(len(served.card["labels"])))
        return Checked(served, answer.provider, 0, None, None)
    answer = await _answers(engine, served, golden.examples)
    _check_numbers(served, answer, count=len(expected[0]))
    on_cpu = EXECUTION_PROVIDERS[answer.provider] == "cpu"
    tolerance = EXACT if on_cpu and _is_exact(served) else NEAR
    largest = _compare(served, target, np.stack(answer.outputs), np.array(expected, np.float32), tolerance=tolerance)
    return Checked(served, answer.provider, len(golden.examples), largest, tolerance)


def _golden(served: Served, blobs: Blobs) -> Golden | None:
    return None if served.golden_blob is None else Golden.read(blobs.local(served.golden_blob))


def _zeros(served: Served, blobs: Blobs, settings: Settings) -> object:
    """Return one example of zeros, as it is after decoding."""
    files = {name: blobs.local(sha256) for name, sha256 in served.auxiliary_blobs.items()}
    contract = rooms.contract_of(rooms.task_of(served.card))
    codec = contract.codec(served.card, files=files, settings=settings)
    return codec.examples_of({tensor.name: tensor.zeros(1) for tensor in codec.describe()})[0]


async def _answers(engine: Engine, served: Served, examples: Sequence[Example]) -> Answer:
    pointers = [f"/golden/{index}" for index in range(len(examples))]
    work = Work(examples, pointers, deadline_s=time.monotonic() + LIMIT_S, priority=FIRST)
    while True:
        try:
            return await engine.infer(served, work)
        except DeadlineTooShort:
            raise
        except Overloaded:  # by what clients ask of a file that serves already
            await asyncio.sleep(PAUSE_S)
        except EspalierError as error:
            if error.status < 500:  # noqa: PLR2004  what a client would have done wrong; this is no client's input
                raise CheckFailed(f"{served.name} refuses its golden inputs: {error.detail}") from error
            raise


def _is_exact(served: Served) -> bool:
    """Return whether the file calculates with 32-bit floats."""
    return (served.variant_card.get("made_by") or {}).get("kind") not in VARIANTS


def _check_numbers(served: Served, answer: Answer, *, count: int) -> None:
    for index, row_K in enumerate(answer.outputs):
        if row_K.shape != (count,) or not np.isfinite(row_K).all():
            raise _failed(served, index, f"its output is not {count} finite numbers")


def _compare(
    served: Served,
    target: Target,
    outputs_NK: np.typing.NDArray[np.float32],
    expected_NK: np.typing.NDArray[np.float32],
    *,
    tolerance: float,
) -> float:
    """Return the largest difference; numbers are compared in units of the largest that is expected."""
    unit = max(float(np.abs(expected_NK).max()), 1e-6) if target.activation == "identity" else 1.0
    differences_N = np.abs(outputs_NK - expected_NK).max(axis=1) / unit
    alike_N = target.agree_but_for_rounding(outputs_NK, expected_NK, tolerance=tolerance * unit)
    wrong = np.flatnonzero(~alike_N | (differences_N > tolerance))
    if len(wrong):
        index = int(wrong[0])
        raise _failed(
            served,
            index,
            f"{len(wrong)} of {len(expected_NK)} answers differ; the first by {differences_N[index]:.3g}, "
            f"{tolerance:g} is allowed",
        )
    return float(differences_N.max())


def _failed(served: Served, index: int, what: str) -> CheckFailed:
    message = f"golden input {index}: {what}"
    return CheckFailed(
        f"{served.name} does not answer as it did when it was published, so the alias stays where it was: {message}; "
        f"measure the version here (POST /models/{served.model}/versions/{served.version}:measure), or name another",
        errors=[FieldError(f"/golden/{index}", CheckFailed.code, message)],
    )
