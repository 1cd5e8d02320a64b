import numpy as np

from workers.training.examples import Examples, lengths, take

PADDED_NL = np.array([[5, 0, 7, 0, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0]], np.int32)
OTHER_NL = np.zeros((3, 4), np.int32)


def test_padded_inputs_end_where_the_longest_row_does() -> None:
    inputs = {"padded": PADDED_NL, "other": OTHER_NL}

    taken = take(inputs, np.array([0, 1]), padded=["padded"])

    assert taken["padded"].tolist() == [[5, 0, 7], [1, 0, 0]]
    assert taken["other"].shape == (2, 4)
    assert take(inputs, np.array([2]), padded=["padded"])["padded"].tolist() == [[0]]


def test_a_row_is_as_long_as_its_longest_padded_input() -> None:
    inputs = {"padded": PADDED_NL, "other": np.array([[0, 0, 0, 1], [0, 0, 0, 0], [2, 0, 0, 0]], np.int32)}

    assert lengths(inputs, np.array([2, 0]), padded=["padded"]).tolist() == [0, 3]
    assert lengths(inputs, np.arange(3), padded=["padded", "other"]).tolist() == [4, 1, 1]


def test_examples_know_their_lengths_and_batches_end_with_them() -> None:
    examples = Examples({"padded": PADDED_NL}, np.zeros(3, np.int64), np.full(3, "train"), ["a"], padded=["padded"])

    assert examples.lengths.tolist() == [3, 1, 0]
    assert examples.batch(np.array([1, 2]))["padded"].shape == (2, 1)
