"""Defaults of a spec of texts: the values that a spec leaves out, for each kind of data.

Without a backbone in the spec, a linear model on n-grams of characters and words learns: it takes seconds, needs no
tokenizer, reads any language, and from a few hundred to tens of thousands of texts nets from random weights are hardly
ever better (docs/evidence/2026-12-01-text.md). Rare classes count as much as others, as in all recipes.
"""

import math

from models_store.spec.facts import Target
from models_store.spec.recipe import (
    EPOCHS,
    MOST_EPOCHS,
    Document,
    Way,
    completed,
    epochs_for_steps,
    is_balanced,
    steps_per_epoch,
    usual_batch_size,
    usual_loss,
    usual_monitor,
    usual_regularizers,
    usual_schedule,
)
from models_store.spec.transfer import Transfer
from models_store.tasks.text.facts import TextFacts

LENGTH_STEP = 32
MOST_TOKENS, LONGEST = 512, 4096
"""largest numbers of tokens that the recipe chooses, of any texts and of few long ones; a spec may ask for more"""
CHARACTERS = 10_000_000
"""characters of training texts that a model on n-grams goes through in at most a minute or two: few texts may be longer"""
MOSTLY_HAN = 0.5
"""share above which texts are Chinese: each of its characters is a word of its own to the file, an n-gram already"""
FEW = 500
"""number of training texts below which an n-gram of a single text counts too"""
MOST_NGRAMS, LEAST_NGRAMS = 1_000_000, 20_000
"""n-grams of a model of few classes, and of one of very many"""
WEIGHTS = 8_000_000
"""weights of a linear model, 32 MB of its file: there is one of each n-gram for each class"""
LINEAR = {"tfidf_linear", "nb_linear"}
ON_NGRAMS = {*LINEAR, "ngram_bag"}
LINEAR_EPOCHS, MOST_LINEAR_EPOCHS, LINEAR_STEPS = 5, 12, 200
"""passes of a linear model over the texts, of two classes and of many: the more there are, the fewer texts are of each;
and its least number of steps: fewer texts are gone through more often"""
LINEAR_RATE = 0.03
PIECES_PER_WORD = 1.4
"""tokens that a pretrained tokenizer makes of a word, or of a Chinese character; two more are special ones"""
FINE_TUNE_EPOCHS = (3, 20)
"""fewest passes of an encoder over the texts, and the most, for small sets"""
FINE_TUNE_RATE = 5e-5


def fill(document: Document, facts: TextFacts, *, target: Target) -> Document:
    """Return a spec's document with its tokenizer, length and backbone decided; what the user chose stays as it is."""
    given = document["input"]
    backbone = document["backbone"] or _backbone(facts, target=target)
    tokenizer = given["tokenizer"] or {"kind": _tokenizer(backbone)}
    finds_words = tokenizer["kind"] == "code_points" and facts.han_share <= MOSTLY_HAN
    backbone = _with_word_ngrams(backbone, [1, 2, 3] if finds_words else [])
    length = given["max_tokens"] or usual_length(tokenizer["kind"], facts, most=_most_tokens(backbone, facts))
    augmentation = usual_augmentation(facts) if document["augmentation"] is None else document["augmentation"]
    decided: Document = {
        "input": given | {"tokenizer": tokenizer, "max_tokens": length},
        "backbone": backbone,
        "augmentation": augmentation,
    }
    if is_linear(backbone):
        decided |= _linear(document, facts, target=target)
    if backbone["kind"] == "encoder":
        decided["backbone"] = backbone | {"freeze": backbone.get("freeze") or "backbone"}
        return _pretrained(document | decided, facts, target=target)
    return document | decided


def is_linear(backbone: Document) -> bool:
    """Return whether a backbone is trained as linear models are; an ensemble is if one of its members is."""
    return backbone["kind"] in LINEAR or any(map(is_linear, backbone.get("members", [])))


def way_of(backbone: Document) -> Way:
    """Return the way of a resolved backbone: vectors of words are no pretrained net."""
    if backbone["kind"] != "encoder":
        return "scratch"
    return "head" if backbone["freeze"] == "backbone" else "fine_tune"


def _tokenizer(backbone: Document) -> str:
    if backbone["kind"] == "encoder":
        return "pretrained"
    return "code_points" if _is_on_ngrams(backbone) else "characters"


def _most_tokens(backbone: Document, facts: TextFacts) -> int:
    """Return the largest number of tokens that the recipe chooses: n-grams of few texts are learned from long ones."""
    if _is_on_ngrams(backbone):
        affordable = CHARACTERS // max(1, facts.train_count) // LENGTH_STEP * LENGTH_STEP
        return min(LONGEST, max(MOST_TOKENS, affordable))
    architecture = backbone.get("architecture")
    return MOST_TOKENS if architecture is None else min(MOST_TOKENS, int(architecture["positions"]))


def _is_on_ngrams(backbone: Document) -> bool:
    if backbone["kind"] == "ensemble":
        return all(map(_is_on_ngrams, backbone["members"]))
    return backbone["kind"] in ON_NGRAMS


