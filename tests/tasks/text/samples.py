"""Texts of a class, with labels and with a number, for the tests of every task."""

import random

from tests.tasks.samples import Sample

COUNT = 120
GOOD, BAD = ("good", "clean", "friendly", "quiet"), ("bad", "dirty", "rude", "loud")
PLACES = ("room", "staff", "food", "street", "bed", "view")
SMALL = {
    "input": {"tokenizer": {"kind": "characters", "min_count": 1}, "max_tokens": 64},
    "backbone": {"kind": "text_cnn", "embedding": 16, "kernels": [3], "filters": 16},
}
OF_WORDS = SMALL | {"input": {"tokenizer": {"kind": "words", "min_count": 1}, "max_tokens": 32}}


def sentences() -> list[tuple[bool, str]]:
    chance = random.Random(0)
    return [
        (
            row % 2 == 0,
            ", ".join(f"the {chance.choice(PLACES)} was {chance.choice((GOOD, BAD)[row % 2])}" for _ in "ab")
            + f" ({row})",
        )
        for row in range(COUNT)
    ]


def with_a_class() -> dict[str, bytes]:
    return {f"{'good' if good else 'bad'}/{row}.txt": text.encode() for row, (good, text) in enumerate(sentences())}


def with_a_table(column: str, cells: tuple[str, str]) -> dict[str, bytes]:
    rows = [f"{row}.txt,{cells[not good]}" for row, (good, _) in enumerate(sentences())]
    texts = {f"{row}.txt": text.encode() for row, (_, text) in enumerate(sentences())}
    return texts | {"labels.csv": "\n".join([f"file,{column}", *rows]).encode()}


def with_labels() -> dict[str, bytes]:
    return with_a_table("labels", ("praise;calm", "complaint"))


def with_a_number() -> dict[str, bytes]:
    return with_a_table("value", ("1.5", "-1.5"))


TEXT = "the room was clean, the staff was friendly"
FILE = ("good.txt", TEXT.encode())
SAMPLES = {
    "text_classification": Sample(with_a_class, TEXT, FILE, SMALL),
    "text_multilabel": Sample(with_labels, TEXT, FILE, OF_WORDS),
    "text_regression": Sample(with_a_number, TEXT, FILE, SMALL),
}
