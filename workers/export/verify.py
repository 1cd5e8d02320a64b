"""Comparison of exported files with the nets that were trained: the last check before publishing.

Two paths from one example, compared on every validation file: raw bytes → the task's codec → onnxruntime, which is what
a prediction will take, and memory-mapped array → torch, which is what training saw. They meet only in the answer.

Where the codec is `exact`, the outputs are compared too, of each example in a batch and alone: preprocessing in a
file's graph can be wrong by a little on every example and change no class, and padding can leak into an answer.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from models_store.errors import EspalierError
from models_store.targets import ONE_CLASS, TIE, Target
from models_store.tasks.codec import Codec
from models_store.wording import counted, inflected
from workers.export.sessions import answer, open_session
from workers.training.examples import Rows

# N examples of a batch, K class or label (1 for a number)

LEAST_AGREEMENT = 0.999

Outputs = NDArray[np.float32]
Predict = Callable[[Rows], Outputs]
"""rows of the dataset → probabilities, or numbers (N, K)"""


class VerificationFailed(EspalierError):
    """The exported file and the trained net answer differently on the same validation files."""

    code = "verification_failed"
    title = "The exported file does not answer as the trained net does"


@dataclass(frozen=True)
class Agreement:
    """How far the served path and the training path agree."""

    images: int
    agreeing: int
    max_difference: float
    """largest absolute difference of any probability, or number"""
    batch_difference: float | None = None
    """largest change of an output by the other examples of its batch; None: it was not measured"""
    tolerance: float | None = None
    """largest difference of an output that is allowed; None: only answers count"""

    @property
    def share(self) -> float:
        """Return the share of examples with the same answer."""
        return self.agreeing / self.images

    @property
    def enough(self) -> bool:
        """Return whether 99.9 % agree, or all but one, and no output differs by more than is allowed."""
        alike = self.images > 0 and (self.share >= LEAST_AGREEMENT or self.agreeing >= self.images - 1)
        return alike and self.is_near

    @property
    def is_near(self) -> bool:
        """Return whether no output differs by more than is allowed."""
        return self.tolerance is None or self.max_difference <= self.tolerance

    def as_card(self) -> dict[str, Any]:
        """Return what a version's card says; a largest difference that is no number is null."""
        card = {
            "images": self.images,
            "agreeing": self.agreeing,
            "max_difference": _finite(self.max_difference),
            "share": self.share,
        }
        return card if self.batch_difference is None else card | {"batch_difference": _finite(self.batch_difference)}


def _finite(difference: float) -> float | None:
    return difference if math.isfinite(difference) else None


@dataclass(frozen=True, eq=False)
class Family:
    """A trained net's own answers, and the sessions of the files that were made of it, by name."""

    predict: Predict
    sessions: Mapping[str, onnxruntime.InferenceSession]
    tolerance: float = TIE
    """numbers agree when they are this far apart at most; probabilities that near are a tie"""


def verify(
    path: Path,
    *,
    files: Iterable[bytes],
    rows: Rows,
    predict: Predict,
    codec: Codec[Any],
    target: Target = ONE_CLASS,
    tolerance: float = TIE,
    batch_size: int = 32,
) -> Agreement:
    """Compare the file at `path` with the net that it was exported from; see `compare`.

    Raises:
        VerificationFailed: as `require`.
    """
    session = open_session(path, device="cpu", threads=torch.get_num_threads())
    family = Family(predict, {"file": session}, tolerance)
    found = compare([family], files=files, rows=rows, codec=codec, target=target, batch_size=batch_size)
    require(found["file"])
    return found["file"]


