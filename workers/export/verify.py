"""The last check before publishing: does the file that ships answer as the net that was trained?

Two paths from one image, compared on every validation file: raw bytes → `pixels.decode` → onnxruntime, which is what a
prediction will take, and memory-mapped array → torch, which is what training saw. They meet nowhere before the answer.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
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
from models_store.tasks.image import codec
from models_store.tasks.image.input import Input
from workers.export.sessions import open_session

# N images of a batch, H height, W width, C channel, K class or label (1 for a number)

LEAST_AGREEMENT = 0.999

Outputs = NDArray[np.float32]
Predict = Callable[[NDArray[np.int64]], Outputs]
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

    @property
    def share(self) -> float:
        """Return the share of images with the same answer."""
        return self.agreeing / self.images

    @property
    def enough(self) -> bool:
        """Return whether 99.9 % agree, or all but one."""
        return self.images > 0 and (self.share >= LEAST_AGREEMENT or self.agreeing >= self.images - 1)

    def as_card(self) -> dict[str, Any]:
        """Return what a version's card says; a largest difference that is no number is null."""
        largest = self.max_difference if math.isfinite(self.max_difference) else None
        return asdict(self) | {"max_difference": largest, "share": self.share}


def verify(
    path: Path,
    *,
    files: Iterable[bytes],
    rows: NDArray[np.int64],
    predict: Predict,
    decoding: Input,
    target: Target = ONE_CLASS,
    tolerance: float = TIE,
    max_pixels: int = 64_000_000,
    batch_size: int = 32,
) -> Agreement:
    """Compare the file at `path` with the net that it was exported from; see `compare`.

    Raises:
        VerificationFailed: if fewer than 99.9 % agree (and more than one differs), or there is nothing to compare.
    """
    found = compare(
        {"file": open_session(path, device="cpu", threads=torch.get_num_threads())},
        files=files,
        rows=rows,
        predict=predict,
        decoding=decoding,
        target=target,
        tolerance=tolerance,
        max_pixels=max_pixels,
        batch_size=batch_size,
    )
    require(found["file"])
    return found["file"]


def compare(
    sessions: Mapping[str, onnxruntime.InferenceSession],
    *,
    files: Iterable[bytes],
    rows: NDArray[np.int64],
    predict: Predict,
    decoding: Input,
    target: Target = ONE_CLASS,
    tolerance: float = TIE,
    max_pixels: int = 64_000_000,
    batch_size: int = 32,
) -> dict[str, Agreement]:
    """Compare exported files with `predict`, the training path's own way from rows of the dataset to its outputs.

    `files` yields the raw bytes of the images in `rows`, in that order; each is decoded once, by `decoding`, the spec's
    resolved input, and each row predicted once. Images agree when they get the same class, the same labels, or numbers
    that are `tolerance` apart at most; probabilities that near are a tie. Memory is that of one batch.
    """
    assert decoding.size is not None, "a resolved spec knows its size"
    images = 0
    agreeing = dict.fromkeys(sessions, 0)
    max_difference = dict.fromkeys(sessions, 0.0)
    for data, part in zip(_batches(files, batch_size), _slices(rows, batch_size), strict=True):
        decoded = [
            codec.decode(
                item,
                size=decoding.size,
                channels=decoding.channels,
                fit=decoding.fit,
                white_level=decoding.white_level,
                max_pixels=max_pixels,
            )
            for item in data
        ]
        feed = {"images": np.stack(decoded)}
        trained_NK = predict(part)
        images += len(part)
        for name, session in sessions.items():
            served_NK = session.run(["probabilities"], feed)[0]
            alike_N = target.agree_but_for_rounding(served_NK, trained_NK, tolerance=tolerance)
            agreeing[name] += int(np.count_nonzero(alike_N))
            # a difference that is no number is as large as any
            difference = float(np.nan_to_num(np.abs(served_NK - trained_NK), nan=np.inf).max())
            max_difference[name] = max(max_difference[name], difference)
    return {name: Agreement(images, agreeing[name], max_difference[name]) for name in sessions}


def require(agreement: Agreement) -> None:
    """Let pass what answers as the trained net does.

    Raises:
        VerificationFailed: if fewer than 99.9 % agree (and more than one differs), or there is nothing to compare.
    """
    if not agreement.enough:
        raise VerificationFailed(
            f"{agreement.agreeing} of {agreement.images} validation files get the same answer from the exported file "
            f"as from the trained net (largest difference of an output: {agreement.max_difference:.3g}); "
            f"{LEAST_AGREEMENT:.1%} are needed, so it was not published"
        )


def read_members(archive: Path, members: Iterable[str]) -> Iterator[bytes]:
    """Yield the raw bytes of the images zip's `members`, one at a time."""
    with ZipFile(archive) as images:
        for member in members:
            yield images.read(member)


def _batches(files: Iterable[bytes], batch_size: int) -> Iterator[list[bytes]]:
    iterator = iter(files)
    while batch := list(islice(iterator, batch_size)):
        yield batch


def _slices(rows: NDArray[np.int64], batch_size: int) -> Iterator[NDArray[np.int64]]:
    for start in range(0, len(rows), batch_size):
        yield rows[start : start + batch_size]
