"""Texts as rows of code points, and back."""

import numpy as np

from workers.tasks.text.augmentations.letters import codes_of, texts_of

TEXTS = ["", "a", "房间", "👩‍👩‍👧", "e\u0301\u202e", "line\n"]


def test_texts_come_back_from_their_code_points() -> None:
    codes = codes_of(TEXTS)

    assert codes.dtype == np.int32
    assert codes.shape == (6, 5)
    assert texts_of(codes) == TEXTS


def test_texts_are_cut_and_no_table_is_without_columns() -> None:
    assert texts_of(codes_of(TEXTS, most=2)) == [text[:2] for text in TEXTS]
    assert codes_of([""]).shape == (1, 1)
