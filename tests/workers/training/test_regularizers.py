import math

import pytest
import torch
from torch import nn

from models_store.spec.part import Part
from models_store.spec.regularizer import L1, L2, ConfidencePenalty, Dropout, DropPath, Elastic, L2Sp
from workers.training import regularizers
from workers.training.regularizers import AnswerPenalty, Penalty


class Halves(nn.Module):
    """A backbone and a head of one matrix each, and a bias that no penalty sees."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Linear(2, 1)
        self.head = nn.Linear(1, 2, bias=False)
        with torch.no_grad():
            self.backbone.weight.copy_(torch.tensor([[3.0, -1.0]]))
            self.backbone.bias.fill_(100.0)
            self.head.weight.copy_(torch.tensor([[2.0], [0.0]]))


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (L1(strength=0.1), 0.1 * (3 + 1 + 2)),
        (L2(strength=0.1), 0.05 * (9 + 1 + 4)),
        (Elastic(strength=0.1, l1_ratio=0.25), 0.1 * (0.25 * 6 + 0.75 / 2 * 14)),
        (L2Sp(strength=0.1, head_strength=0.5), 0.25 * 4),
    ],
    ids=lambda value: value.kind if isinstance(value, Part) else "",
)
def test_a_penalty_is_of_matrices_alone(part: Part, expected: float) -> None:
    (penalty,) = regularizers.effects([part], Penalty)

    assert penalty.of(Halves())().item() == pytest.approx(expected)


def test_l2_sp_pulls_to_where_the_backbone_started() -> None:
    net = Halves()
    (penalty,) = regularizers.effects([L2Sp(strength=0.1, head_strength=0.0)], Penalty)
    value = penalty.of(net)

    with torch.no_grad():
        net.backbone.weight.add_(torch.tensor([[2.0, 0.0]]))
    value().backward()

    assert value().item() == pytest.approx(0.05 * 4)
    assert net.backbone.weight.grad.tolist() == [[pytest.approx(0.2), 0.0]]


def test_a_penalty_of_a_head_alone_has_no_backbone_to_pull() -> None:
    (penalty,) = regularizers.effects([L2Sp(strength=9.0, head_strength=0.5)], Penalty)

    assert float(penalty.of(Halves().head)()) == pytest.approx(0.25 * 4)


@pytest.mark.parametrize(
    ("activation", "logits", "entropy"),
    [
        ("softmax", [[0.0, 0.0], [50.0, -50.0]], math.log(2) / 2),
        ("sigmoid", [[0.0, 0.0], [50.0, -50.0]], math.log(2)),
    ],
)
def test_the_confidence_penalty_is_the_entropy_of_the_answers(
    activation: regularizers.Activation, logits: list[list[float]], entropy: float
) -> None:
    (penalty,) = regularizers.effects([ConfidencePenalty(strength=0.5)], AnswerPenalty)

    assert float(penalty.of(torch.tensor(logits), activation)) == pytest.approx(-0.5 * entropy, abs=1e-6)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_a_step_down_the_confidence_penalty_makes_answers_less_sure(activation: regularizers.Activation) -> None:
    logits_BK = torch.tensor([[2.0, -1.0]], requires_grad=True)
    (penalty,) = regularizers.effects([ConfidencePenalty()], AnswerPenalty)

    penalty.of(logits_BK, activation).backward()
    after_BK = logits_BK.detach() - 0.5 * logits_BK.grad

    assert regularizers.entropy(after_BK, activation) > regularizers.entropy(logits_BK.detach(), activation)


def test_noise_goes_to_the_head_and_dropped_paths_to_the_backbone() -> None:
    parts = [Dropout(probability=0.3), DropPath(probability=0.2), L1()]

    assert [layer.p for layer in regularizers.noise(parts)] == [0.3]
    assert regularizers.drop_path(parts) == 0.2
    assert regularizers.drop_path([L1()]) == 0.0
