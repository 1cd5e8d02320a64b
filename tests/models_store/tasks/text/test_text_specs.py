"""Specs of texts: what of images makes no sense is refused with what to do, defaults have reasons, and warnings."""

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from models_store.spec.explain import explain
from models_store.spec.reasons import decisions
from models_store.spec.schema_walk import paths
from models_store.spec.suggestions import plain
from models_store.tasks.text.contract import TEXT
from models_store.tasks.text.facts import TextFacts
from models_store.tasks.text.spec import ResolvedTextSpec, TextSpec

ASKED = {"task": "text_classification", "name": "reviews", "dataset": "ds_0123456789"}
CHINESE = TextFacts(8_000, {"bad": 4_000, "good": 4_000}, characters_95=210, words_95=205, han_share=0.97)
ENGLISH = TextFacts(6_000, {"bad": 3_000, "good": 3_000}, characters_95=160, words_95=40, han_share=0.0)
FEW = TextFacts(30, {"bad": 20, "good": 10}, characters_95=7, words_95=2, han_share=0.0)
LONG = replace(ENGLISH, characters_95=9_000, words_95=1_800)
MANY = replace(ENGLISH, counts={f"class {number}": 60 for number in range(100)})
FACTS = {"Chinese": CHINESE, "English": ENGLISH, "few": FEW, "long": LONG, "many classes": MANY}


def refused(**asked: Any) -> tuple[str, str]:
    """Return where a spec is refused, and why."""
    document = ASKED | asked
    with pytest.raises(ValidationError) as caught:
        TEXT.resolve(TextSpec.model_validate(document), ENGLISH)
    (fault,) = explain(caught.value, TextSpec, document)
    return fault["pointer"], fault["message"]


def resolved(facts: TextFacts = ENGLISH, **asked: Any) -> tuple[ResolvedTextSpec, list[str]]:
    spec, warnings = TEXT.resolve(TextSpec.model_validate(ASKED | asked), facts)
    assert isinstance(spec, ResolvedTextSpec)
    return spec, warnings


