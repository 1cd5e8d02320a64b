"""Fit a tokenizer to training texts, and read a fitted one from its document."""

import functools
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from typing import Any

from models_store.tasks.text.folding import FOLD_ID
from models_store.tasks.text.tokenizers import in_graph, pretrained, segmenters, subwords
from models_store.tasks.text.tokenizers.parts import (
    BpeTokenizer,
    CharacterTokenizer,
    CodePointTokenizer,
    JiebaTokenizer,
    RjiebaTokenizer,
    Tokenizer,
    UnigramTokenizer,
    WordTokenizer,
)
from models_store.tasks.text.tokenizers.tokens import Document, TokenizerUnavailable, Tokens
from models_store.tasks.text.tokenizers.vocabulary import WordTokens, frequent_words

PACKAGES = {
    "jieba": "jieba",
    "rjieba": "rjieba",
    "bpe": "tokenizers",
    "unigram": "sentencepiece",
    "pretrained": "tokenizers",
}
"""kind → the package that it needs; other kinds need none"""


@functools.singledispatch
def fit(part: Tokenizer, texts: Iterable[str]) -> Tokens:
    """Return the tokenizer that `part` describes, fitted to the texts, which are read once; the same on every run.

    Raises:
        TokenizerUnavailable: if its package is not installed.
    """
    raise NotImplementedError(type(part))


@fit.register
def _(part: CodePointTokenizer, texts: Iterable[str]) -> Tokens:  # noqa: ARG001  it learns nothing
    return in_graph.CodePointTokens()


@fit.register
def _(part: CharacterTokenizer, texts: Iterable[str]) -> Tokens:
    return in_graph.fit_characters(texts, min_count=part.min_count, vocabulary=part.vocabulary)


@fit.register
def _(part: WordTokenizer | JiebaTokenizer | RjiebaTokenizer, texts: Iterable[str]) -> Tokens:
    description = _description(part.kind) | part.model_dump(include={"mode", "hmm", "own_words"})
    segment = _segmenter(description)
    words = frequent_words(texts, segment, min_count=part.min_count, vocabulary=part.vocabulary)
    return WordTokens(words, segment, description)


@fit.register
def _(part: BpeTokenizer, texts: Iterable[str]) -> Tokens:
    return subwords.fit_bpe(texts, vocabulary=part.vocabulary, description=_description(part.kind))


@fit.register
def _(part: UnigramTokenizer, texts: Iterable[str]) -> Tokens:
    return subwords.fit_unigram(texts, vocabulary=part.vocabulary, description=_description(part.kind))


def of_encoder(definition: bytes) -> Tokens:
    """Return the tokenizer of a pretrained encoder's `tokenizer.json`, which learns nothing from texts.

    Raises:
        TokenizerUnavailable: if its package is not installed.
    """
    return pretrained.read(_description(pretrained.KIND) | {"definition": definition.decode()})


def read(document: Mapping[str, Any]) -> Tokens:
    """Return the tokenizer of a document.

    Raises:
        TokenizerUnavailable: if its package is missing, or another version, or its kind or fold is not known here.
    """
    kind = document["kind"]
    if kind not in READERS:
        raise TokenizerUnavailable(
            f"the model's tokenizer is of the kind {kind!r}, which is not known here; this installation knows "
            f"{', '.join(READERS)}"
        )
    if document.get("fold", FOLD_ID) != FOLD_ID:
        raise TokenizerUnavailable(
            f"the model folds text by table {document['fold']}, and this installation has {FOLD_ID}: serve the model "
            "with the release that trained it, or train it again"
        )
    trained = document.get("version")
    package, here = PACKAGES.get(kind), _description(kind, wanted=trained).get("version")
    if trained != here:
        raise TokenizerUnavailable(
            f"the model was trained with {package} {trained}, and {package} {here} is installed here: another version "
            f"may cut texts differently, so install {package}=={trained}, or train the model again"
        )
    return READERS[kind](document)


def _words(document: Mapping[str, Any]) -> Tokens:
    description = {name: value for name, value in document.items() if name not in {"fold", "words"}}
    return WordTokens(tuple(document["words"]), _segmenter(description), description)


READERS: Mapping[str, Callable[[Mapping[str, Any]], Tokens]] = {
    "code_points": lambda _: in_graph.CodePointTokens(),
    "characters": lambda document: in_graph.CharacterTokens(document["characters"]),
    "words": _words,
    "jieba": _words,
    "rjieba": _words,
    "bpe": subwords.read_bpe,
    "unigram": subwords.read_unigram,
    pretrained.KIND: pretrained.read,
}


def _description(kind: str, *, wanted: str | None = None) -> Document:
    """Return the kind with its package and the version that is installed; `wanted` is the one that a model needs."""
    package = PACKAGES.get(kind)
    if package is None:
        return {"kind": kind}
    try:
        return {"kind": kind, "package": package, "version": metadata.version(package)}
    except metadata.PackageNotFoundError as error:
        needed = package if wanted is None else f"{package} {wanted}"
        raise TokenizerUnavailable(
            f"the tokenizer {kind!r} needs the package {needed}, and none is installed here: install it, or use a "
            "model with another tokenizer"
        ) from error


def _segmenter(description: Mapping[str, Any]) -> segmenters.Segment:
    options = {name: description[name] for name in ("mode", "hmm", "own_words") if name in description}
    return SEGMENTERS[description["kind"]](**options)


SEGMENTERS: Mapping[str, Callable[..., segmenters.Segment]] = {
    "words": segmenters.unicode_words,
    "jieba": segmenters.jieba_words,
    "rjieba": segmenters.rjieba_words,
}
