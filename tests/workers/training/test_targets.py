import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from models_store.tasks.image.spec import Task
from models_store.tasks.rooms import target_of
from workers.training import targets
from workers.training.examples import Examples
from workers.training.targets import Affine, Targets

YEARS = [1990.0, 2000.0, 2010.0, 2400.0]
LABELS = [[1.0, 0.0], [0.0, 0.0], [1.0, 1.0], [0.0, 1.0]]
SPLITS = np.array(["train", "train", "train", "val"])


def some_targets(task: Task) -> Targets:
    values = {
        "image_classification": np.array([0, 2, 2, 1]),
        "multilabel_classification": np.array(LABELS, np.float32),
        "image_regression": np.array(YEARS, np.float32)[:, None],
    }[task]
    classes = {"image_classification": ["a", "b", "c"], "multilabel_classification": ["x", "y"]}.get(task, [])
    return targets.build(task, Examples({"images": np.zeros((4, 2, 2, 3), np.uint8)}, values, SPLITS, classes))


@pytest.mark.parametrize(
    ("task", "dtype", "shape", "outputs", "activation"),
    [
        ("image_classification", torch.int64, (4,), 3, "softmax"),
        ("multilabel_classification", torch.float32, (4, 2), 2, "sigmoid"),
        ("image_regression", torch.float32, (4, 1), 1, "identity"),
    ],
)
def test_each_task_has_its_targets_outputs_and_activation(
    task: Task, dtype: torch.dtype, shape: tuple[int, ...], outputs: int, activation: str
) -> None:
    aim = some_targets(task)

    assert (aim.all_rows.dtype, tuple(aim.all_rows.shape)) == (dtype, shape)
    assert (aim.output_count, aim.target.activation) == (outputs, activation)
    assert aim.as_soft(aim.all_rows).shape == (4, outputs)
    assert torch.equal(aim.of(np.array([1, 3])), aim.all_rows[[1, 3]])


def test_outputs_are_probabilities_of_classes_of_labels_each_by_itself_or_the_number() -> None:
    logits = torch.tensor([[0.0, math.log(3), 0.0]])

    assert some_targets("image_classification").outputs(logits)[0].tolist() == pytest.approx([0.2, 0.6, 0.2])
    assert some_targets("multilabel_classification").outputs(logits)[0].tolist() == pytest.approx([0.5, 0.75, 0.5])
    assert torch.equal(some_targets("image_regression").outputs(logits), logits)


def test_counts_are_of_classes_of_labels_or_of_images() -> None:
    rows = np.array([0, 1, 2])

    assert some_targets("image_classification").counts_K(rows).tolist() == [1, 0, 2]
    assert some_targets("multilabel_classification").counts_K(rows).tolist() == [2, 1]
    assert some_targets("image_regression").counts_K(rows).tolist() == [3]


def test_metrics_of_classes_weigh_images_alike_and_balanced_ones_classes() -> None:
    aim = some_targets("image_classification")
    logits = torch.tensor([[9.0, 0, 0], [0, 0, 9], [9, 0, 0], [9, 0, 0]])

    row = aim.epoch_metrics(logits, torch.tensor([0, 2, 2, 2]))

    assert row["val_accuracy"] == 0.5
    assert row["val_balanced_accuracy"] == pytest.approx((1 + 1 / 3) / 2)
    assert row["val_loss"] == pytest.approx(float(functional.cross_entropy(logits, torch.tensor([0, 2, 2, 2]))))
    losses = functional.cross_entropy(logits, torch.tensor([0, 2, 2, 2]), reduction="none").tolist()
    assert row["val_balanced_loss"] == pytest.approx((losses[0] + sum(losses[1:]) / 3) / 2)


def test_metrics_of_labels_count_each_label_of_each_image() -> None:
    aim = some_targets("multilabel_classification")
    logits = torch.tensor([[5.0, -5], [5, -5], [5, -5], [5, -5]])  # the first label always, the second never

    row = aim.epoch_metrics(logits, torch.tensor([[1.0, 0], [1, 0], [1, 1], [0, 0]]))

    assert row["val_accuracy"] == 6 / 8
    assert row["val_balanced_accuracy"] == 0.5  # each label: one of its two sides is always right, the other never
    assert row["val_balanced_loss"] == pytest.approx(math.log1p(math.exp(-5)) + 2.5)  # both ways, means of 0 and 5 more


def test_metrics_of_numbers_are_r2_and_the_error_in_units_of_the_train_variance() -> None:
    aim = some_targets("image_regression")
    true, answered = torch.tensor([[1990.0], [2010]]), torch.tensor([[1995.0], [2010]])

    row = aim.epoch_metrics(answered, true)

    assert row["val_accuracy"] == pytest.approx(1 - 25 / 200)
    assert row["val_loss"] == pytest.approx(12.5 / np.var(YEARS[:3]))
    assert "val_balanced_accuracy" not in row
    assert "val_balanced_loss" not in row


@pytest.mark.parametrize("task", ["image_classification", "multilabel_classification", "image_regression"])
def test_what_is_correct_over_the_train_split_is_its_accuracy(task: Task) -> None:
    aim, rows = some_targets(task), np.array([0, 1, 2])
    logits = torch.tensor([[1995.0], [2000], [2011]]) if task == "image_regression" else torch.eye(3) - 0.5
    logits = logits[:, : aim.output_count]

    correct = float(aim.correct(logits, aim.of(rows))) / 3

    answers = target_of(task).answers(aim.outputs(logits).numpy())
    assert correct == pytest.approx(target_of(task).score(answers, aim.of(rows).numpy()))


def test_soft_classes_count_by_their_likeliest() -> None:
    aim = some_targets("image_classification")

    assert int(aim.correct(torch.eye(3), torch.tensor([[0.6, 0.4, 0], [0.7, 0.3, 0], [0, 0.1, 0.9]]))) == 2


def test_a_number_is_learned_in_units_of_its_spread_and_answered_in_its_own() -> None:
    aim = some_targets("image_regression")
    last = aim.last_layer()
    assert last is not None
    mean, std = np.mean(YEARS[:3]), np.std(YEARS[:3])

    answered = last(torch.tensor([[0.0], [1.0]]))

    assert answered[:, 0].tolist() == pytest.approx([mean, mean + std])
    assert float(aim.loss_in_scale(nn.MSELoss())(answered, torch.full((2, 1), float(mean)))) == pytest.approx(
        0.5, rel=1e-4
    )


def test_a_number_keeps_its_digits_under_autocast() -> None:
    net = nn.Sequential(nn.Linear(4, 1), Affine(scale=8.0, shift=2000.0))

    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        answered = net(torch.randn(16, 4, generator=torch.Generator().manual_seed(0)))

    assert answered.dtype == torch.float32
    assert len(set(answered[:, 0].tolist())) > 4  # bfloat16 has steps of 8 or 16 at 2000


def test_the_unit_travels_in_the_state_of_the_net() -> None:
    net, other = Affine(scale=3.0, shift=7.0), Affine(scale=1.0, shift=0.0)

    other.load_state_dict(net.state_dict())

    assert float(other(torch.tensor(2.0))) == 13.0