@pytest.mark.parametrize(
    ("asked", "pointer", "advice"),
    [
        ({"input": {"size": 224}}, "/input/size", "`input.max_tokens` is how much of it the net reads"),
        ({"input": {"channels": 1}}, "/input/channels", "texts have no channels or colours"),
        ({"image_size": 224}, "/image_size", "a text has no size"),
        (
            {"evaluation": {"test_time_augmentation": {}}},
            "/evaluation/test_time_augmentation",
            "a text has one reading",
        ),
        ({"evaluation": {"tta": 8}}, "/evaluation/tta", "a text has one reading"),
        ({"export": {"any_size": True}}, "/export/any_size", "a file of texts takes any length already"),
        ({"backbone": {"kind": "resnet18"}}, "/backbone/kind", "it is a network for images; its kinds are"),
        ({"backbone": {"kind": "TextCNN"}}, "/backbone/kind", "did you mean 'text_cnn'?"),
        ({"input": {"max_length": 128}}, "/input/max_length", "did you mean 'max_tokens'?"),
        ({"max_seq_length": 128}, "/max_seq_length", "did you mean 'input.max_tokens'?"),
        ({"input": {"lowercase": True}}, "/input/lowercase", "every tokenizer folds case, width"),
        ({"stop_words": "english"}, "/stop_words", "no word is left out"),
        ({"input": {"padding": "max_length"}}, "/input/padding", "padding never changes an answer"),
        (
            {"input": {"tokenizer": {"kind": "wordpiece"}}},
            "/input/tokenizer/kind",
            "pieces of words are learned by bpe",
        ),
        ({"input": {"tokenizer": {"kind": "sentencepiece"}}}, "/input/tokenizer/kind", "did you mean 'unigram'?"),
        ({"input": {"tokenizer": {"kind": "words", "vocab_size": 9}}}, "/input/tokenizer/vocab_size", "'vocabulary'"),
        ({"input": {"truncate": "right"}}, "/input/truncate", "did you mean 'end'?"),
        ({"training": {"fit_to_budget": ["input.size"]}}, "/training/fit_to_budget/0", "has no `input.size`"),
        ({"regularizers": [{"kind": "drop_path"}]}, "/regularizers/0", "text_cnn has no residual branches"),
        ({"regularizers": [{"kind": "l2_sp"}]}, "/regularizers/0", "needs pretrained weights"),
        ({"transfer": {"probe_epochs": 2}}, "/transfer/probe_epochs", "no pretrained features"),
        (
            {"compression": {"prune": {"kind": "structured", "importance": "bn_scale"}}},
            "/compression/prune/importance",
            "this backbone has none",
        ),
        (
            {"backbone": {"kind": "lstm"}, "compression": {"prune": {"kind": "structured"}}},
            "/compression/prune/kind",
            "lstm has no channels that can be removed",
        ),
        (
            {
                "backbone": {"kind": "encoder", "weights": "wt_0000000000000000"},
                "compression": {"prune": {"kind": "vocabulary"}},
            },
            "/compression/prune/kind",
            "encoder has no vocabulary that can be cut; unstructured_l1, n_m and `compression.quantize` make",
        ),
        (
            {"backbone": {"kind": "gru"}, "compression": {"quantize": [{"kind": "fp16"}, {"kind": "qat_int8"}]}},
            "/compression/quantize/1/kind",
            "gru has none; take one of weights_int8, fp16",
        ),
        (
            {"backbone": {"kind": "text_cnn"}, "compression": {"quantize": [{"kind": "fp16"}, {"kind": "qat_int8"}]}},
            "/compression/quantize/1/kind",
            "text_cnn takes numbers of tokens, which are not rounded; take static_int8 or weights_int8",
        ),
        (
            {"backbone": {"kind": "nb_linear"}, "compression": {"quantize": [{"kind": "static_int8"}]}},
            "/compression/quantize/0/kind",
            "nb_linear has none; take one of weights_int8, fp16",
        ),
        (
            {
                "backbone": {"kind": "ngram_bag"},
                "compression": {"quantize": [{"kind": "dynamic_int8", "layers": "all"}]},
            },
            "/compression/quantize/0/kind",
            "ngram_bag has none below its head",
        ),
        (
            {"backbone": {"kind": "ensemble"}, "compression": {"quantize": [{"kind": "dynamic_int8"}]}},
            "/compression/quantize/0/kind",
            "ensemble has none below its head",
        ),
        (
            {"backbone": {"kind": "lstm"}, "compression": {"quantize": [{"kind": "weights_int4"}]}},
            "/compression/quantize/0/kind",
            "4 bits would save next to nothing",
        ),
        (
            {"backbone": {"kind": "tfidf_linear"}, "compression": {"prune": {"kind": "structured"}}},
            "/compression/prune/kind",
            "vocabulary and `compression.quantize` make its file smaller",
        ),
        (
            {"backbone": {"kind": "rnn"}, "compression": {"prune": {"kind": "n_m"}}},
            "/compression/prune/kind",
            "rnn has none below its head",
        ),
        ({"backbone": {"kind": "fasttext"}}, "/backbone/kind", "did you mean 'ngram_bag'?"),
        ({"backbone": {"kind": "BiLSTM"}}, "/backbone/kind", "did you mean 'lstm'?"),
        ({"backbone": {"kind": "gru", "hidden_size": 64}}, "/backbone/hidden_size", "did you mean 'width'?"),
        ({"task": "text_regression", "loss": {"kind": "focal"}}, "/loss/kind", "is learned with mse"),
        ({"input": {"tokenizer": {"kind": "code_points"}}}, "/input/tokenizer/kind", "have no vocabulary"),
        (
            {"backbone": {"kind": "nb_linear", "word_ngrams": [1]}, "input": {"tokenizer": {"kind": "bpe"}}},
            "/backbone/word_ngrams",
            "the file finds words in code points",
        ),
        ({"backbone": {"kind": "nb_linear", "ngrams": [], "word_ngrams": []}}, "/backbone/ngrams", "give a length"),
        ({"task": "text_regression", "backbone": {"kind": "nb_linear"}}, "/backbone/kind", "numbers have none"),
        (
            {"backbone": {"kind": "tfidf_linear"}, "head": {"hidden_sizes": [8]}},
            "/head/hidden_sizes",
            "take ngram_bag for hidden layers",
        ),
        (
            {"backbone": {"kind": "ensemble"}, "regularizers": [{"kind": "dropout"}]},
            "/regularizers/0",
            "no features that could be dropped",
        ),
        (
            {"task": "text_regression", "backbone": {"kind": "ensemble"}},
            "/backbone/members/1/kind",
            "numbers have none",
        ),
    ],
    ids=str,
)
def test_what_texts_have_not_is_refused_with_what_to_do(asked: dict[str, Any], pointer: str, advice: str) -> None:
    backbone = {} if "backbone" in asked else {"backbone": {"kind": "text_cnn"}}

    place, message = refused(**backbone | asked)

    assert place == pointer
    assert advice in message


