import pytest
import torch
from torch import Tensor, nn

from tests.workers.training_runs import CPU, same_weights
from workers.training.memory import affordable, free_bytes, largest_batch

MIB = 1 << 20


@pytest.mark.parametrize(
    ("peaks", "free", "most", "expected"),
    [
        ({8: 18 * MIB, 32: 42 * MIB}, 1000 * MIB, 10_000, 512),  # 10 MiB fixed, 1 MiB an image: 690 would fit
        ({8: 18 * MIB, 32: 42 * MIB}, 200 * MIB, 10_000, 128),
        ({8: 18 * MIB, 32: 42 * MIB}, 190 * MIB, 10_000, 64),  # 123 fit
        ({8: 18 * MIB, 32: 42 * MIB}, 1000 * MIB, 100, 64),
        ({8: 90 * MIB, 32: 330 * MIB}, 1 * MIB, 10_000, 1),
        ({8: 0, 32: 0}, 1000 * MIB, 10_000, 512),
        ({5: 50 * MIB}, 1000 * MIB, 5, 4),
    ],
)
def test_the_largest_power_of_two_that_fits_is_taken(
    peaks: dict[int, int], free: int, most: int, expected: int
) -> None:
    assert affordable(peaks, free=free, most=most) == expected


def test_a_probe_leaves_the_net_and_the_generators_as_they_were() -> None:
    net, twin = (nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)) for _ in range(2))
    twin.load_state_dict(net.state_dict())
    state = torch.get_rng_state()

    size = largest_batch(net, lambda count: torch.ones(count, 4), most=1000, free=1 << 40, device=CPU)

    assert size == 512
    assert same_weights(net, twin)
    assert all(weight.grad is None for weight in net.parameters())
    assert torch.equal(torch.get_rng_state(), state)


class Hungry(nn.Module):
    """Keeps many times its input for the way back."""

    def __init__(self, copies: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.copies = copies

    def forward(self, inputs_BF: Tensor) -> Tensor:
        for _ in range(self.copies):
            inputs_BF = torch.sin(inputs_BF * self.weight)
        return inputs_BF


def test_a_net_that_needs_much_memory_gets_smaller_batches() -> None:
    features = MIB // 16  # 256 KiB an image; two copies of it are kept at each of 16 times, 8 MiB in all

    size = largest_batch(
        Hungry(16), lambda count: torch.ones(count, features), most=10_000, free=1024 * MIB, device=CPU
    )

    assert size in {32, 64}  # 70 % of 1 GiB are 89 images; one more copy is seen for a moment


def test_what_is_free_is_some_of_the_machine_s_memory() -> None:
    assert 0 < free_bytes(CPU) < 1 << 50