def compare(
    families: Sequence[Family],
    *,
    files: Iterable[bytes],
    rows: Rows,
    codec: Codec[Any],
    target: Target = ONE_CLASS,
    batch_size: int = 32,
) -> dict[str, Agreement]:
    """Compare exported files, each with its family's net: from rows of the dataset to outputs, as training has it.

    `files` yields the raw bytes of the examples in `rows`, in that order; each is decoded once for all families, and
    each row predicted once by each net. Examples agree when they get the same class, the same labels, or numbers that
    are near enough. For an `exact` codec, each also runs alone, and the family's tolerance holds for every output.
    Memory is that of one batch.
    """
    found = {name: _Count(exact=codec.exact) for family in families for name in family.sessions}
    examples = 0
    for data, part in zip(_batches(files, batch_size), _slices(rows, batch_size), strict=True):
        decoded = [codec.decode(item) for item in data]
        together, alone = codec.collate(decoded), [codec.collate([each]) for each in decoded if codec.exact]
        examples += len(part)
        for family in families:
            trained_NK = family.predict(part)
            for name, session in family.sessions.items():
                count, served_NK = found[name], answer(session, together)
                count.compare(served_NK, trained_NK, target=target, tolerance=family.tolerance)
                if alone:
                    count.compare_alone(
                        np.concatenate([answer(session, each) for each in alone]), served_NK, trained_NK
                    )
    tolerances = {name: family.tolerance for family in families for name in family.sessions}
    return {name: count.agreement(examples, tolerance=tolerances[name]) for name, count in found.items()}


@dataclass
class _Count:
    exact: bool
    agreeing: int = 0
    max_difference: float = 0.0
    batch_difference: float = 0.0

    def compare(self, served_NK: Outputs, trained_NK: Outputs, *, target: Target, tolerance: float) -> None:
        alike_N = target.agree_but_for_rounding(served_NK, trained_NK, tolerance=tolerance)
        self.agreeing += int(np.count_nonzero(alike_N))
        self.max_difference = max(self.max_difference, _largest(served_NK, trained_NK))

    def compare_alone(self, alone_NK: Outputs, served_NK: Outputs, trained_NK: Outputs) -> None:
        self.max_difference = max(self.max_difference, _largest(alone_NK, trained_NK))
        self.batch_difference = max(self.batch_difference, _largest(alone_NK, served_NK))

    def agreement(self, examples: int, *, tolerance: float) -> Agreement:
        if not self.exact:
            return Agreement(examples, self.agreeing, self.max_difference)
        return Agreement(examples, self.agreeing, self.max_difference, self.batch_difference, tolerance)


def _largest(outputs_NK: Outputs, others_NK: Outputs) -> float:
    """Return the largest difference; one that is no number is as large as any."""
    return float(np.nan_to_num(np.abs(outputs_NK - others_NK), nan=np.inf).max())


def require(agreement: Agreement) -> None:
    """Let pass what answers as the trained net does.

    Raises:
        VerificationFailed: if fewer than 99.9 % agree (and more than one differs), there is nothing to compare, or an
            output differs by more than is allowed.
    """
    if not agreement.is_near:
        raise VerificationFailed(
            f"an output of the exported file differs by {agreement.max_difference:.3g} from the trained net's, on "
            f"{counted(agreement.images, 'validation file')}, each in a batch and alone; {agreement.tolerance:.3g} is "
            "allowed, so it was not published"
        )
    if not agreement.enough:
        raise VerificationFailed(
            f"{agreement.agreeing} of {counted(agreement.images, 'validation file')} "
            f"{inflected(agreement.agreeing, 'gets', 'get')} the same answer from the exported file as from the "
            f"trained net (largest difference of an output: {agreement.max_difference:.3g}); "
            f"{LEAST_AGREEMENT:.1%} are needed, so it was not published"
        )


def read_members(archive: Path, members: Iterable[str]) -> Iterator[bytes]:
    """Yield the raw bytes of a stored dataset's `members`, one at a time."""
    with ZipFile(archive) as content:
        for member in members:
            yield content.read(member)


def _batches(files: Iterable[bytes], batch_size: int) -> Iterator[list[bytes]]:
    iterator = iter(files)
    while batch := list(islice(iterator, batch_size)):
        yield batch


def _slices(rows: Rows, batch_size: int) -> Iterator[Rows]:
    for start in range(0, len(rows), batch_size):
        yield rows[start : start + batch_size]