def test_every_word_of_other_libraries_leads_somewhere() -> None:
    schema = TextSpec.model_json_schema()
    known = {*paths(schema, schema)}
    for part in schema["$defs"].values():
        known |= set(part.get("properties", {}))
    kinds = {kind for each in _unions(schema) for kind in each}

    said = TextSpec.words
    wanted = {*said.fields.values(), *(path for several in said.also.values() for path in several)}
    assert wanted - known - kinds == set()
    assert {kind for several in said.kinds.values() for kind in several} - kinds == set()
    words = [*said.fields, *said.also, *said.notes, *said.kinds, *said.kind_notes, *said.values]
    assert [word for word in words if plain(word) != word] == []
    assert kinds & {*said.kind_notes} == set()


def _unions(node: Any) -> list[list[str]]:
    if isinstance(node, list):
        return [union for each in node for union in _unions(each)]
    if not isinstance(node, dict):
        return []
    own = [[*node["discriminator"]["mapping"]]] if "discriminator" in node else []
    return own + _unions([*node.values()])


@pytest.mark.parametrize("facts", FACTS.values(), ids=FACTS)
@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"backbone": {"kind": "text_cnn"}},
        {"input": {"max_tokens": 64}},
        {"input": {"tokenizer": {"kind": "words"}}},
        {"input": {"tokenizer": {"kind": "bpe"}}},
        {"training": {"budget_minutes": None}},
    ],
    ids=str,
)
def test_each_value_that_the_recipe_decides_has_a_reason(asked: dict[str, Any], facts: TextFacts) -> None:
    spec, _ = resolved(facts, **asked)

    found = decisions(ASKED | asked, spec, facts)

    pointers = {each.pointer for each in found}
    assert all(each.why and each.why == each.why.strip() and not each.why.endswith(".") for each in found)
    assert ("/backbone/kind" in pointers) == ("backbone" not in asked)
    assert ("/input/max_tokens" in pointers) == ("max_tokens" not in asked.get("input", {}))
    assert decisions(spec.model_dump(mode="json"), spec, facts) == []


def test_the_reason_for_a_length_names_how_long_the_texts_are() -> None:
    asked = {"input": {"tokenizer": {"kind": "characters"}}, "backbone": {"kind": "text_cnn"}}
    why = {}
    for name, facts in FACTS.items():
        spec, _ = resolved(facts, **asked)
        why[name] = {each.pointer: (each.value, each.why) for each in decisions(ASKED | asked, spec, facts)}

    length, reason = why["Chinese"]["/input/max_tokens"]
    assert length == 224
    assert reason == "95 of 100 training texts have 210 characters or fewer; it is rounded up to a multiple of 32"
    length, reason = why["long"]["/input/max_tokens"]
    assert length < 9_000
    assert f"never takes more than {length:,}" in reason


@pytest.mark.parametrize(
    ("train_count", "backbone", "length"),
    [(1_000, None, 4_096), (6_000, None, 1_664), (100_000, None, 512), (1_000, {"kind": "text_cnn"}, 512)],
)
def test_models_on_ngrams_see_more_of_long_texts_if_these_are_few(train_count: int, backbone: Any, length: int) -> None:
    facts = replace(LONG, train_count=train_count)

    spec, _ = resolved(facts, backbone=backbone)

    assert spec.input.max_tokens == length


