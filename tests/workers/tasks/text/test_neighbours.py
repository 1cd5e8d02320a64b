"""Neighbours of words by their vectors."""

import numpy as np

from workers.tasks.text.augmentations.neighbours import neighbours_in

WORDS = ["Good", "fine", "bad", "nothing", "awful"]
VECTORS = np.array([[1, 0.1], [2, 0.3], [-1, 0.2], [0, 0], [-2, 0.3]], dtype=np.float16)


def test_the_nearest_words_come_first_and_a_word_is_not_its_own_neighbour() -> None:
    nearest = neighbours_in(WORDS, VECTORS)

    assert nearest(1) == {"good": ("fine",), "fine": ("good",), "bad": ("awful",), "awful": ("bad",)}


def test_words_of_another_direction_are_no_neighbours_however_few_there_are() -> None:
    assert neighbours_in(WORDS, VECTORS)(50) == neighbours_in(WORDS, VECTORS)(1)


def test_the_nearest_come_first() -> None:
    vectors = np.array([[1, 0], [1, 0.5], [1, 0.1], [1, 0.2]])

    assert neighbours_in("abcd", vectors)(2)["a"] == ("c", "d")
