"""Rules of texts: what is unlikely to be meant."""

from typing import TYPE_CHECKING

from models_store.spec.recipe import Warnings
from models_store.tasks.text import defaults
from models_store.tasks.text.augmentation_rules import warnings_of_augmentation
from models_store.tasks.text.facts import TextFacts

if TYPE_CHECKING:
    from models_store.tasks.text.spec import ResolvedTextSpec

CHINESE = {"jieba", "rjieba"}
"""tokenizers that find Chinese words"""
MOSTLY, HARDLY = 0.5, 0.05
"""shares of Chinese characters among all letters"""


def warnings_about(spec: "ResolvedTextSpec", facts: TextFacts) -> Warnings:
    """Return warnings about values that are allowed but probably not meant, each with whether it applies."""
    tokenizer, most = spec.input.tokenizer, spec.input.max_tokens
    assert tokenizer is not None, "the spec is resolved"
    assert most is not None, "as above"
    unit, longest = defaults.length_of(tokenizer.kind, facts)
    return [
        (
            most < min(longest, defaults.MOST_TOKENS),
            f"`input.max_tokens` {most}: more than 5 of 100 training texts are cut, because 95 have {longest:,} {unit} or fewer",
        ),
        (
            tokenizer.kind in CHINESE and facts.han_share < HARDLY,
            f"{tokenizer.kind} finds Chinese words, and {facts.han_share:.1%} of the letters are Chinese characters; words is faster",
        ),
        (
            tokenizer.kind == "words" and facts.han_share > MOSTLY,
            "words takes each Chinese character for a word; take characters, which the file numbers itself, or rjieba for real words",
        ),
        *warnings_of_augmentation(spec, facts),
    ]
