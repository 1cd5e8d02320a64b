"""Examples of a dataset as arrays: the inputs of the net's file by name, and what is to be learned of each example.

It imports no torch: the measuring process reads them too.
"""

# N examples, B batch, K class or label

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models_store.datasets.manifest import ManifestEntry

Array = npt.NDArray[Any]
Inputs = Mapping[str, Array]
"""name of an input of the exported file → one row per example; the arrays may be mapped memory"""
Rows = npt.NDArray[np.int64]
CHUNK = 4096
"""rows that are looked at together"""


@dataclass(frozen=True, eq=False)
class Examples:
    """A dataset as arrays; row i is entry i of the manifest.

    `targets` are classes int64 (N,), labels float32 (N, K) of 0 and 1, or numbers float32 (N, 1).
    """

    inputs: Inputs
    targets: npt.NDArray[np.int64] | npt.NDArray[np.float32]
    splits_N: npt.NDArray[np.str_]  # noqa: N815  the shape is part of the name
    classes: list[str]
    """names of the classes or labels, by number; none where numbers are learned"""
    padded: Collection[str] = ()
    """inputs with zeros behind the end of an example, along the axis after the first: batches end with their longest"""
    held: object = None
    """what keeps the arrays where they are while somebody has them, such as a locked file"""

    @property
    def files(self) -> dict[str, Path]:
        """Return the .npy file of each input, for arrays that are mapped memory."""
        return {name: Path(str(array.filename)) for name, array in self.inputs.items()}  # type: ignore[attr-defined]  # a memory map has one

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Return how long each example is, int64 (N,), where inputs are padded."""
        return lengths(self.inputs, np.arange(len(self.targets)), padded=self.padded)

    def split(self, name: str) -> Rows:
        """Return the rows of `train`, `val` or `test`, in ascending order."""
        return np.flatnonzero(self.splits_N == name).astype(np.int64)

    def batch(self, rows: Rows) -> dict[str, Array]:
        """Return what a session of the exported file is fed for `rows`: by name, a copy of each input's rows."""
        return take(self.inputs, rows, padded=self.padded)

    def raw(self, rows: Rows) -> dict[str, Array]:
        """Return what a learner prepares of `rows`: what a session is fed, and maybe what random changes start from."""
        return self.batch(rows)


def take(inputs: Inputs, rows: Rows, *, padded: Collection[str] = ()) -> dict[str, Array]:
    """Return a contiguous copy of each input's `rows`; of those that are `padded`, as far as the longest goes."""
    taken = {name: np.take(array, rows, axis=0) for name, array in inputs.items()}
    return taken | {name: trimmed(taken[name]) for name in padded}


def trimmed(array_NL: Array) -> Array:
    """Return the rows without the columns at the end that are zeros in all of them; one column stays."""
    used = np.flatnonzero(array_NL.any(axis=0))
    return np.ascontiguousarray(array_NL[:, : used[-1] + 1 if len(used) else 1])


def lengths(inputs: Inputs, rows: Rows, *, padded: Collection[str]) -> npt.NDArray[np.int64]:
    """Return how long each of the `rows` is, int64 (N,), in the longest of its padded inputs; 0 where there is none."""
    found_N = np.zeros(len(rows), np.int64)
    for name in padded:
        for start in range(0, len(rows), CHUNK):
            part = slice(start, start + CHUNK)
            used_NL = np.take(inputs[name], rows[part], axis=0) != 0
            behind_N = used_NL[:, ::-1].argmax(axis=1)
            found_N[part] = np.maximum(found_N[part], np.where(used_NL.any(axis=1), used_NL.shape[1] - behind_N, 0))
    return found_N


def targets_of(
    manifest: Sequence[ManifestEntry], classes: Sequence[str]
) -> npt.NDArray[np.int64] | npt.NDArray[np.float32]:
    """Return what is to be learned of each example, as `Examples` has it."""
    places = {name: place for place, name in enumerate(classes)}
    if any(entry.value is not None for entry in manifest):
        return np.array([[entry.value] for entry in manifest], dtype=np.float32)
    if any(entry.label for entry in manifest):
        return np.array([places[entry.label] for entry in manifest], dtype=np.int64)
    labels_NK = np.zeros((len(manifest), len(classes)), dtype=np.float32)
    for row, entry in enumerate(manifest):
        labels_NK[row, [places[name] for name in entry.labels]] = 1
    return labels_NK
