"""What a spec may ask of augmentation, given the dataset."""

from typing import Any

import pytest
from pydantic import ValidationError

from models_store.spec.explain import explain
from models_store.tasks.text.contract import TEXT
from models_store.tasks.text.facts import TextFacts
from models_store.tasks.text.spec import TextSpec


def facts(**known: Any) -> TextFacts:
    return TextFacts(**({"train_count": 100, "counts": {"bad": 50, "good": 50}, "han_share": 0.5} | known))


def asking_for(*parts: dict[str, Any], **changes: Any) -> dict[str, Any]:
    asked = {"name": "reviews", "dataset": "ds_01hzx3v7k2m4n6p8q0r2s4"} | changes
    return asked | ({"augmentation": [*parts]} if parts else {})


def resolved(known: TextFacts, *parts: dict[str, Any], **changes: Any) -> tuple[Any, list[str]]:
    return TEXT.resolve(TextSpec.model_validate(asking_for(*parts, **changes)), known)


def test_paraphrases_are_used_where_there_are_some_and_nothing_else_by_default() -> None:
    without, _ = resolved(facts())
    with_some, _ = resolved(facts(has_paraphrases=True, has_synonyms=True))

    assert without.augmentation == []
    assert [part.kind for part in with_some.augmentation] == ["paraphrases"]


@pytest.mark.parametrize(
    ("kind", "needed"), [("paraphrases", "paraphrases.csv"), ("synonym_replacement", "synonyms.csv")]
)
def test_a_part_that_the_dataset_has_nothing_for_is_refused_by_name(kind: str, needed: str) -> None:
    parts = {"kind": "random_swap"}, {"kind": kind}

    with pytest.raises(ValidationError) as refused:
        resolved(facts(), *parts)

    (error,) = explain(refused.value, TextSpec, asking_for(*parts))
    assert (error["pointer"], error["code"]) == ("/augmentation/1", "contradiction")
    assert needed in error["message"]


@pytest.mark.parametrize(
    ("part", "known", "changes", "warning"),
    [
        ({"kind": "homophones"}, {"han_share": 0.0}, {}, "no text is mostly Chinese"),
        ({"kind": "typos"}, {"han_share": 1.0}, {}, "all texts are mostly Chinese"),
        ({"kind": "mixup"}, {}, {"training": {"batch_size": 1}}, "no other text to mix with"),
    ],
    ids=lambda given: given.get("kind", "") if isinstance(given, dict) else "",
)
def test_a_part_without_effect_is_warned_about(
    part: dict[str, Any], known: dict[str, Any], changes: dict[str, Any], warning: str
) -> None:
    _, silent = resolved(facts(), part)
    _, warned = resolved(facts(**known), part, **changes)

    assert not any(warning in text for text in silent)
    assert any(warning in text for text in warned)


@pytest.mark.parametrize(
    ("part", "near"),
    [
        ({"kind": "aeda"}, "punctuation_insertion"),
        ({"kind": "back_translation"}, "paraphrases"),
        ({"kind": "random_deletion", "ratio": 0.2}, "rate"),
        ({"kind": "random_deletion", "rate": 0.6}, "0.5"),
    ],
)
def test_what_other_libraries_call_it_is_understood(part: dict[str, Any], near: str) -> None:
    with pytest.raises(ValidationError) as refused:
        TextSpec.model_validate(asking_for(part))

    (error,) = explain(refused.value, TextSpec, asking_for(part))
    assert near in str(error)
