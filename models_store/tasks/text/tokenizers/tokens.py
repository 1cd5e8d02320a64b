"""Protocol of a fitted tokenizer, and its document: what a model's file `tokenizer.json` holds.

Ids: 0 is padding, 1 an unknown token, the vocabulary begins at 2.
"""

# T tokens of a text

import hashlib
import json
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from models_store.errors import Unavailable

PADDING, UNKNOWN, FIRST = 0, 1, 2
Ids = NDArray[np.int32]
Document = dict[str, Any]


class TokenizerUnavailable(Unavailable):
    """A model's tokenizer can't be had here: its package is not installed, or is another version."""

    code = "tokenizer_unavailable"
    title = "The model's tokenizer is not available here"


class Tokens(Protocol):
    """A fitted tokenizer. It has no state: one serves all threads."""

    in_graph: ClassVar[bool]
    """whether the model's file takes code points and does all of this itself"""

    @property
    def size(self) -> int:
        """Return the number that every id is below."""
        ...

    def ids(self, text: str) -> Ids:
        """Return the ids of a text's tokens, int32 (T,); of none, an empty array.

        Raises:
            UnicodeEncodeError: if the text has a lone surrogate.
        """
        ...

    def cut(self, ids: Ids, most: int, *, truncate: str) -> Ids:
        """Return `most` at most of what the model's file is given of a text: ids, or else code points."""
        return cut(ids, most, truncate=truncate)

    def unknown_share(self, given: Ids) -> float:
        """Return the share of unknown tokens in what the model's file is given of a text: ids, or else code points."""
        return float((given == UNKNOWN).mean()) if len(given) else 0.0

    def as_document(self) -> Document:
        """Return what `read` makes the same tokenizer of, as JSON: `kind`, `package`, `version`, `fold`, …."""
        ...


def cut(numbers: Ids, most: int, *, truncate: str) -> Ids:
    """Return `most` numbers at most: without the end, the start or the middle of those that are too many."""
    if len(numbers) <= most:
        return numbers
    if truncate == "end":
        return numbers[:most]
    if truncate == "start":
        return numbers[-most:]
    head = most - most // 2
    return np.concatenate([numbers[:head], numbers[len(numbers) - most // 2 :]])


def facts_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a card and a file's metadata say of a tokenizer: kind, package, version, fold, digest of the rest."""
    named = ("kind", "package", "version", "fold")
    rest = {name: value for name, value in document.items() if name not in named}
    digest = hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
    return {name: document[name] for name in named if name in document} | {"vocabulary": digest}
