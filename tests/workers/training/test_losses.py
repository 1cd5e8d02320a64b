from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from models_store.spec import loss as spec
from models_store.spec.part import Part
from workers.training import losses

# B batch, K class or label

B, K = 16, 4
CLASSES = ["ant", "bee", "fly", "wasp"]
COUNTS_K = torch.tensor([40, 30, 20, 10])
OF_CLASSES: list[Part] = [
    spec.CrossEntropy(),
    spec.CrossEntropy(label_smoothing=0.1, class_weights="balanced"),
    spec.CrossEntropy(label_smoothing=0.2, class_weights={"bee": 3.0, "wasp": 0.5}),
    spec.BinaryCrossEntropy(label_smoothing=0.1, class_weights={"bee": 3.0}),
    spec.Focal(label_smoothing=0.1, class_weights={"bee": 3.0}),
    spec.Poly1(label_smoothing=0.1, class_weights={"bee": 3.0}),
]


def built(part: Part, *, counts_K: Tensor = COUNTS_K, train_count: int = 100) -> nn.Module:
    return losses.build(part, counts_K=counts_K, classes=CLASSES, train_count=train_count)


def logits() -> Tensor:
    return torch.randn(B, K, generator=torch.Generator().manual_seed(0)) * 3


def labels() -> Tensor:
    return torch.randint(0, K, (B,), generator=torch.Generator().manual_seed(1))


def shares() -> Tensor:
    return torch.rand(B, K, generator=torch.Generator().manual_seed(2)).softmax(dim=1)


def borne() -> Tensor:
    return (torch.rand(B, K, generator=torch.Generator().manual_seed(3)) < 0.4).float()


def of(part: Part, targets: Tensor) -> Tensor:
    value: Tensor = built(part)(logits(), targets)
    return value


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(
    ("weights", "weights_K"),
    [(None, [1.0] * 4), ({"wasp": 5.0, "ant": 0.5}, [0.5, 1.0, 1.0, 5.0]), ("balanced", [0.625, 25 / 30, 1.25, 2.5])],
    ids=["alike", "given", "balanced"],
)
def test_cross_entropy_is_torch_s(weights: Any, weights_K: list[float], smoothing: float) -> None:
    part = spec.CrossEntropy(class_weights=weights, label_smoothing=smoothing)

    value = of(part, labels())

    torchs = functional.cross_entropy(logits(), labels(), weight=torch.tensor(weights_K), label_smoothing=smoothing)
    torch.testing.assert_close(value, torchs)


def test_cross_entropy_of_shares_is_torch_s() -> None:
    value = of(spec.CrossEntropy(label_smoothing=0.1), shares())

    torch.testing.assert_close(value, functional.cross_entropy(logits(), shares(), label_smoothing=0.1))


def test_the_weights_of_shares_are_a_weighed_mean() -> None:
    weights_K = torch.tensor([1.0, 3.0, 1.0, 1.0])

    value = of(spec.CrossEntropy(class_weights={"bee": 3.0}), shares())

    torchs = functional.cross_entropy(logits(), shares(), weight=weights_K, reduction="sum")
    torch.testing.assert_close(value, torchs / (shares() * weights_K).sum())


@pytest.mark.parametrize("part", OF_CLASSES, ids=lambda part: part.kind)
def test_a_class_and_its_one_hot_variant_cost_the_same(part: Part) -> None:
    torch.testing.assert_close(of(part, labels()), of(part, functional.one_hot(labels(), K).float()))


@pytest.mark.parametrize("part", [*OF_CLASSES, spec.CrossEntropy(class_weights="balanced")], ids=lambda part: part.kind)
@pytest.mark.parametrize("targets", [labels(), shares()], ids=["classes", "shares"])
def test_the_losses_of_a_batch_s_parts_make_up_the_whole_s_by_their_divisors(part: Part, targets: Tensor) -> None:
    loss = built(part)
    halves = [slice(0, 5), slice(5, B)]

    divisors = [losses.divisor(loss, targets[half]) for half in halves]
    values = [float(loss(logits()[half], targets[half])) for half in halves]

    together = sum(divisor * value for divisor, value in zip(divisors, values, strict=True)) / sum(divisors)
    assert together == pytest.approx(float(loss(logits(), targets)))


