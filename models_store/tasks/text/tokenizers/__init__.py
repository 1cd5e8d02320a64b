"""Tokenizers of texts: fitted while training, and the same ones while serving."""

from models_store.tasks.text.tokenizers.fitting import fit, of_encoder, read
from models_store.tasks.text.tokenizers.tokens import (
    FIRST,
    PADDING,
    UNKNOWN,
    Document,
    Ids,
    TokenizerUnavailable,
    Tokens,
    cut,
    facts_of,
)

__all__ = [
    "FIRST",
    "PADDING",
    "UNKNOWN",
    "Document",
    "Ids",
    "TokenizerUnavailable",
    "Tokens",
    "cut",
    "facts_of",
    "fit",
    "of_encoder",
    "read",
]
