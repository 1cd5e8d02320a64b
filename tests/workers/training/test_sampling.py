import numpy as np
import pytest
import torch

from models_store.tasks.image.spec import Task
from workers.training import sampling, targets
from workers.training.examples import Examples, Rows
from workers.training.targets import Targets


def aim_of(task: Task, values: np.ndarray) -> Targets:
    count = len(values)
    return targets.build(
        task,
        Examples({"images": np.zeros((count, 1, 1, 3), np.uint8)}, values, np.array(["train"] * count), ["a", "b"]),
    )


def test_balanced_draws_show_all_classes_alike() -> None:
    labels_N = np.array([0] * 900 + [1] * 100)
    rows = np.arange(1000)
    shares_N = sampling.balancing_shares(aim_of("image_classification", labels_N), rows)

    drawn = sampling.drawn(rows, shares_N, seed=0, epoch=0)

    assert len(drawn) == 1000
    assert (labels_N[drawn] == 1).mean() == pytest.approx(0.5, abs=0.05)
    assert len(np.unique(drawn[labels_N[drawn] == 1])) == pytest.approx(100, abs=5)


def test_each_epoch_draws_anew_and_the_same_epoch_the_same() -> None:
    rows, shares_N = np.arange(50), torch.ones(50)

    first, again, other = (sampling.drawn(rows, shares_N, seed=3, epoch=epoch) for epoch in (1, 1, 2))

    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_an_image_with_several_labels_is_drawn_by_the_mean_of_theirs() -> None:
    labels_NK = np.array([[1, 0], [1, 0], [1, 1], [0, 0]], np.float32)

    shares_N = sampling.balancing_shares(aim_of("multilabel_classification", labels_NK), np.arange(4))

    assert shares_N.tolist() == pytest.approx([1 / 3, 1 / 3, (1 / 3 + 1) / 2, 1])


def test_shuffling_shows_each_row_once() -> None:
    shuffled = sampling.shuffled(np.arange(5, 55), seed=0, epoch=4)

    assert sorted(shuffled) == list(range(5, 55))
    assert list(shuffled) != sorted(shuffled)


@pytest.mark.parametrize(
    ("size", "count", "sizes"), [(8, 3, [3, 3, 2]), (5, 4, [3, 2]), (1, 4, [1]), (6, 1, [6])], ids=str
)
def test_parts_are_alike_in_size_and_never_of_one_row(size: int, count: int, sizes: list[int]) -> None:
    parts = sampling.parts(np.arange(size), count=count)

    assert [len(part) for part in parts] == sizes
    assert sorted(np.concatenate(parts)) == list(range(size))
    assert all((np.diff(part) > 0).all() for part in parts)


def test_parts_mix_what_lies_together() -> None:
    labels_N = np.array([0] * 8 + [1] * 8)

    parts = sampling.parts(np.arange(16), count=4)

    assert [labels_N[part].mean() for part in parts] == [0.5] * 4


def test_batches_hold_examples_of_like_lengths_and_every_example_once() -> None:
    order = sampling.shuffled(np.arange(1003), seed=1, epoch=0)
    lengths_N = np.random.default_rng(0).integers(1, 200, 1003)

    arranged = sampling.alike(order, lengths_N, size=10, seed=1, epoch=0)

    def padding(rows: Rows) -> int:
        return sum(int(np.ptp(lengths_N[rows[start : start + 10]])) for start in range(0, 1000, 10))

    assert sorted(arranged) == list(range(1003))
    assert arranged[1000:].tolist() == order[1000:].tolist()
    assert padding(arranged) < 0.2 * padding(order)
    assert not np.array_equal(arranged, sampling.alike(order, lengths_N, size=10, seed=1, epoch=1))


def test_fewer_examples_than_a_batch_stay_as_they_are() -> None:
    order = np.array([3, 1, 2])

    assert sampling.alike(order, np.arange(4), size=8, seed=0, epoch=0).tolist() == [3, 1, 2]
