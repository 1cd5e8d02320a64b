"""Tokenizer of a pretrained encoder: a user's `tokenizer.json`, which the package `tokenizers` carries out.

Ids are those of its own vocabulary plus one, because 0 is padding here. It does what its file says, with two exceptions:
a text can't spell special tokens, and padding and truncation are the service's own. Where a text is cut, the special
tokens at its ends stay.
"""

# T tokens of a text

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from models_store.tasks.text.tokenizers.tokens import Document, Ids, Tokens, cut

BEHIND_PADDING = 1
"""what is added to an id of the file"""
PROBE = "a"
PATTERNS = {" {2,}"}
"""regular expressions that tokenizers of public encoders have; others could take for ever on some text"""
KIND = "pretrained"

Encode = Any
"""a `tokenizers.Tokenizer`, whose package is loaded when it is needed"""


class TokenizerInvalid(Exception):
    """A `tokenizer.json` can't be used; the message says why."""


@dataclass(frozen=True, eq=False)
class PretrainedTokens(Tokens):
    """Tokens of a pretrained encoder, with its special tokens at the ends; of a text without any other, none."""

    in_graph: ClassVar[bool] = False
    document: Mapping[str, Any] = field(repr=False)
    entries: int
    """number that every id of the file is below"""
    before: int
    """special tokens at the beginning of a text"""
    after: int
    unknown: int | None
    find: Callable[[str], list[int]] = field(repr=False)
    """text → ids of the file"""

    @property
    def size(self) -> int:
        """Return the number of ids of the file, and one."""
        return self.entries + BEHIND_PADDING

    @property
    def definition(self) -> bytes:
        """Return the user's file."""
        content: str = self.document["definition"]
        return content.encode()

    def ids(self, text: str) -> Ids:
        """Return the id of each token."""
        found = np.array(self.find(text), np.int32) + BEHIND_PADDING
        return found if len(found) > self.before + self.after else found[:0]

    def cut(self, ids: Ids, most: int, *, truncate: str) -> Ids:
        """Return `most` ids at most, with the special tokens at both ends."""
        if len(ids) <= most:
            return ids
        inner = cut(ids[self.before : len(ids) - self.after], most - self.before - self.after, truncate=truncate)
        return np.concatenate([ids[: self.before], inner, ids[len(ids) - self.after :]])

    def unknown_share(self, given: Ids) -> float:
        """Return the share of unknown tokens among those that are not special."""
        inner = len(given) - self.before - self.after
        return float((given == self.unknown).sum()) / inner if inner > 0 and self.unknown is not None else 0.0

    def as_document(self) -> Document:
        """Return the file, and the package that carries it out."""
        return dict(self.document)


def read(document: Mapping[str, Any]) -> PretrainedTokens:
    """Return the tokenizer of a document, whose `definition` is the text of a `tokenizer.json`.

    Raises:
        TokenizerInvalid: if it can't be used.
    """
    encoder = encoder_of(document["definition"].encode())
    before, after = _ends(encoder)
    unknown = _unknown(json.loads(document["definition"]), encoder)

    def find(text: str) -> list[int]:
        ids: list[int] = encoder.encode(text).ids
        return ids

    return PretrainedTokens(document, size_of(encoder), before, after, unknown, find)


def encoder_of(content: bytes) -> Encode:
    """Return the package's tokenizer of a `tokenizer.json`.

    Raises:
        TokenizerInvalid: if it is none, or asks for what can't be had.
    """
    from tokenizers import Tokenizer  # noqa: PLC0415  loaded when it is needed

    try:
        text = content.decode()
        _refuse_patterns(json.loads(text))
        encoder = Tokenizer.from_str(text)
        encoder.no_padding()
        encoder.no_truncation()
        encoder.encode_special_tokens = True
        _ends(encoder)
    except TokenizerInvalid:
        raise
    except (Exception, _panic()) as error:
        raise TokenizerInvalid(f"the package tokenizers can't read it ({str(error)[:200]})") from error
    return encoder


def size_of(encoder: Encode) -> int:
    """Return the number that every id of the file is below."""
    return 1 + max(encoder.get_vocab(with_added_tokens=True).values(), default=-1)


def _ends(encoder: Encode) -> tuple[int, int]:
    """Return how many special tokens a text has at its beginning, and at its end."""
    mask: list[int] = encoder.encode(PROBE).special_tokens_mask
    inner = [place for place, is_special in enumerate(mask) if not is_special]
    if not inner or inner != list(range(inner[0], inner[-1] + 1)):
        raise TokenizerInvalid("a text has no tokens of its own, or special tokens between them")
    return inner[0], len(mask) - 1 - inner[-1]


def _unknown(definition: Mapping[str, Any], encoder: Encode) -> int | None:
    """Return the id of unknown tokens, if there is one."""
    model = definition["model"]
    number = model.get("unk_id")
    if number is None and model.get("unk_token") is not None:
        number = encoder.token_to_id(model["unk_token"])
    return None if number is None else int(number) + BEHIND_PADDING


def _refuse_patterns(definition: Any) -> None:  # noqa: ANN401  any JSON
    if others := set(_patterns(definition)) - PATTERNS:
        raise TokenizerInvalid(
            f"it has the regular expression {min(others)[:50]!r}, and none of a user's is carried out; those that the "
            "package has itself (ByteLevel, BertPreTokenizer, Metaspace) are"
        )


def _patterns(part: Any) -> Iterator[str]:  # noqa: ANN401  any JSON
    """Yield the regular expressions of a definition."""
    if isinstance(part, dict):
        if isinstance(part.get("Regex"), str):
            yield part["Regex"]
        children = [value for name, value in part.items() if name not in {"vocab", "merges"}]
    else:
        children = part if isinstance(part, list) else []
    for child in children:
        if isinstance(child, dict | list):
            yield from _patterns(child)


def _panic() -> type[BaseException]:
    """Return what the package raises where it gives up: no subclass of Exception, and public under no name."""
    return next((each for each in BaseException.__subclasses__() if each.__name__ == "PanicException"), Exception)
