"""Neighbours of words by their vectors."""

import numpy as np

from workers.tasks.text.augmentations.neighbours import neighbours_in

WORDS = ["Good", "fine", "bad", "nothing", "awful"]
VECTORS = np.array([[1, 0.1], [2, 0.3], [-1, 0.2], [0, 0], [-2, 0.3]], dtype=np.float16)


def test_the_nearest_words_come_first_and_a_word_is_not_its_own_neighbour() -> None:
    nearest = neighbours_in(WORDS, VECTORS)

    assert nearest(1) == {"good": ("fine",), "fine": ("good",), "bad": ("awful",), "awful": ("bad",)}
    assert nearest(2)["good"] == ("fine", "bad")


def test_more_neighbours_than_words_are_all_words() -> None:
    assert set(neighbours_in(WORDS, VECTORS)(50)["bad"]) == {"good", "fine", "awful"}
