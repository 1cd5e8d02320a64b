"""Copies of texts: found but for case, width and punctuation, near ones too, and kept together in our own splits."""

import random
import string
from collections import defaultdict

import pytest

from models_store.datasets.row_sources import Table
from models_store.datasets.stored_examples import StoredExamples
from tests.models_store.datasets.dataset_stores import Store, checks
from tests.models_store.datasets.text_rows import lines, rows_of

CSV = Table("texts.csv", "csv")
SPLIT = "text,label,split"
LONG = "the room was clean and the breakfast was good but the street is loud at night so ask for the court side"
SOME = [f"{row},{('train', 'train', 'val', 'test')[at % 4]}" for at, row in enumerate(rows_of("good", "bad", count=20))]


@pytest.mark.parametrize("copy", ["Good  room!", "ＧＯＯＤ ｒｏｏｍ", "good,room", "«good room»…"])
def test_a_copy_in_train_makes_a_row_leaked_whatever_its_case_width_and_punctuation(store: Store, copy: str) -> None:
    dataset = store.ingest(lines(*SOME, "good room,good,train", f'"{copy}",good,test', header=SPLIT), table=CSV)

    entries = store.manifest(dataset)
    found = checks(dataset)
    assert [entry.file for entry in entries if entry.leaked] == ["texts.csv:43"]
    assert dataset.card["leaked"] == {"test": 1}
    assert found["duplicates_across_splits"]["files"] == [["texts.csv:42", "texts.csv:43"]]
    assert "1 of the test split is in the train split, too" in found["duplicates_across_splits"]["message"]
    assert found["copies"]["count"] == 1


@pytest.mark.parametrize(("one", "other"), [("good 😀", "good 😡"), (":)", ":("), ("c++", "c"), ("不好", "好")])
def test_what_turns_a_meaning_makes_no_copy(store: Store, one: str, other: str) -> None:
    dataset = store.ingest(lines(*SOME, f"{one},good,train", f"{other},bad,test", header=SPLIT), table=CSV)

    assert dataset.card["leaked"] == {}
    assert checks(dataset).keys().isdisjoint({"duplicates_across_splits", "conflicting_labels", "copies"})


def test_one_text_with_two_labels_is_listed(store: Store) -> None:
    dataset = store.ingest(lines(*SOME, "Fine.,good,train", "fine,bad,train", header=SPLIT), table=CSV)

    assert checks(dataset)["conflicting_labels"]["files"] == [["texts.csv:42", "texts.csv:43"]]


def test_near_copies_are_found_and_are_not_leaked_rows(store: Store) -> None:
    rows = [f"{LONG},good,train", f"{LONG} please,good,test", f"{LONG[::-1]},bad,test"]

    dataset = store.ingest(lines(*SOME, *rows, header=SPLIT), table=CSV)

    found = checks(dataset)
    assert found["near_duplicates"]["files"] == [["texts.csv:42", "texts.csv:43"]]
    assert found["near_duplicates_across_splits"]["files"] == [["texts.csv:42", "texts.csv:43"]]
    assert dataset.card["leaked"] == {}


@pytest.mark.parametrize("words", [30, 60, 500, 2000])
def test_near_copies_of_any_length_are_found_and_other_texts_are_not(store: Store, words: int) -> None:
    chance = random.Random(words)

    def a_text() -> list[str]:
        return ["".join(chance.choices(string.ascii_lowercase, k=chance.randint(2, 8))) for _ in range(words)]

    texts = [a_text() for _ in range(40)]
    near = [[*text[:-1], "and", "else"] for text in texts[:20]]
    rows = [f"{' '.join(text)},{('good', 'bad')[at % 2]},train" for at, text in enumerate([*texts, *near])]

    dataset = store.ingest(lines(*SOME, *rows, header=SPLIT), table=CSV)

    found = checks(dataset)["near_duplicates"]["files"]
    assert {*map(frozenset, found)} == {frozenset({f"texts.csv:{42 + at}", f"texts.csv:{82 + at}"}) for at in range(20)}


def test_a_text_that_repeats_itself_has_copies_too(store: Store) -> None:
    rows = [f"{'ha' * 5000},good,train", f"{'ha' * 5000}!,good,test"]

    dataset = store.ingest(lines(*SOME, *rows, header=SPLIT), table=CSV)

    assert dataset.card["leaked"] == {"test": 1}


def test_copies_and_near_copies_stay_in_one_split_that_is_made(store: Store) -> None:
    words = [f"{row.split(',')[0]} and then some more words about number {at}" for at, row in enumerate(SOME)]
    rows = [
        f"{form},{('good', 'bad')[at % 2]}"
        for at, text in enumerate(words)
        for form in (
            f"{text} {LONG[at : at + 60]}",
            f"{text.upper()} {LONG[at : at + 60]}!",
            f"{text} {LONG[at : at + 60]} x",
        )
    ]

    dataset = store.ingest(lines(*rows), table=CSV)

    splits = defaultdict(set)
    for entry in store.manifest(dataset):
        splits[(int(entry.file.partition(":")[2]) - 2) // 3].add(entry.split)
    assert {len(found) for found in splits.values()} == {1}
    assert set.union(*splits.values()) == {"train", "val", "test"}
    assert (dataset.card["leaked"], "near_duplicates_across_splits" in checks(dataset)) == ({}, False)


def test_near_copies_among_numbers_stay_together_too(store: Store) -> None:
    rows = [
        f"{SOME[at % 40]} {LONG[at % 40 : at % 40 + 70]}".replace(",", " ") + f"{'.' * (at // 40)},{at % 40}"
        for at in range(80)
    ]

    dataset = store.ingest(lines(*rows, header="text,value"), table=CSV)

    splits = defaultdict(set)
    for entry in store.manifest(dataset):
        splits[entry.alike].add(entry.split)
    assert (len(splits), {len(found) for found in splits.values()}) == (40, {1})


def test_findings_lead_to_their_rows_even_where_a_report_lists_the_first_alone(store: Store) -> None:
    rows = [
        f"text {at} of {at * at},{('good', 'bad')[at % 2]},{split}" for at in range(300) for split in ("train", "test")
    ]
    dataset = store.ingest(lines(*rows, *SOME, header=SPLIT), table=CSV)
    stored = StoredExamples(store.blobs)

    page, more = stored.page(dataset, finding="duplicates_across_splits", limit=1000)

    assert checks(dataset)["duplicates_across_splits"]["count"] == 300
    assert (len(page), more) == (600, None)
    assert stored.content(dataset, page[0]).startswith(b"text ")


def test_a_mixture_of_scripts_and_control_characters_are_pointed_out(store: Store) -> None:
    chinese = [f"房间{chr(0x4E00 + at)}很干净,good,train" for at in range(20)]

    dataset = store.ingest(lines(*SOME, *chinese, "wrong\x93quotes\x94,bad,train", header=SPLIT), table=CSV)

    found = checks(dataset)
    assert "67% latin, 33% han" in found["mixed_languages"]["message"]
    assert found["control_characters"]["files"] == ["texts.csv:62"]
    assert dataset.card["scripts"] == {"latin": 41 / 61, "han": 20 / 61}
