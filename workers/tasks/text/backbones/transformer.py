"""Transformer backbones: an embedding, layers of attention above it, and the pooling of the tokens' features."""

# B batch, L token, E embedding, H head, D feature of a head

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from models_store.tasks.text.backbones.transformer import Transformer
from workers.tasks.text.backbones.backbone import Backbone, build
from workers.tasks.text.backbones.pooling import BEHIND, Pooling
from workers.tasks.text.backbones.sequence import Embedded
from workers.tasks.text.front_end import FrontEnd

LONGEST_WAVE = 10_000.0


class DropPath(nn.Module):
    """Leaves a branch out at random, for each example by itself (Huang et al. 2016, arXiv:1603.09382)."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, branch_BLE: Tensor) -> Tensor:
        """Return the branch, larger by what is left out on average."""
        if not self.training or self.probability == 0:
            return branch_BLE
        kept_B11 = branch_BLE.new_empty(len(branch_BLE), 1, 1).bernoulli_(1 - self.probability)
        return branch_BLE * kept_B11 / (1 - self.probability)


class Attention(nn.Module):
    """Compares each token with every other, in several heads; nothing behind the end of a text is seen."""

    def __init__(self, width: int, *, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.into = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, features_BLE: Tensor, behind_B11L: Tensor) -> Tensor:
        """Return what each token has seen."""
        batch, length, width = features_BLE.shape
        parts = self.into(features_BLE).reshape(batch, length, 3, self.heads, width // self.heads)
        queries_BHLD, keys_BHLD, values_BHLD = parts.permute(2, 0, 3, 1, 4).unbind()
        seen_BHLD = functional.scaled_dot_product_attention(
            queries_BHLD,
            keys_BHLD,
            values_BHLD,
            attn_mask=behind_B11L.to(queries_BHLD.dtype),
            dropout_p=self.dropout if self.training else 0.0,
        )
        seen_BLE: Tensor = self.out(seen_BHLD.transpose(1, 2).reshape(batch, length, width))
        return seen_BLE


class Layer(nn.Module):
    """Attention and a hidden layer, each a residual branch behind its norm."""

    def __init__(self, part: Transformer, *, drop_path: float) -> None:
        super().__init__()
        width = part.embedding
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads=part.heads, dropout=part.dropout)
        self.hidden_norm = nn.LayerNorm(width)
        self.hidden = nn.Sequential(nn.Linear(width, part.ffn), nn.GELU(), nn.Linear(part.ffn, width))
        self.dropout = nn.Dropout(part.dropout)
        self.drop_path = DropPath(drop_path)

    def forward(self, features_BLE: Tensor, behind_B11L: Tensor) -> Tensor:
        """Return the features of each token."""
        seen_BLE = self.attention(self.attention_norm(features_BLE), behind_B11L)
        features_BLE = features_BLE + self.drop_path(self.dropout(seen_BLE))
        hidden_BLE: Tensor = self.drop_path(self.dropout(self.hidden(self.hidden_norm(features_BLE))))
        return features_BLE + hidden_BLE


class TransformerNet(nn.Module):
    """Takes a batch as the front end takes it, and gives features (B, E); zeros for an empty text."""

    def __init__(self, part: Transformer, embedded: Embedded, *, drop_path: float) -> None:
        super().__init__()
        self.embedded = embedded
        self.scale = math.sqrt(part.embedding)
        shares = torch.linspace(0, 1, part.layers) if part.layers > 1 else torch.ones(1)
        self.layers = nn.ModuleList(Layer(part, drop_path=drop_path * share) for share in shares.tolist())
        self.norm = nn.LayerNorm(part.embedding)
        self.pooling = Pooling(part.pooling, part.embedding)
        nn.init.normal_(embedded.embedding.weight[1:], std=1 / self.scale)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the features of each text."""
        features_BLE, real_BL1 = self.embedded(inputs)
        behind_B11L = ((1 - real_BL1) * BEHIND).transpose(1, 2)[:, None]
        features_BLE = self.scale * features_BLE + _positions(features_BLE)
        for layer in self.layers:
            features_BLE = layer(features_BLE, behind_B11L)
        features_BE: Tensor = self.pooling(self.norm(features_BLE), real_BL1)
        return features_BE


def _positions(features_BLE: Tensor) -> Tensor:
    """Return sines and cosines of each place (L, E), for texts of any length."""
    _, length, width = features_BLE.shape
    places_L1 = torch.arange(length, device=features_BLE.device, dtype=torch.float32)[:, None]
    halves = torch.arange(0, width, 2, device=features_BLE.device, dtype=torch.float32)
    angles_LE = places_L1 * torch.exp(halves * (-math.log(LONGEST_WAVE) / width))
    return torch.cat([angles_LE.sin(), angles_LE.cos()], dim=1)[:, :width]


@build.register
def _(part: Transformer, *, front_end: FrontEnd, drop_path: float = 0.0) -> Backbone:
    net = TransformerNet(part, Embedded(part, front_end), drop_path=drop_path)
    layers = [(f"layer{number + 1}", (f"layers.{number}",)) for number in range(part.layers - 1)]
    last = (f"layer{part.layers}", (f"layers.{part.layers - 1}", "norm", "pooling"))
    return Backbone(net, feature_count=part.embedding, stages=(("embedding", ("embedded",)), *layers, last))