@pytest.mark.parametrize("part", [*OF_CLASSES, spec.Focal(gamma=0.5)], ids=lambda part: part.kind)
def test_every_loss_has_finite_gradients_at_certain_answers(part: Part) -> None:
    extreme_BK = (logits() * 100).requires_grad_()

    built(part)(extreme_BK, labels()).backward()

    assert extreme_BK.grad is not None
    assert extreme_BK.grad.isfinite().all()


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_binary_cross_entropy_is_torch_s(smoothing: float) -> None:
    part = spec.BinaryCrossEntropy(label_smoothing=smoothing, class_weights={"fly": 4.0})

    value = of(part, borne())

    torchs = functional.binary_cross_entropy_with_logits(
        logits(), borne() * (1 - smoothing) + smoothing / 2, pos_weight=torch.tensor([1.0, 1.0, 4.0, 1.0])
    )
    torch.testing.assert_close(value, torchs)


def test_balanced_labels_weigh_as_much_with_as_without() -> None:
    weights_K = losses.balanced_label_weights(torch.tensor([10, 50, 0, 100]), train_count=100)

    assert weights_K.tolist() == [9.0, 1.0, 1.0, 1.0]


def test_balanced_binary_cross_entropy_weighs_by_the_images_without_the_label() -> None:
    value = built(spec.BinaryCrossEntropy(class_weights="balanced"), train_count=50)(logits(), borne())

    torchs = functional.binary_cross_entropy_with_logits(
        logits(), borne(), pos_weight=torch.tensor([10 / 40, 20 / 30, 30 / 20, 40 / 10])
    )
    torch.testing.assert_close(value, torchs)


def test_balanced_classes_weigh_the_same_in_sum() -> None:
    weights_K = losses.balanced_weights(torch.tensor([30, 10, 0]))

    assert (weights_K * torch.tensor([30, 10, 0])).tolist() == pytest.approx([40 / 3, 40 / 3, 0])


def test_focal_is_its_formula() -> None:
    value = of(spec.Focal(gamma=1.5, class_weights={"bee": 3.0}), labels())

    true_B = logits().softmax(dim=1)[torch.arange(B), labels()]
    weights_B = torch.tensor([1.0, 3.0, 1.0, 1.0])[labels()]
    expected = -(weights_B * (1 - true_B) ** 1.5 * true_B.log()).sum() / weights_B.sum()
    torch.testing.assert_close(value, expected)


def test_focal_of_two_classes_is_torchvision_s_sigmoid_focal_loss() -> None:
    from torchvision.ops import sigmoid_focal_loss  # noqa: PLC0415  it takes seconds to import

    margins_B = logits()[:, 0]
    labels_B = labels() % 2
    two_BK = torch.stack([torch.zeros(B), margins_B], dim=1)
    focal = losses.build(spec.Focal(), counts_K=torch.tensor([8, 8]), classes=["no", "yes"], train_count=16)

    value = focal(two_BK, labels_B)

    torchvisions = sigmoid_focal_loss(margins_B, labels_B.float(), alpha=-1, gamma=2.0, reduction="mean")
    torch.testing.assert_close(value, torchvisions)


def test_poly1_is_its_formula() -> None:
    value = of(spec.Poly1(epsilon=1.5), labels())

    true_B = logits().softmax(dim=1)[torch.arange(B), labels()]
    torch.testing.assert_close(value, (-true_B.log() + 1.5 * (1 - true_B)).mean())


@pytest.mark.parametrize("part", [spec.Focal(gamma=0.0), spec.Poly1(epsilon=0.0)], ids=lambda part: part.kind)
def test_without_their_factor_focal_and_poly1_are_cross_entropy(part: Part) -> None:
    torch.testing.assert_close(of(part, shares()), of(spec.CrossEntropy(), shares()))


def test_mse_is_torch_s() -> None:
    numbers_B1 = torch.linspace(-1, 1, B)[:, None]
    mse = losses.build(spec.Mse(), counts_K=torch.tensor([B]), classes=[], train_count=B)

    value = mse(logits()[:, :1], numbers_B1)

    torch.testing.assert_close(value, (logits()[:, :1] - numbers_B1).square().mean())


def test_the_weights_go_where_the_loss_goes_and_are_not_trained() -> None:
    loss = built(spec.Focal(class_weights={"bee": 3.0}))

    loss.to(torch.float64)

    assert [buffer.dtype for buffer in loss.buffers()] == [torch.float64]
    assert list(loss.parameters()) == []


def test_every_loss_is_tried_here() -> None:
    union: tuple[type[Part], ...] = get_args(get_args(spec.Loss)[0])

    assert {type(part) for part in OF_CLASSES} | {spec.Mse} == set(union)
