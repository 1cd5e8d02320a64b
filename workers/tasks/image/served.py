"""An image net as it is served: raw uint8 pixels in, probabilities or numbers out.

The graph is `uint8 (N, H, W, C) → float → normalise → (N, C, H, W) → net → ÷ temperature → activation`. Decoding and
resizing come before it (`models_store.tasks.image.codec`).
"""

# N images, H height, W width, C channel

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models_store.targets import Activation
from workers.export.served import Served, ServedNet
from workers.tasks.image.examples import INPUT

OUTPUT = "probabilities"


class ServedImageNet(ServedNet):
    """A net with its preprocessing and its activation: uint8 (N, H, W, C) in, probabilities or numbers (N, K) out."""

    scale: Tensor
    shift: Tensor

    def __init__(
        self,
        net: nn.Module,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        size: int,
        activation: Activation,
        temperature: float,
    ) -> None:
        super().__init__(net, activation=activation, temperature=temperature)
        self.size = size
        mean_C, std_C = torch.tensor(mean, dtype=torch.float64), torch.tensor(std, dtype=torch.float64)
        # Of shape (W * C), a value for each number of a row, not (C,): a broadcast over a last axis of 3 costs
        # onnxruntime as much as a quarter of an int8 mobilenet, one over a long row costs nothing.
        self.register_buffer("scale", (1 / (255 * std_C)).repeat(size).float())
        self.register_buffer("shift", (-mean_C / std_C).repeat(size).float())

    def forward(self, images_NHWC: Tensor) -> Tensor:
        """Return the probability of each class or label, or the number, for each image."""
        rows_NHX = images_NHWC.flatten(2).to(torch.float32) * self.scale + self.shift
        pixels_NCHW = rows_NHX.reshape(-1, self.size, self.size, self.scale.numel() // self.size).permute(0, 3, 1, 2)
        return self.answers(pixels_NCHW)


def served(
    net: nn.Module,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    size: int,
    activation: Activation = "softmax",
    temperature: float = 1.0,
) -> Served:
    """Return a net, normalised float (N, C, H, W) → logits (N, K), as it is served; it stays as it is.

    `mean` and `std` are per channel, of pixels in [0, 1]. The file's input `images` is uint8 (N, size, size, C), its
    output `probabilities` float32 (N, K).
    """
    assert len(mean) == len(std), "one mean and one deviation per channel"
    module = ServedImageNet(net, mean=mean, std=std, size=size, activation=activation, temperature=temperature)
    example_NHWC = torch.zeros(2, size, size, len(mean), dtype=torch.uint8)
    return Served(module.eval(), inputs={INPUT: example_NHWC}, output=OUTPUT, free={INPUT: {0: "N"}})