def _with_word_ngrams(backbone: Document, lengths: list[int]) -> Document:
    """Return a backbone whose lengths of n-grams of words are decided, and those of its members."""
    if backbone["kind"] == "ensemble":
        return backbone | {"members": [_with_word_ngrams(member, lengths) for member in backbone["members"]]}
    if backbone["kind"] in ON_NGRAMS and backbone.get("word_ngrams") is None:
        return backbone | {"word_ngrams": lengths}
    return backbone


def usual_augmentation(facts: TextFacts) -> list[Document]:
    """Return the paraphrases that the dataset has; no other change of texts helps reliably."""
    return [{"kind": "paraphrases", "probability": 0.5}] if facts.has_paraphrases else []


def usual_length(tokenizer: str, facts: TextFacts, *, most: int = MOST_TOKENS) -> int:
    """Return the tokens that hold 95 of 100 training texts whole, in steps of 32, at most `most`."""
    _, tokens = length_of(tokenizer, facts)
    return min(most, max(LENGTH_STEP, LENGTH_STEP * math.ceil(tokens / LENGTH_STEP)))


def length_of(tokenizer: str, facts: TextFacts) -> tuple[str, int]:
    """Return in what unit a tokenizer counts, and how many of them 95 of 100 training texts have at most."""
    if tokenizer in {"code_points", "characters"}:
        return "characters", facts.characters_95
    if tokenizer == "pretrained":
        return "pieces of words", math.ceil(PIECES_PER_WORD * facts.words_95) + 2
    return "words", facts.words_95


def _backbone(facts: TextFacts, *, target: Target) -> Document:
    part: Document = {"kind": "tfidf_linear" if target == "number" else "nb_linear"}
    if facts.train_count < FEW:
        part["min_count"] = 1
    if (affordable := WEIGHTS // facts.class_count) < MOST_NGRAMS:
        part["vocabulary"] = max(LEAST_NGRAMS, affordable)
    return part


def usual_passes(facts: TextFacts, *, target: Target) -> int:
    """Return how often a linear model goes through many texts."""
    pairs = math.ceil(facts.class_count / 2) if target == "class" else 1
    return min(pairs * LINEAR_EPOCHS, MOST_LINEAR_EPOCHS)


def _linear(document: Document, facts: TextFacts, *, target: Target) -> Document:
    """Return the parts of a spec that linear models need otherwise: a large learning rate, and nothing else.

    Their loss has one minimum, and the validation texts choose how near to it the training ends.
    """
    training = document["training"]
    batch_size = training["batch_size"] or usual_batch_size("scratch", facts, parts=training["accumulate_steps"])
    epochs = max(usual_passes(facts, target=target), math.ceil(LINEAR_STEPS / steps_per_epoch(batch_size, facts)))
    loss = usual_loss(target, "head", facts)
    left_out: Document = {
        "regularizers": [],
        "loss": loss,
        "optimizer": {"kind": "adamw", "lr": LINEAR_RATE, "weight_decay": 0.0},
    }
    return {name: value for name, value in left_out.items() if document[name] is None} | {
        "training": training | {"epochs": training["epochs"] or epochs}
    }


def _pretrained(document: Document, facts: TextFacts, *, target: Target) -> Document:
    """Return a spec of an encoder whose training is decided: of a head alone, or of the whole net, slowly."""
    training, way = document["training"], way_of(document["backbone"])
    batch_size = training["batch_size"] or usual_batch_size(way, facts, parts=training["accumulate_steps"])
    epoch_steps = steps_per_epoch(batch_size, facts)
    least = EPOCHS["head"][0] if way == "head" else FINE_TUNE_EPOCHS[0]
    most = MOST_EPOCHS if way == "head" else FINE_TUNE_EPOCHS[1]
    epochs = training["epochs"] or min(most, max(least, epochs_for_steps(way, epoch_steps)))
    loss = document["loss"] or usual_loss(target, way, facts)
    monitor = usual_monitor(target, way, facts, is_balanced=is_balanced(loss, training))
    decided = {"epochs": epochs, "batch_size": batch_size, "monitor": training["monitor"] or monitor}
    left_out: Document = {
        "transfer": Transfer().model_dump() | (_transfer(document) if way == "fine_tune" else {}),
        "regularizers": usual_regularizers(way, document, epochs * epoch_steps),
        "loss": loss,
        "optimizer": _optimizer_of(way),
        "schedule": usual_schedule(way, document),
    }
    return completed(document | {"training": training | decided}, left_out, way=way)


def _optimizer_of(way: Way) -> Document:
    if way == "head":
        return {"kind": "adamw", "lr": 3e-3, "weight_decay": 0.0}
    return {"kind": "adamw", "lr": FINE_TUNE_RATE, "weight_decay": 0.01}


def _transfer(document: Document) -> Document:
    """Return how an encoder trains on: its head first, then all of it, the lower layers more slowly."""
    if document["optimizer"] is not None:
        return {}  # the multiple is made for the recipe's own rate
    probe: Document = {"probe_epochs": 20} if document["backbone"]["freeze"] == "none" else {}
    return {"head_lr_scale": 10.0, "layer_decay": 0.9} | probe
