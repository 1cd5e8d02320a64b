"""Lengths and sizes of batches: examples of about the same length run together, in shapes that were warmed."""

import asyncio
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from models_store.tasks.codec import Codec, Inputs, Tensor
from service.inference.batches import Batches
from service.inference.decode import Ready
from service.inference.engine import Answer, Outputs, Work
from service.inference.warm_up import run_s
from tests.service.inference.batchers import PlainNet, a_batcher, answers_of, close

# B batch, L length
Word = npt.NDArray[np.float32]


class Words(Codec[Word]):
    """Words of letters, padded to 4 or 16."""

    lengths = (4, 16)

    def describe(self) -> tuple[Tensor, ...]:
        return (Tensor("letters", "float32", (None,)),)

    def decode(self, given: str, *, budget: None = None) -> Word:  # noqa: ARG002  there is none
        return np.array([ord(letter) for letter in given], np.float32)

    def length(self, example: Word) -> int:
        return len(example)

    def collate(self, examples: Sequence[Word]) -> Inputs:
        letters_BL = np.zeros((len(examples), max(map(len, examples))), np.float32)
        for place, word_L in enumerate(examples):
            letters_BL[place, : len(word_L)] = word_L
        return {"letters": letters_BL}


class Sums(PlainNet):
    """A net that answers the sum of the letters, and notes the shapes that it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []

    def run(self, inputs: Inputs, options: object = None) -> Outputs:  # noqa: ARG002  it can't be stopped
        self.shapes.append(inputs["letters"].shape)
        sums_BK: Outputs = inputs["letters"].sum(axis=1, keepdims=True)
        return sums_BK


def asked(net: Sums, *words: str, sizes: tuple[int, ...] = ()) -> Answer:
    batcher = a_batcher(net, codec=Words(), lanes=1, batches=Batches(Words(), sizes=sizes))
    answer = asyncio.run(batcher.infer(Work(words, [""] * len(words))))
    close(batcher)
    return answer


def test_examples_run_with_those_of_their_length_and_answers_keep_their_order() -> None:
    net = Sums()
    words = ["ab", "a" * 15, "abcd", "b" * 16, "z"]

    answer = asked(net, *words)

    assert sorted(net.shapes) == [(2, 16), (3, 4)]
    assert answers_of(answer) == [[sum(map(ord, word))] for word in words]


def test_an_example_longer_than_all_lengths_keeps_its_own() -> None:
    net = Sums()

    answer = asked(net, "c" * 20)

    assert net.shapes == [(1, 20)]
    assert answers_of(answer) == [[20 * ord("c")]]


def test_batches_are_padded_to_the_sizes_that_were_warmed() -> None:
    net = Sums()

    answer = asked(net, "a", "b", "c", sizes=(1, 4, 8))

    assert net.shapes == [(4, 4)]
    assert answers_of(answer) == [[97], [98], [99]]


def test_every_shape_runs_once_before_the_first_request() -> None:
    net = Sums()
    batches = Batches(Words(), sizes=(1, 4))

    seconds = run_s(net, batches.shapes())

    assert net.shapes[:4] == [(1, 4), (4, 4), (1, 16), (4, 16)]
    assert seconds > 0
    before = set(net.shapes)
    ticketless = [Ready(np.ones(3, np.float32)), Ready(np.ones(9, np.float32))]
    batcher = a_batcher(net, codec=Words(), lanes=1, batches=batches)
    asyncio.run(batcher.infer(Work(ticketless, ["", ""])))
    assert set(net.shapes) == before
    close(batcher)


def test_a_net_that_answers_too_few_rows_fails_its_batch() -> None:
    class Half(Sums):
        def run(self, inputs: Inputs, options: object = None) -> Outputs:
            return super().run(inputs, options)[:1]

    with pytest.raises(Exception, match="the model failed"):
        asked(Half(), "ab", "ac")
