"""Rules of texts: backbones and tokenizers that don't go together, and what is unlikely to be meant."""

from typing import TYPE_CHECKING

from models_store.spec.contradiction import contradiction
from models_store.spec.network import Network
from models_store.spec.recipe import Document, Misfit, Warnings
from models_store.tasks.text import defaults
from models_store.tasks.text.augmentation_rules import warnings_of_augmentation
from models_store.tasks.text.backbones.encoder import Encoder
from models_store.tasks.text.backbones.ensemble import Ensemble
from models_store.tasks.text.backbones.ngrams import NgramNetwork
from models_store.tasks.text.facts import TextFacts

if TYPE_CHECKING:
    from models_store.tasks.text.spec import ResolvedTextSpec, TextSpec

CHINESE = {"jieba", "rjieba"}
"""tokenizers that find Chinese words"""
MOSTLY, HARDLY = 0.5, 0.05
"""shares of Chinese characters among all letters"""


def refuse_what_contradicts_itself(spec: "TextSpec") -> None:
    """Check what a spec alone says of its texts; fields that are left out are no contradiction yet.

    Raises:
        PydanticCustomError: of type `contradiction`, with a pointer and what is allowed.
    """
    backbone = spec.backbone
    if backbone is None:
        return
    members = backbone.members if isinstance(backbone, Ensemble) else []
    for number, member in enumerate(members):
        _refuse_what_does_not_go_with_the_input(member, spec, f"backbone/members/{number}")
    if not members:
        _refuse_what_does_not_go_with_the_input(backbone, spec, "backbone")
    if members or backbone.kind in defaults.LINEAR:
        _refuse_what_has_no_layer(spec)


def _refuse_what_does_not_go_with_the_input(part: Network, spec: "TextSpec", place: str) -> None:
    tokenizer = spec.input.tokenizer.kind if spec.input.tokenizer else None
    if isinstance(part, Encoder):
        _refuse_what_the_encoder_can_not_have(part, spec)
    elif tokenizer == "pretrained":
        raise contradiction(
            "input/tokenizer/kind",
            f"pretrained is the tokenizer of an encoder, and {part.kind} has none; take characters, or leave it out",
            ["characters"],
        )
    elif isinstance(part, NgramNetwork):
        _refuse_ngrams_that_are_not_there(part, tokenizer, place)
    elif tokenizer == "code_points":
        others = ["characters", "words", "jieba", "rjieba", "bpe", "unigram"]
        raise contradiction(
            "input/tokenizer/kind",
            f"{part.kind} has an embedding of every token, and code points have no vocabulary; take characters",
            others,
        )
    if part.kind == "nb_linear" and spec.target == "number":
        others = ["tfidf_linear", "ngram_bag"]
        raise contradiction(f"{place}/kind", "nb_linear counts the texts of each class, and numbers have none", others)
    if place != "backbone" and part.weights is not None:
        raise contradiction(f"{place}/weights", "a member of an ensemble starts at random; leave it out", [None])


def _refuse_what_the_encoder_can_not_have(encoder: Encoder, spec: "TextSpec") -> None:
    if encoder.weights is None:
        raise contradiction(
            "backbone/weights",
            "encoder starts from a pretrained one; give the id of its archive (POST /weights), or take transformer, "
            "which starts at random",
            None,
        )
    if spec.input.tokenizer is not None and spec.input.tokenizer.kind != "pretrained":
        raise contradiction(
            "input/tokenizer/kind",
            f"an encoder has the tokenizer of its weights, and {spec.input.tokenizer.kind} would number its tokens "
            "otherwise; leave it out",
            ["pretrained"],
        )
    most = encoder.architecture.positions if encoder.architecture is not None else None
    if most is not None and spec.input.max_tokens is not None and spec.input.max_tokens > most:
        raise contradiction(
            "input/max_tokens", f"this encoder has positions for {most} tokens", {"minimum": 8, "maximum": most}
        )


def _refuse_ngrams_that_are_not_there(backbone: NgramNetwork, tokenizer: str | None, place: str) -> None:
    if backbone.word_ngrams and tokenizer not in {None, "code_points"}:
        raise contradiction(
            f"{place}/word_ngrams",
            f"the file finds words in code points, and {tokenizer} gives it other tokens; leave word_ngrams out",
            [[]],
        )
    if not backbone.ngrams and backbone.word_ngrams == []:
        raise contradiction(f"{place}/ngrams", "without any n-gram nothing is seen of a text; give a length", [[1]])


def _refuse_what_has_no_layer(spec: "TextSpec") -> None:
    """Check what acts on the features of a net: linear models and ensembles have scores of the classes in their place."""
    assert spec.backbone is not None, "a linear model is a backbone"
    kind = spec.backbone.kind
    if spec.head.hidden_sizes:
        raise contradiction(
            "head/hidden_sizes",
            f"the head of {kind} is a bias; take ngram_bag for hidden layers",
            [[]],
        )
    noisy = [number for number, part in enumerate(spec.regularizers or []) if part.kind == "dropout"]
    if noisy:
        raise contradiction(
            f"regularizers/{noisy[0]}", f"{kind} has no features that could be dropped; take l1, l2 or elastic", None
        )


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


def teacher_misfit(spec: "ResolvedTextSpec", source: Document, *, reference: str) -> Misfit | None:
    """Return why a net can't be given the tokens of its teacher, which was trained by `source`."""
    own = spec.model_dump(mode="json")
    given, taught_by = (each["input"]["tokenizer"] for each in (own, source))
    if "pretrained" not in {given["kind"], taught_by["kind"]}:
        return None
    if given != taught_by or own["backbone"]["origin"] != source["backbone"]["origin"]:
        detail = (
            f"{reference} has the tokenizer {taught_by['kind']}, and this spec has {given['kind']}: both have to be "
            "given the same tokens, so start both from one encoder"
        )
        return Misfit("/distillation/teacher", detail)
    return None
