"""Front end of a text net: from what its file is given to numbers of tokens.

A file that reads the text itself is given code points. They are numbered by a table in two steps (a page for each 256
code points, equal pages kept once), in plain operations that every runtime of ONNX has.
"""

# B batch, L token, P page

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models_store.tasks.text.folding import CODE_POINTS, FOLD, PAGE, pages
from models_store.tasks.text.tokenizers.in_graph import CharacterTokens, CodePointTokens
from models_store.tasks.text.tokenizers.pretrained import PretrainedTokens
from models_store.tasks.text.tokenizers.tokens import UNKNOWN, Tokens
from workers.tasks.text.operations import lookup, quotient

DEFINITION = "definition"


class FrontEnd(Protocol):
    """A module from what a net takes of texts to `(ids int64 (B, L), real bool (B, L))`: which of them are tokens."""

    @property
    def size(self) -> int:
        """Return the number that every id is below."""
        ...

    def __call__(self, numbers_BL: Tensor) -> tuple[Tensor, Tensor]:
        """Return the tokens' ids, and where there are any; 0 is behind the end of a text."""
        ...


@dataclass(frozen=True)
class FrontEnds:
    """The front ends of an ensemble's members, and the number of their outputs."""

    members: Sequence[FrontEnd]
    class_count: int


class CodePoints(nn.Module):
    """Numbers code points by a table; 0 is behind the end of a text."""

    page_of: Tensor
    pages: Tensor
    starts: Tensor
    numbers: Tensor

    def __init__(self, page_of_X: Tensor, pages_PX: Tensor, *, size: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("page_of", page_of_X)
        self.register_buffer("pages", pages_PX)
        self.register_buffer("starts", starts(page_of_X).int(), persistent=False)
        self.register_buffer("numbers", pages_PX.flatten().int(), persistent=False)

    @classmethod
    def of(cls, tokens: CharacterTokens) -> Self:
        """Return the front end of a tokenizer that a graph can have."""
        page_of_X, pages_PX = (torch.from_numpy(table.astype(np.int64)) for table in (tokens.places, tokens.pages))
        return cls(page_of_X, pages_PX, size=tokens.size)

    def forward(self, code_points_BL: Tensor) -> tuple[Tensor, Tensor]:
        """Return the ids of code points, int (B, L); what is none counts as padding."""
        real_BL = (code_points_BL > 0) & (code_points_BL < CODE_POINTS)
        points_BL = torch.where(real_BL, code_points_BL, 0).to(torch.int32)
        places_BL = points_BL + lookup(self.starts, quotient(points_BL, PAGE))
        return lookup(self.numbers, places_BL).long(), real_BL


class FoldedPoints(nn.Module):
    """Folds code points, which are their own ids; 0 is behind the end of a text.

    Its table has what folding adds to a code point: nearly always nothing, so that most pages are one.
    """

    page_of: Tensor
    changes: Tensor
    starts: Tensor
    added: Tensor

    def __init__(self, page_of_X: Tensor, changes_PX: Tensor, *, size: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("page_of", page_of_X)
        self.register_buffer("changes", changes_PX)
        self.register_buffer("starts", starts(page_of_X).int(), persistent=False)
        self.register_buffer("added", changes_PX.flatten(), persistent=False)

    @classmethod
    def of(cls, tokens: CodePointTokens) -> Self:
        """Return the front end of a tokenizer that folds alone."""
        page_of_X, changes_PX = pages((FOLD - np.arange(CODE_POINTS)).astype(np.int32))
        return cls(torch.from_numpy(page_of_X), torch.from_numpy(changes_PX.copy()), size=tokens.size)

    def forward(self, code_points_BL: Tensor) -> tuple[Tensor, Tensor]:
        """Return folded code points, int64 (B, L); what is none counts as padding."""
        real_BL = (code_points_BL > 0) & (code_points_BL < CODE_POINTS)
        points_BL = torch.where(real_BL, code_points_BL, 0).to(torch.int32)
        places_BL = points_BL + lookup(self.starts, quotient(points_BL, PAGE))
        return (points_BL + lookup(self.added, places_BL)).long(), real_BL


def starts(page_of_X: Tensor) -> Tensor:
    """Return what leads from a code point, by the number of its 256, to its place in all pages: what to add to it."""
    return (page_of_X - torch.arange(len(page_of_X), device=page_of_X.device)) * PAGE


class Ids(nn.Module):
    """Takes the ids of tokens as they are: the codec has found them."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, ids_BL: Tensor) -> tuple[Tensor, Tensor]:
        """Return the ids, int64 (B, L); one that no token has counts as the nearest."""
        known_BL = ids_BL.long().clamp(0, self.size - 1)
        return known_BL, known_BL > 0


class PretrainedIds(Ids):
    """Takes the ids of an encoder's own tokenizer, whose file stays with the net: it is learned from no text."""

    definition: Tensor

    def __init__(self, definition: Tensor, *, size: int) -> None:
        super().__init__(size)
        self.register_buffer("definition", definition)


class Renumbered(nn.Module):
    """Another front end whose ids are numbered anew; those that are left out are unknown."""

    numbers: Tensor

    def __init__(self, whole: FrontEnd, numbers_V: Tensor, *, size: int) -> None:
        super().__init__()
        self.size = size
        self.whole = whole
        self.register_buffer("numbers", numbers_V)

    def forward(self, inputs_BL: Tensor) -> tuple[Tensor, Tensor]:
        """Return the ids, int64 (B, L)."""
        ids_BL, real_BL = self.whole(inputs_BL)
        return lookup(self.numbers, ids_BL).long(), real_BL


def renumbered(whole: FrontEnd, kept: NDArray[np.int64]) -> Renumbered:
    """Return a front end that knows of another one's ids those `kept` alone, ascending."""
    numbers = np.full(whole.size, UNKNOWN, np.int64)
    numbers[kept] = np.arange(len(kept))
    return Renumbered(whole, torch.from_numpy(numbers), size=len(kept))


def of(tokens: Tokens) -> FrontEnd:
    """Return the front end of a tokenizer."""
    if isinstance(tokens, PretrainedTokens):
        return PretrainedIds(torch.frombuffer(bytearray(tokens.definition), dtype=torch.uint8), size=tokens.size)
    if isinstance(tokens, CodePointTokens):
        return FoldedPoints.of(tokens)
    return CodePoints.of(tokens) if isinstance(tokens, CharacterTokens) else Ids(tokens.size)


def of_state(state: Mapping[str, Tensor], prefix: str, *, size: int) -> FrontEnd:
    """Return the front end whose tables, if it has any, are in a net's state under `prefix`."""
    if f"{prefix}numbers" in state:
        numbers_V = state[f"{prefix}numbers"]
        return Renumbered(of_state(state, f"{prefix}whole.", size=len(numbers_V)), numbers_V, size=size)
    if f"{prefix}{DEFINITION}" in state:
        return PretrainedIds(state[f"{prefix}{DEFINITION}"], size=size)
    if f"{prefix}page_of" not in state:
        return Ids(size)
    if f"{prefix}changes" in state:
        return FoldedPoints(state[f"{prefix}page_of"], state[f"{prefix}changes"], size=size)
    return CodePoints(state[f"{prefix}page_of"], state[f"{prefix}pages"], size=size)
