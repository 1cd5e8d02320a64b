"""Vectors of a user's file that an embedding starts from, and how its words are matched with the tokenizer's.

A file has one matrix of floats, a row for each word, and its words in the same order: UTF-8, one a line
(`vocabulary`, `….txt`), or JSON, a list or {word: row} (`….json`). A word of several spellings counts by its fold, as
tokens do; of words with one fold the first counts, which in most files is the most frequent one.
"""

# W word, V token, D number of a vector

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from models_store.tasks.text.folding import folded
from models_store.tasks.text.tokenizers.tokens import FIRST, UNKNOWN, Tokens
from models_store.wording import counted
from workers.tasks.text.augmentations.material import Synonyms
from workers.tasks.text.augmentations.neighbours import neighbours_in
from workers.training import stored_weights
from workers.training.stored_weights import State, WeightsUnfit

MATRIX = 2
"""dimensions"""


def start(embedding: nn.Embedding, tokens: Tokens, path: Path, *, shown_name: str) -> str:
    """Fill the rows of the tokens that the file knows; return in a sentence how many those are.

    The row of unknown tokens is the mean of all vectors; tokens that the file lacks keep random rows of its size.

    Raises:
        WeightsUnfit: if the file has no vectors with words, or of another width, or none of a token.
    """
    state = stored_weights.read(path, shown_name)
    vectors_WD, rows = _matrix(state, shown_name), _words(state, shown_name)
    if len(rows) and max(rows.values()) >= len(vectors_WD):
        raise WeightsUnfit(f"{shown_name} has more words than its {counted(len(vectors_WD), 'vector')}")
    if vectors_WD.shape[1] != embedding.embedding_dim:
        width = vectors_WD.shape[1]
        raise WeightsUnfit(
            f"the vectors of {shown_name} have {width} numbers, and `backbone.embedding` is "
            f"{embedding.embedding_dim}; set it to {width}"
        )
    known = _known(tokens)
    found = {FIRST + place: rows[token] for place, token in enumerate(known) if token in rows}
    if not found:
        raise WeightsUnfit(
            f"none of the {counted(len(known), 'token')} of the training texts has a vector in {shown_name}; take a "
            "tokenizer whose tokens are its words"
        )
    with torch.no_grad():
        embedding.weight[UNKNOWN:].mul_(vectors_WD.std())
        embedding.weight[UNKNOWN] = vectors_WD.mean(dim=0)
        embedding.weight[torch.tensor(list(found))] = vectors_WD[torch.tensor(list(found.values()))]
    share = len(found) / len(known)
    return f"{counted(len(found), 'token')} of {len(known):,} ({share:.1%}) start from the vectors of {shown_name}"


def neighbours(embedding: nn.Embedding, tokens: Tokens) -> Callable[[int], Synonyms]:
    """Return what gives each token the nearest others, so many, by the embedding as it is now."""
    return neighbours_in(_known(tokens), embedding.weight[FIRST:].detach().cpu().numpy().copy())


def _known(tokens: Tokens) -> Sequence[str]:
    """Return the tokens, from the first of the vocabulary."""
    document = tokens.as_document()
    known: Sequence[str] | None = document.get("characters", document.get("words"))
    if known is None:
        raise WeightsUnfit(
            f"the tokens of {document['kind']} are no words or characters, which vectors are of; take `characters`, "
            "`words`, `rjieba` or `jieba`"
        )
    return known


def _matrix(state: State, shown_name: str) -> Tensor:
    matrices = [tensor for tensor in state.values() if tensor.is_floating_point()]
    if len(matrices) != 1 or matrices[0].ndim != MATRIX:
        raise WeightsUnfit(f"{shown_name} is no file of vectors: those have one matrix of floats, a row for each word")
    if not (vectors_WD := matrices[0].float()).isfinite().all():
        raise WeightsUnfit(f"{shown_name} has vectors with values that are no numbers")
    return vectors_WD


def _words(state: State, shown_name: str) -> Mapping[str, int]:
    """Return folded word → row."""
    files = {name: tensor.numpy().tobytes() for name, tensor in state.items() if tensor.dtype == torch.uint8}
    if len(files) != 1:
        raise WeightsUnfit(
            f"{shown_name} has {counted(len(files), 'list')} of words, and vectors have one: send a zip of the "
            "safetensors file with `vocabulary.txt` or `vocabulary.json` beside it"
        )
    ((name, content),) = files.items()
    rows: dict[str, int] = {}
    for word, row in _read(name, content, shown_name).items():
        rows.setdefault(folded(word), row)
    return rows


def _read(name: str, content: bytes, shown_name: str) -> dict[str, int]:
    try:
        if not name.endswith(".json"):
            return _numbered(content.decode().removesuffix("\n").split("\n"))
        document = json.loads(content)
        words = _numbered(document) if isinstance(document, list) else document
        if isinstance(words, dict) and all(type(row) is int and row >= 0 for row in words.values()):
            return words
    except (ValueError, TypeError) as error:
        raise WeightsUnfit(f"{name} of {shown_name} can't be read as a list of words ({error})") from error
    raise WeightsUnfit(f"{name} of {shown_name} is neither a list of words nor word → row")


def _numbered(words: list[str]) -> dict[str, int]:
    rows: dict[str, int] = {}
    for row, word in enumerate(words):
        rows.setdefault(str(word).rstrip("\r"), row)
    return rows