@pytest.mark.parametrize(("class_count", "vocabulary"), [(2, 1_000_000), (100, 80_000), (5_000, 20_000)])
def test_a_model_of_many_classes_knows_fewer_ngrams(class_count: int, vocabulary: int) -> None:
    facts = replace(ENGLISH, counts={f"class {number}": 10 for number in range(class_count)})

    spec, _ = resolved(facts)

    assert spec.backbone.vocabulary == vocabulary


@pytest.mark.parametrize(
    ("facts", "given", "warning"),
    [
        (CHINESE, {"max_tokens": 64}, "`input.max_tokens` 64: more than 5 of 100 training texts are cut"),
        (ENGLISH, {"tokenizer": {"kind": "rjieba"}}, "rjieba finds Chinese words, and 0.0% of the letters"),
        (CHINESE, {"tokenizer": {"kind": "words"}}, "words takes each Chinese character for a word"),
    ],
)
def test_inputs_that_are_probably_not_meant_are_warned_of(facts: TextFacts, given: Any, warning: str) -> None:
    _, warnings = resolved(facts, input=given, backbone={"kind": "text_cnn"})

    assert [each for each in warnings if each.startswith(warning)]


@pytest.mark.parametrize("facts", FACTS.values(), ids=FACTS)
def test_the_recipes_own_choices_are_not_warned_of(facts: TextFacts) -> None:
    _, warnings = resolved(facts)

    assert [each for each in warnings if "max_tokens" in each or "words" in each or "jieba" in each] == []


@pytest.mark.parametrize(
    ("facts", "asked", "kind", "tokenizer", "words"),
    [
        (CHINESE, {}, "nb_linear", "code_points", []),
        (ENGLISH, {}, "nb_linear", "code_points", [1, 2, 3]),
        (replace(ENGLISH, target="number", counts={}), {}, "tfidf_linear", "code_points", [1, 2, 3]),
        (ENGLISH, {"input": {"tokenizer": {"kind": "bpe"}}}, "nb_linear", "bpe", []),
    ],
)
def test_texts_are_learned_by_a_linear_model_that_suits_the_target(
    facts: TextFacts, asked: dict[str, Any], kind: str, tokenizer: str, words: list[int]
) -> None:
    spec = resolved(facts, **{"task": None} | asked)[0].model_dump()

    assert (spec["backbone"]["kind"], spec["input"]["tokenizer"]["kind"]) == (kind, tokenizer)
    assert spec["backbone"]["word_ngrams"] == words
    assert spec["regularizers"] == []


@pytest.mark.parametrize(("classes", "epochs"), [(2, 5), (3, 10), (6, 12), (50, 12)])
def test_texts_of_more_classes_are_gone_through_more_often(classes: int, epochs: int) -> None:
    facts = replace(ENGLISH, counts={f"class {number}": 6_000 // classes for number in range(classes)})
    spec, _ = resolved(facts)

    why = {each.pointer: each.why for each in decisions(ASKED, spec, facts)}["/training/epochs"]
    assert spec.training.epochs == epochs
    assert (f"of {classes} classes" in why) == (classes > 2)


def test_few_texts_are_gone_through_more_often_and_rare_n_grams_of_them_count() -> None:
    few, many = (resolved(facts)[0].model_dump() for facts in (FEW, ENGLISH))

    assert few["training"]["epochs"] > many["training"]["epochs"] >= 5
    assert (few["backbone"]["min_count"], many["backbone"]["min_count"]) == (1, 2)


@pytest.mark.parametrize(
    ("members", "tokenizer"), [(["nb_linear", "ngram_bag"], "code_points"), (["nb_linear", "text_cnn"], "characters")]
)
def test_an_ensemble_takes_tokens_that_all_its_members_can_use(members: list[str], tokenizer: str) -> None:
    backbone = {"kind": "ensemble", "members": [{"kind": kind} for kind in members]}

    spec = resolved(backbone=backbone)[0].model_dump()

    assert spec["input"]["tokenizer"]["kind"] == tokenizer
    assert spec["backbone"]["members"][0]["word_ngrams"] == ([1, 2, 3] if tokenizer == "code_points" else [])
