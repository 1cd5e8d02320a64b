"""Pretrained encoders: the net of BERT, RoBERTa and DistilBERT (norms behind each branch), and their public weights.

Own modules, not those of the package transformers: the exported file has to leave padding out exactly, and a release of
that package pins its own torch, exporter and hub client. Hidden states are those of transformers within 1e-5.
"""

# B batch, L token, E feature of a token, P position, V token of the vocabulary

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from models_store.tasks.text import encoders
from models_store.tasks.text.backbones.encoder import Architecture, Encoder
from workers.tasks.text.backbones.backbone import Backbone, build
from workers.tasks.text.backbones.pooling import BEHIND, Pooling
from workers.tasks.text.backbones.transformer import Attention
from workers.tasks.text.front_end import FrontEnd
from workers.training import stored_weights
from workers.training.stored_weights import State, WeightsUnfit

ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "gelu": nn.GELU,
    "gelu_tanh": lambda: nn.GELU(approximate="tanh"),
    "relu": nn.ReLU,
}


class Embedded(nn.Module):
    """Tokens as the sums of their embeddings and their positions', normalised; row 0 of the embedding is padding."""

    def __init__(self, net: Architecture, front_end: FrontEnd, *, dropout: float) -> None:
        super().__init__()
        self.front_end = front_end
        self.embedding = nn.Embedding(1 + net.vocabulary, net.width, padding_idx=0)
        self.positions = nn.Parameter(torch.zeros(net.positions, net.width))
        self.norm = nn.LayerNorm(net.width, eps=net.norm_epsilon)
        self.dropout = nn.Dropout(dropout)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return embeddings float (B, L, E), and float (B, L, 1): 1 for a token, 0 behind the end."""
        ids_BL, real_BL = self.front_end(inputs)
        real_BL1 = real_BL.unsqueeze(2).to(self.embedding.weight.dtype)
        most, length = len(self.positions), ids_BL.shape[1]
        places_L = torch.arange(length, device=ids_BL.device).clamp(max=most - 1)  # behind the last are no tokens
        positions_LE = functional.embedding(places_L, self.positions)
        return self.dropout(self.norm(self.embedding(ids_BL) + positions_LE)), real_BL1


class Layer(nn.Module):
    """Attention and a hidden layer, each a residual branch before its norm."""

    def __init__(self, net: Architecture, *, dropout: float) -> None:
        super().__init__()
        self.attention = Attention(net.width, heads=net.heads, dropout=dropout)
        self.attention_norm = nn.LayerNorm(net.width, eps=net.norm_epsilon)
        activation = ACTIVATIONS[net.activation]()
        self.hidden = nn.Sequential(nn.Linear(net.width, net.ffn), activation, nn.Linear(net.ffn, net.width))
        self.hidden_norm = nn.LayerNorm(net.width, eps=net.norm_epsilon)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features_BLE: Tensor, behind_B11L: Tensor) -> Tensor:
        """Return the features of each token."""
        seen_BLE = self.dropout(self.attention(features_BLE, behind_B11L))
        features_BLE = self.attention_norm(features_BLE + seen_BLE)
        hidden_BLE: Tensor = self.hidden_norm(features_BLE + self.dropout(self.hidden(features_BLE)))
        return hidden_BLE


class First(nn.Module):
    """The features of a text's first token (B, E); zeros for an empty text."""

    def forward(self, features_BLE: Tensor, real_BL1: Tensor) -> Tensor:
        """Return the features of each text."""
        return features_BLE[:, 0] * real_BL1[:, 0]


