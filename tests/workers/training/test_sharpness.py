import pytest
import torch
from torch import nn

from tests.samples import a_train_spec
from tests.workers.training_runs import a_small_classifier, run, same_weights, some_arrays
from workers.training.sharpness import Sharpness


def slope_of(weight: torch.Tensor) -> torch.Tensor:
    """Return the gradient of sum(w^3)."""
    return 3 * weight.detach() ** 2


@pytest.mark.parametrize("adaptive", [False, True], ids=["sam", "asam"])
def test_the_gradient_is_taken_where_the_loss_is_highest_nearby(*, adaptive: bool) -> None:
    weight = nn.Parameter(torch.tensor([1.0, -2.0]))
    start = weight.detach().clone()
    (weight**3).sum().backward()
    gradient = slope_of(start)
    scale = start.abs() if adaptive else torch.ones(2)
    expected = start + 0.5 * scale**2 * gradient / (scale * gradient).norm()

    with Sharpness(0.5, adaptive=adaptive).uphill([weight], nn.Identity()):
        assert weight.grad is None
        assert torch.allclose(weight.detach(), expected)
        (weight**3).sum().backward()

    assert torch.equal(weight.detach(), start)
    assert torch.allclose(weight.grad, slope_of(expected))


def test_batch_norm_counts_a_step_once() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    inputs = torch.randn(8, 2)
    net(inputs).square().sum().backward()
    before = {name: value.clone() for name, value in net.state_dict().items()}

    with Sharpness(0.1, adaptive=False).uphill(list(net.parameters()), net):
        net(inputs + 5).square().sum().backward()

    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    net(inputs)
    assert int(net[1].num_batches_tracked) == 2


def test_a_climb_that_overflows_leaves_the_weights_where_they_were() -> None:
    weight = nn.Parameter(torch.ones(2))
    weight.grad = torch.tensor([float("inf"), 1.0])

    with Sharpness(0.1, adaptive=False).uphill([weight], nn.Identity()):
        pass

    assert weight.tolist() == [1.0, 1.0]


def test_sam_trains_and_ends_elsewhere_than_without() -> None:
    training = {"epochs": 6, "batch_size": 8, "precision": "fp32"}
    optimizer = {"kind": "adamw", "lr": 0.02}
    plain = a_train_spec(training=training, optimizer=optimizer)
    sharp = a_train_spec(training=training, optimizer=optimizer, regularizers=[{"kind": "sam"}])

    without = run(plain, some_arrays(), classifier=a_small_classifier(plain))
    trained = run(sharp, some_arrays(), classifier=a_small_classifier(sharp))

    assert trained.history[-1]["train_loss"] < trained.history[0]["train_loss"]
    assert not same_weights(trained.learner, without.learner)


def test_both_passes_of_a_step_see_the_same_noise() -> None:
    training = {"epochs": 2, "batch_size": 8, "precision": "fp32"}
    parts = [{"kind": "dropout", "probability": 0.5}]
    barely = [*parts, {"kind": "sam", "rho": 1e-9}]  # so near that both gradients are the same, if the noise is
    plain, sharp = (a_train_spec(training=training, regularizers=each) for each in (parts, barely))

    without = run(plain, some_arrays(), classifier=a_small_classifier(plain))
    trained = run(sharp, some_arrays(), classifier=a_small_classifier(sharp))

    assert trained.history[-1]["train_loss"] == pytest.approx(without.history[-1]["train_loss"], rel=1e-5)
