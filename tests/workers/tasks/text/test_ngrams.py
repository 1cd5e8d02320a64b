"""N-grams by plain operations: the same as those that a loop finds, alone and in a batch."""

from collections import defaultdict

import numpy as np
import pytest
import torch
from torch import Tensor

from models_store.tasks.text.folding import FOLD
from models_store.tasks.text.tokenizers.segmenters import unicode_words
from workers.tasks.text.augmentations.letters import codes_of
from workers.tasks.text.ngrams import PRIME, Dictionary, Grams, Words

TEXTS = [
    "it's good, isn't it? Good!",
    "房间很干净 and 早餐 good",
    "  ",
    "a",
    "naïve café 2026 été",
    "x" * 400,
    "x" * 399 + " x",
    "ok 👍👍 done",
]


def numbers_of(texts: list[str]) -> Tensor:
    return torch.from_numpy(FOLD[codes_of(texts)].astype(np.int64))


def real(numbers: Tensor) -> list[list[int]]:
    return [row[row > 0].tolist() for row in numbers]


def test_equal_n_grams_have_one_key_and_different_ones_do_not() -> None:
    numbers = numbers_of(TEXTS)
    keys = Grams([1, 3], unit="token")(numbers)
    seen: defaultdict[int, set[tuple[int, ...]]] = defaultdict(set)

    for row, of_text in zip(numbers, keys.reshape(*numbers.shape, 2), strict=True):
        text = [number for number in row.tolist() if number]
        for place in range(len(row)):
            for column, length in enumerate((1, 3)):
                gram = tuple(text[place : place + length])
                assert bool(of_text[place, column] < PRIME) == (len(gram) == length)
                if len(gram) == length:
                    seen[int(of_text[place, column])].add(gram)
    assert all(len(grams) == 1 for grams in seen.values())


def test_words_are_those_of_the_segmenter_in_their_order() -> None:
    segment, names = unicode_words(), {}
    texts = ["good room", "the good room", "room", "the the", "房间 good", "éa ée"]

    found = real(Words()(numbers_of(texts)))

    for text, numbers in zip(texts, found, strict=True):
        words = segment(text)
        assert len(words) == len(numbers)
        for word, number in zip(words, numbers, strict=True):
            assert names.setdefault(word, number) == number
    assert len(set(names.values())) == len(names)


def test_a_word_has_its_number_wherever_it_stands_and_however_long_it_is() -> None:
    alone, later = real(Words()(numbers_of(["x" * 400]))), real(Words()(numbers_of(["good " * 50 + "x" * 400])))

    assert later[0][-1] == alone[0][0]
    assert len(later[0]) == 51


def test_spaces_and_punctuation_are_no_words() -> None:
    assert real(Words()(numbers_of([" . , 。！ "]))) == [[]]


def test_neighbours_do_not_change_the_words_of_a_text() -> None:
    words = Words()
    together = real(words(numbers_of(TEXTS)))

    assert [real(words(numbers_of([text])))[0] for text in TEXTS] == together


@pytest.mark.parametrize("count", [0, 1, 2, 1000])
def test_a_dictionary_finds_its_own_keys_and_no_others(count: int) -> None:
    rng = np.random.default_rng(0)
    both = rng.choice(2**31 - 2, size=2 * count + 10, replace=False)
    own, others = np.sort(both[:count]), both[count:]
    dictionary = Dictionary.of(own)

    assert dictionary.count == count
    assert dictionary.find(torch.from_numpy(own)).tolist() == list(range(1, count + 1))
    assert not dictionary.find(torch.from_numpy(others)).any()


@pytest.mark.parametrize("count", [0, 1, 2, 300, 20_000, 60_000])
def test_the_slots_of_a_file_find_the_same_keys_and_no_others(count: int) -> None:
    rng = np.random.default_rng(0)
    both = rng.choice(2**31 - 2, size=2 * count + 10, replace=False)
    own, others = np.sort(both[:count]), both[count:]
    arranged = Dictionary.of(own).arranged()

    slots = arranged.slots(torch.from_numpy(own)).numpy()

    assert arranged.places_S[slots].tolist() == list(range(1, count + 1))
    assert not arranged.slots(torch.from_numpy(np.append(others, PRIME))).any()
    assert arranged.places_S[0] == 0
    assert len(arranged.places_S) <= 2 + 1.1 * count


def test_keys_that_differ_little_have_slots_too() -> None:
    own = np.concatenate([np.arange(100), 2**31 - 2 - np.arange(100)[::-1]])
    arranged = Dictionary.of(own).arranged()

    assert arranged.places_S[arranged.slots(torch.from_numpy(own)).numpy()].tolist() == list(range(1, 201))


def test_a_dictionary_comes_back_from_its_state() -> None:
    own = np.array([5, 77, 2**31 - 3])
    state = {f"x.{name}": tensor for name, tensor in Dictionary.of(own).state_dict().items()}

    assert Dictionary.of_state(state, "x.").find(torch.tensor([77, 6, 2**31 - 3])).tolist() == [2, 0, 3]
