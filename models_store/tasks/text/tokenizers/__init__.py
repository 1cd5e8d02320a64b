"""Tokenizers of texts: fitted while training, and the same ones while serving."""

from models_store.tasks.text.tokenizers.fitting import fit, read
from models_store.tasks.text.tokenizers.tokens import (
    FIRST,
    PADDING,
    UNKNOWN,
    Document,
    Ids,
    TokenizerUnavailable,
    Tokens,
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
    "facts_of",
    "fit",
    "read",
]
