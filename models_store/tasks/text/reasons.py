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
    "pretrained": "an encoder only knows the tokens that it was pretrained on",
    "code_points": "the file finds n-grams among code points itself: a client sends nothing else, and needs no tokenizer",
}
BACKBONES = {
    "nb_linear": "a linear model on n-grams learns in seconds, and texts in the tens of thousands or fewer hardly teach a net from random weights more",
    "tfidf_linear": "a linear model on n-grams learns in seconds; there are no classes whose n-grams could be counted",
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
        return f"{held}; the recipe never takes more than {value:,} of so many, because the time grows with the length"
    return f"{held}; it is rounded up to a multiple of {defaults.LENGTH_STEP}"


def _backbone(steps: list[str], value: Any, case: "TextCase") -> str:  # noqa: ANN401  any JSON
    if steps[-1] == "kind":
        return BACKBONES.get(value, OTHERS)
    if case.spec.backbone.kind == "encoder":
        return _encoder(steps)
    if "word_ngrams" in steps:
        return _word_ngrams(value, case)
    if steps[-1] == "min_count":
        return f"{case.facts.train_count:,} texts are fewer than {defaults.FEW}: an n-gram of one text may be all that there is"
    if steps[-1] == "vocabulary":
        return f"each n-gram has a weight for each of the {case.facts.class_count:,} classes or labels, and the file grows with all of them"
    return OTHERS


def _word_ngrams(value: list[int], case: "TextCase") -> str:
    if value:
        return "phrases of whole words say what short runs of characters don't, and the file finds the words itself"
    if case.spec.input.tokenizer.kind != "code_points":
        return "the tokenizer makes words already, and n-grams of its tokens are their phrases"
    return "to the file each Chinese character is a word: n-grams of characters hold all that those of words would add"


def _encoder(steps: list[str]) -> str:
    if steps[-1] == "freeze":
        return "features of a pretrained encoder are computed once, so that its head learns in seconds; `none` trains all of it, which takes a hundred times as long"
    return "it is what the file of `backbone.weights` says"


def _of_linear(steps: list[str], value: Any, case: "TextCase") -> str | None:  # noqa: ANN401  any JSON
    """Return why a part was chosen that linear models need otherwise."""
    if not defaults.is_linear(case.spec.backbone.model_dump()):
        return None
    if steps[0] == "optimizer":
        return (
            "the weights of a linear model begin at zero, and have a long way to go in few steps"
            if steps[-1] in {"kind", "lr"}
            else None
        )
    if steps[0] == "regularizers":
        return (
            "the epoch that answers the validation texts best is kept: that alone keeps a linear model from overfitting"
        )
    if steps == ["training", "epochs"]:
        return _epochs_of_linear(value, case.facts)
    return None


def _epochs_of_linear(value: int, facts: "TextFacts") -> str:
    passes = defaults.usual_passes(facts, target=facts.target)
    if value > passes:
        return f"so few texts need more passes, for {defaults.LINEAR_STEPS} steps or more"
    if passes > defaults.LINEAR_EPOCHS:
        return f"of {facts.class_count} classes there are fewer texts of each than of two, and more passes are needed"
    return f"a linear model is there after {value} passes; the best of them is kept"


def _augmentation(_steps: list[str], _value: Any, case: "TextCase") -> str:  # noqa: ANN401  any JSON
    if case.facts.has_paraphrases:
        return "the dataset has paraphrases: other wordings of its training texts, with the same answers"
    return "no random change of texts gained more than its seeds vary, on 500 texts in Chinese and in English"


_OF_SECTION: Mapping[str, Callable[[list[str], Any, "TextCase"], str | None]] = {
    "input": _input,
    "backbone": _backbone,
    "augmentation": _augmentation,
    "optimizer": _of_linear,
    "regularizers": _of_linear,
    "training": _of_linear,
}