class EncoderNet(nn.Module):
    """Takes a batch as the front end takes it, and gives features (B, E); zeros for an empty text."""

    def __init__(self, part: Encoder, front_end: FrontEnd) -> None:
        super().__init__()
        assert part.architecture is not None, "the spec is resolved"
        net = part.architecture
        self.embedded = Embedded(net, front_end, dropout=part.dropout)
        self.layers = nn.ModuleList(Layer(net, dropout=part.dropout) for _ in range(net.layers))
        way: Literal["mean", "max"] | None = None if part.pooling == "first" else part.pooling or "mean"
        self.pooling = First() if way is None else Pooling(way, net.width)

    def tokens(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features of each token float (B, L, E), and float (B, L, 1): 1 for a token, 0 behind the end."""
        features_BLE, real_BL1 = self.embedded(inputs)
        behind_B11L = ((1 - real_BL1) * BEHIND).transpose(1, 2)[:, None]
        for layer in self.layers:
            features_BLE = layer(features_BLE, behind_B11L)
        return features_BLE, real_BL1

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the features of each text."""
        features_BE: Tensor = self.pooling(*self.tokens(inputs))
        return features_BE


@build.register
def _(part: Encoder, *, front_end: FrontEnd, drop_path: float = 0.0) -> Backbone:  # noqa: ARG001  it is refused
    assert part.architecture is not None, "the spec is resolved"
    layers = [(f"layer{number + 1}", (f"layers.{number}",)) for number in range(part.architecture.layers)]
    net = EncoderNet(part, front_end)
    return Backbone(net, feature_count=part.architecture.width, stages=(("embedding", ("embedded",)), *layers))


def start(net: EncoderNet, part: Encoder, state: State, *, shown_name: str) -> str:
    """Fill the net with an archive's weights; return in a sentence what of the file it has no use for.

    Raises:
        WeightsUnfit: if a tensor is missing, or of another shape, or holds a value that is no number.
    """
    assert part.architecture is not None, "the spec is resolved"
    config = json.loads(state[encoders.CONFIG].numpy().tobytes())
    prefix = encoders.prefix_of(state)
    given = {name.removeprefix(prefix): value.float() for name, value in state.items() if value.is_floating_point()}
    own = {name: value for name, value in net.state_dict().items() if name.startswith("embedded.front_end.")}
    try:
        made = dict(_adapted(given, part.architecture, first=encoders.first_position(config)))
    except KeyError as error:
        raise WeightsUnfit(f"{shown_name} lacks {prefix + error.args[0]!r}") from error
    stored_weights.fit(net, own | made, shown_name)
    used = {name for name, _ in encoders.shapes(part.architecture, first=0)} | {encoders.TYPES}
    others = sorted(name for name in state if state[name].is_floating_point() and name.removeprefix(prefix) not in used)
    left = f"; of no use here: {', '.join(others[:5])}{', …' if len(others) > 5 else ''}" if others else ""  # noqa: PLR2004  enough to see which
    return f"the encoder starts from {shown_name} ({part.architecture.model_type}){left}"


def _adapted(given: Mapping[str, Tensor], net: Architecture, *, first: int) -> Iterator[tuple[str, Tensor]]:
    """Yield the net's own tensors: a text is of one segment, so that its type is added to each position."""
    words_VE = given[encoders.WORDS]
    yield "embedded.embedding.weight", torch.cat([torch.zeros_like(words_VE[:1]), words_VE])
    positions_PE = given[encoders.POSITIONS][first:]
    yield "embedded.positions", positions_PE + given[encoders.TYPES][0] if encoders.TYPES in given else positions_PE
    for kind in ("weight", "bias"):
        yield f"embedded.norm.{kind}", given[f"{encoders.EMBEDDING_NORM}.{kind}"]
        names = encoders.layer_names(net.model_type)
        for number in range(net.layers):
            parts = {part: given[f"{name.format(number)}.{kind}"] for part, name in names.items()}
            under = f"layers.{number}"
            yield f"{under}.attention.into.{kind}", torch.cat([parts[each] for each in ("query", "key", "value")])
            yield f"{under}.attention.out.{kind}", parts["out"]
            yield f"{under}.attention_norm.{kind}", parts["attention_norm"]
            yield f"{under}.hidden.0.{kind}", parts["hidden"]
            yield f"{under}.hidden.2.{kind}", parts["hidden_out"]
            yield f"{under}.hidden_norm.{kind}", parts["hidden_norm"]
