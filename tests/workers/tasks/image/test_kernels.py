"""Narrow convolutions with a stride: their gradients are right on every CPU."""

import pytest
import torch
from torch import nn

from workers.tasks.image.kernels import BLOCK, StridedPointwise, avoid_wrong_ones


@pytest.mark.parametrize("channels", [1, 3, 4, 7, 8, 12])
def test_gradients_of_a_narrow_strided_convolution_are_those_of_the_plain_sum(channels: int) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(channels, 8, 1, stride=2)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    avoid_wrong_ones(net)
    images_BCHW = torch.randn(4, channels, 32, 32).to(memory_format=torch.channels_last).requires_grad_()
    ahead_BCHW = torch.randn(4, 8, 16, 16)
    weight, bias = net[0].weight, net[0].bias

    answer_BCHW = net(images_BCHW)
    answer_BCHW.backward(ahead_BCHW)

    sums_BCHW = torch.einsum("bchw,kc->bkhw", images_BCHW[..., ::2, ::2], weight[..., 0, 0]) + bias[:, None, None]
    wanted = torch.autograd.grad(sums_BCHW, [images_BCHW, weight, bias], ahead_BCHW)
    torch.testing.assert_close(answer_BCHW, sums_BCHW, atol=1e-5, rtol=1e-4)
    for found, right in zip((images_BCHW.grad, weight.grad, bias.grad), wanted, strict=True):
        torch.testing.assert_close(found, right, atol=1e-4, rtol=1e-4)


def test_only_pointwise_convolutions_with_a_stride_are_computed_differently() -> None:
    layers = [
        nn.Conv2d(4, 8, 1, stride=2),
        nn.Conv2d(4, 8, 1),
        nn.Conv2d(4, 8, 3, stride=2, padding=1),
        nn.Conv2d(BLOCK, BLOCK, 1, stride=2, groups=BLOCK),
    ]

    avoid_wrong_ones(nn.Sequential(*layers))

    assert [type(layer) is StridedPointwise for layer in layers] == [True, False, False, False]
