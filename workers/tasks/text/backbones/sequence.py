"""Backbones that look at the tokens of a text in their order.

What is behind the end of a text never changes its features: embeddings of padding are zeros, and no pooling sees it.
"""

# B batch, L token, E embedding, C filter

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from models_store.tasks.text.backbones.sequence import SequenceNetwork, TextCnn
from workers.tasks.text.backbones.backbone import Backbone, build
from workers.tasks.text.front_end import FrontEnd


class Embedded(nn.Module):
    """Texts as embeddings of their tokens, zeros behind their ends."""

    def __init__(self, part: SequenceNetwork, front_end: FrontEnd) -> None:
        super().__init__()
        self.front_end = front_end
        self.embedding = nn.Embedding(front_end.size, part.embedding, padding_idx=0)
        self.dropout = nn.Dropout(part.embedding_dropout)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return embeddings float (B, L, E), and float (B, L, 1): 1 for a token, 0 behind the end."""
        ids_BL, real_BL = self.front_end(inputs)
        real_BL1 = real_BL.unsqueeze(2).to(self.embedding.weight.dtype)
        return self.dropout(self.embedding(ids_BL) * real_BL1), real_BL1


class TextCnnNet(nn.Module):
    """Convolutions over embeddings; of each filter the largest answer to any part of the text, 0 for an empty one."""

    def __init__(self, embedded: Embedded, *, width: int, kernels: Sequence[int], filters: int) -> None:
        super().__init__()
        self.embedded = embedded
        self.kernels = tuple(kernels)
        self.convolutions = nn.ModuleList(nn.Conv1d(width, filters, kernel) for kernel in kernels)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return features (B, kernels x C)."""
        embedded_BLE, real_BL1 = self.embedded(inputs)
        embedded_BEL, real_B1L = embedded_BLE.transpose(1, 2), real_BL1.transpose(1, 2)
        pooled = []
        for kernel, convolution in zip(self.kernels, self.convolutions, strict=True):
            around = (kernel - 1, kernel - 1)  # so that every token meets every weight, and none is too short
            answers_BCW = convolution(functional.pad(embedded_BEL, around)).relu()
            touching_B1W = torch.cat([*[real_B1L[:, :, :1]] * (kernel - 1), real_B1L], dim=2)
            pooled.append((answers_BCW * touching_B1W).amax(dim=2))
        return torch.cat(pooled, dim=1)


@build.register
def _(part: TextCnn, *, front_end: FrontEnd, drop_path: float = 0.0) -> Backbone:  # noqa: ARG001  no branches
    embedded = Embedded(part, front_end)
    net = TextCnnNet(embedded, width=part.embedding, kernels=part.kernels, filters=part.filters)
    stages = (("embedding", ("embedded",)), ("convolutions", ("convolutions",)))
    return Backbone(net, feature_count=part.filters * len(part.kernels), stages=stages)
