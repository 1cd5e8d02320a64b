"""Defaults of a spec of texts: the values that a spec leaves out, for each kind of data."""

import math

from models_store.spec.recipe import Document
from models_store.tasks.text.facts import TextFacts

LENGTH_STEP = 32
MOST_TOKENS = 512
"""largest number of tokens that the recipe chooses; a spec may ask for more"""


def fill(document: Document, facts: TextFacts) -> Document:
    """Return a spec's document with its tokenizer, length and backbone decided; what the user chose stays as it is."""
    given = document["input"]
    tokenizer = given["tokenizer"] or {"kind": "characters"}
    return document | {
        "input": given
        | {"tokenizer": tokenizer, "max_tokens": given["max_tokens"] or usual_length(tokenizer["kind"], facts)},
        "backbone": document["backbone"] or {"kind": "text_cnn"},
        "augmentation": usual_augmentation(facts) if document["augmentation"] is None else document["augmentation"],
    }


def usual_augmentation(facts: TextFacts) -> list[Document]:
    """Return the paraphrases that the dataset has; no other change of texts helps reliably."""
    return [{"kind": "paraphrases", "probability": 0.5}] if facts.has_paraphrases else []


def usual_length(tokenizer: str, facts: TextFacts) -> int:
    """Return the tokens that hold 95 of 100 training texts whole, in steps of 32, at most 512."""
    _, tokens = length_of(tokenizer, facts)
    return min(MOST_TOKENS, max(LENGTH_STEP, LENGTH_STEP * math.ceil(tokens / LENGTH_STEP)))


def length_of(tokenizer: str, facts: TextFacts) -> tuple[str, int]:
    """Return in what unit a tokenizer counts, and how many of them 95 of 100 training texts have at most."""
    if tokenizer in {"code_points", "characters"}:
        return "characters", facts.characters_95
    return "words", facts.words_95
