"""Reasons for what the recipe has decided for texts: one sentence for each value that a spec leaves to it."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from models_store.tasks.text import defaults

if TYPE_CHECKING:
    from models_store.spec.reasons import Case
    from models_store.tasks.text.facts import TextFacts

    TextCase = Case[TextFacts, Any]

TOKENIZERS = {
    "characters": "single characters need no dictionary, and the file numbers them itself: a client sends code points",
    "code_points": "n-grams are hashed from code points in the file itself: a client sends nothing else, and no character is unknown",
    "words": "words say more than characters in languages that put spaces between them",
}
BACKBONES = {
    "text_cnn": "it learns short phrases from the start, in seconds, and without pretrained weights",
}
OTHERS = "it is part of the recipe for texts"


def reason(steps: list[str], value: Any, case: "TextCase") -> str | None:  # noqa: ANN401  any JSON
    """Return why a value was chosen; None: for the reason that all tasks have."""
    section = _OF_SECTION.get(steps[0])
    return None if section is None else section(steps, value, case)


def _input(steps: list[str], value: Any, case: "TextCase") -> str:  # noqa: ANN401  any JSON
    if steps[-1] == "max_tokens":
        return _length(value, case)
    return TOKENIZERS.get(value, OTHERS) if steps[-1] == "kind" else OTHERS


def _length(value: int, case: "TextCase") -> str:
    unit, longest = defaults.length_of(case.spec.input.tokenizer.kind, case.facts)
    held = f"95 of 100 training texts have {longest:,} {unit} or fewer"
    if longest > value:
        return f"{held}; the recipe never takes more than {value:,}, because the time grows with the length"
    return f"{held}; it is rounded up to a multiple of {defaults.LENGTH_STEP}"


def _backbone(steps: list[str], value: Any, _case: "TextCase") -> str:  # noqa: ANN401  any JSON
    return BACKBONES.get(value, OTHERS) if steps[-1] == "kind" else OTHERS


def _augmentation(_steps: list[str], _value: Any, case: "TextCase") -> str:  # noqa: ANN401  any JSON
    if case.facts.has_paraphrases:
        return "the dataset has paraphrases: other wordings of its training texts, with the same answers"
    return "no random change of texts gained more than its seeds vary, on 500 texts in Chinese and in English"


_OF_SECTION: Mapping[str, Callable[[list[str], Any, "TextCase"], str]] = {
    "input": _input,
    "backbone": _backbone,
    "augmentation": _augmentation,
}
