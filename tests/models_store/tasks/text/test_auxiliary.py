"""Reading of a dataset's synonyms and paraphrases."""

import pytest

from models_store.tasks.text.auxiliary import AuxiliaryUnreadable, read_paraphrases, read_synonyms


def test_each_word_of_a_group_has_the_others_and_groups_add_up() -> None:
    data = "\ufeffbig,Large,huge\n\n干净,整洁\r\nlarge,vast,\n".encode()

    assert read_synonyms(data) == {
        "big": ("Large", "huge"),
        "large": ("big", "huge", "vast"),
        "huge": ("big", "Large"),
        "vast": ("large",),
        "干净": ("整洁",),
        "整洁": ("干净",),
    }


def test_semicolons_and_tabs_separate_too_and_phrases_may_have_commas_then() -> None:
    assert read_synonyms(b"so, well;anyway\n")["anyway"] == ("so, well",)
    assert read_synonyms(b"a b\tc\n")["c"] == ("a b",)


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"big,large\nalone\n", "line 2 has one word, 'alone'"),
        (b"big,large\nsame,Same\n", "line 2 has one word"),
        ("good,好\n".encode() + "坏,差".encode("gb18030"), "byte 9, line 2"),
        (b'"open,large\n', "line 1"),
        (b"big," + b"x" * 101, "101 characters"),
        (b"big,\0large", "byte 4 is NUL"),
    ],
)
def test_what_cannot_be_read_is_named_by_its_line(data: bytes, named: str) -> None:
    with pytest.raises(AuxiliaryUnreadable, match=named):
        read_synonyms(data)


def test_paraphrases_are_found_by_the_id_of_their_example() -> None:
    data = b'id,text\n1,"Nice, really"\n2,Bad\n1,Pleasant\n'

    assert read_paraphrases(data) == {"1": ("Nice, really", "Pleasant"), "2": ("Bad",)}


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"", "has to be id,text"),
        (b"text,label\n", "'text,label'"),
        (b"id,text\n1,a,b\n", "line 2 has 3 cells"),
        (b"id,text\n1,a\n2, \n", "line 3: its text is empty"),
        (b"text;id\na;\n", "its id is empty"),
    ],
)
def test_a_paraphrase_without_text_or_id_is_refused(data: bytes, named: str) -> None:
    with pytest.raises(AuxiliaryUnreadable, match=named):
        read_paraphrases(data)
