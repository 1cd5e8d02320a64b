"""Front end of a text net: from what its file is given to numbers of tokens.

A file that reads the text itself is given code points. They are numbered by a table in two steps (a page for each 256
code points, equal pages kept once), in plain operations that every runtime of ONNX has.
"""

# B batch, L token, P page

from collections.abc import Mapping
from typing import Protocol, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from models_store.tasks.text.folding import CODE_POINTS, FOLD, PAGE, pages
from models_store.tasks.text.tokenizers.in_graph import CharacterTokens, CodePointTokens
from models_store.tasks.text.tokenizers.tokens import Tokens


class FrontEnd(Protocol):
    """A module from the file's inputs to `(ids int64 (B, L), real bool (B, L))`: which of them are tokens."""

    @property
    def size(self) -> int:
        """Return the number that every id is below."""
        ...

    def __call__(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the tokens' numbers, and where there are any."""
        ...


class CodePoints(nn.Module):
    """Numbers code points by a table; 0 is behind the end of a text."""

    page_of: Tensor
    pages: Tensor

    def __init__(self, page_of_X: Tensor, pages_PX: Tensor, *, size: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("page_of", page_of_X)
        self.register_buffer("pages", pages_PX)

    @classmethod
    def of(cls, tokens: CharacterTokens | CodePointTokens) -> Self:
        """Return the front end of a tokenizer that a graph can have; code points are folded alone."""
        tables = pages(FOLD) if isinstance(tokens, CodePointTokens) else (tokens.places, tokens.pages)
        page_of_X, pages_PX = (torch.from_numpy(table.astype(np.int64)) for table in tables)
        return cls(page_of_X, pages_PX, size=tokens.size)

    def forward(self, code_points_BL: Tensor) -> tuple[Tensor, Tensor]:
        """Return the ids of code points, int (B, L)."""
        points_BL = code_points_BL.clamp(0, CODE_POINTS - 1)
        page_BL = torch.div(points_BL, PAGE, rounding_mode="floor")
        places_BL = lookup(self.page_of, page_BL) * PAGE + (points_BL - page_BL * PAGE)
        return lookup(self.pages.flatten(), places_BL), points_BL > 0


def lookup(table_X: Tensor, places: Tensor) -> Tensor:
    """Return a table's entries at `places`, as one Gather of the file."""
    return functional.embedding(places, table_X.unsqueeze(1)).squeeze(-1)


def of(tokens: Tokens) -> FrontEnd:
    """Return the front end of a tokenizer."""
    assert isinstance(tokens, CharacterTokens | CodePointTokens), "others are not in the graph"
    return CodePoints.of(tokens)


def of_state(state: Mapping[str, Tensor], prefix: str, *, size: int) -> CodePoints:
    """Return the front end whose tables are in a net's state under `prefix`."""
    return CodePoints(state[f"{prefix}page_of"], state[f"{prefix}pages"], size=size)
