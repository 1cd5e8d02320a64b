"""Letters: the characters of a batch's texts as one array of code points."""

# B texts, M characters of all of them, one text after the other

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workers.tasks.text.augmentations.draws import Places

Codes = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Letters:
    """Texts as code points; `rows_M` is the text of each, ascending. Arrays are not written to."""

    codes_M: Codes  # noqa: N815  the shape is part of the name
    rows_M: Places  # noqa: N815
    texts: int

    @classmethod
    def of(cls, texts: Sequence[str]) -> "Letters":
        """Return the characters of texts."""
        codes_M = np.frombuffer("".join(texts).encode("utf-32-le"), dtype=np.int32)
        return cls(codes_M, np.repeat(np.arange(len(texts)), [len(text) for text in texts]), len(texts))

    def joined(self) -> list[str]:
        """Return the texts."""
        whole = self.codes_M.tobytes().decode("utf-32-le")
        ends = np.searchsorted(self.rows_M, np.arange(self.texts), side="right").tolist()
        return [whole[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def texts_of(codes_BL: Codes) -> list[str]:
    """Return the texts of rows of code points; 0 is padding."""
    lengths = np.count_nonzero(codes_BL, axis=1).tolist()
    return [codes[:length].tobytes().decode("utf-32-le") for codes, length in zip(codes_BL, lengths, strict=True)]


def codes_of(texts: Sequence[str], *, most: int | None = None) -> Codes:
    """Return texts as rows of code points with zeros behind them, one column at least; `most` cuts their ends off."""
    cut = texts if most is None else [text[:most] for text in texts]
    lengths = np.array([len(text) for text in cut])
    codes_BL = np.zeros((len(cut), max(1, lengths.max(initial=0))), dtype=np.int32)
    codes_BL[np.arange(codes_BL.shape[1]) < lengths[:, None]] = Letters.of(cut).codes_M
    return codes_BL
