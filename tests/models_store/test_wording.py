"""Words that follow a number: singular for one, plural for all others."""

import pytest

from models_store.wording import any_of, counted, inflected


@pytest.mark.parametrize(("count", "words"), [(0, "0 images"), (1, "1 image"), (2, "2 images"), (1000, "1000 images")])
def test_a_regular_plural_has_an_s(count: int, words: str) -> None:
    assert counted(count, "image") == words


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 classes have"), (1, "1 class has"), (2, "2 classes have"), (1000, "1000 classes have")],
)
def test_an_irregular_plural_and_its_verb_are_given(count: int, words: str) -> None:
    assert counted(count, "class has", "classes have") == words


@pytest.mark.parametrize(
    ("count", "words"), [(0, "minutes"), (0.5, "minutes"), (1, "minute"), (1.0, "minute"), (2, "minutes")]
)
def test_words_come_without_the_number_where_it_is_formatted_elsewhere(count: float, words: str) -> None:
    assert inflected(count, "minute") == words


@pytest.mark.parametrize(("count", "words"), [(0, "were"), (1, "was"), (2, "were"), (1000, "were")])
def test_a_verb_agrees_with_a_count(count: int, words: str) -> None:
    assert inflected(count, "was", "were") == words


def test_alternatives_are_joined_by_commas_and_a_last_or() -> None:
    assert any_of(["images"]) == "images"
    assert any_of(["images", "texts"]) == "images or texts"
    assert any_of(["images", "texts", "rows"]) == "images, texts or rows"
