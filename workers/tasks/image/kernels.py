"""Convolutions that oneDNN gets wrong, computed in another way while a net is trained.

For a 1x1 convolution with a stride and fewer than 8 input channels, its AVX2 kernel writes gradients beyond their end:
they are wrong, and the process may die (oneDNN of torch 2.14.1, `jit_1x1:avx2 backward_weights`). Nets pruned hard and
narrow residual nets have such convolutions. Every other pixel taken first, and no stride then, is the same sum.
"""

from torch import Tensor, nn
from torch.nn import functional

BLOCK = 8
"""channels that the kernel reads at once"""


class StridedPointwise(nn.Conv2d):
    """A 1x1 convolution with a stride."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  torch's own name
        """Return float (B, C, H / stride, W / stride)."""
        if not self.training or self.in_channels >= BLOCK:
            return super().forward(input)
        down, right = self.stride
        return functional.conv2d(input[..., ::down, ::right], self.weight, self.bias)


def avoid_wrong_ones(net: nn.Module) -> None:
    """Let the convolutions of a net that would meet the kernel, now or once they are pruned, avoid it."""
    for module in net.modules():
        is_pointwise = type(module) is nn.Conv2d and module.kernel_size == (1, 1) and module.groups == 1
        if is_pointwise and module.stride != (1, 1) and module.padding == (0, 0):
            module.__class__ = StridedPointwise
