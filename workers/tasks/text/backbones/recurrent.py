"""Recurrent backbones: an embedding, recurrent layers above it, and the pooling of what they know of each token."""

# B batch, L token, E embedding, H feature

from torch import Tensor, nn

from models_store.tasks.text.backbones.recurrent import Gru, Lstm, RecurrentNetwork, Rnn
from workers.tasks.text.backbones.backbone import Backbone, build
from workers.tasks.text.backbones.pooling import Pooling
from workers.tasks.text.backbones.sequence import Embedded
from workers.tasks.text.front_end import FrontEnd
from workers.training.recurrence import Recurrence


class RecurrentNet(nn.Module):
    """Takes a batch as the front end takes it, and gives features (B, H); zeros for an empty text."""

    def __init__(self, part: RecurrentNetwork, embedded: Embedded) -> None:
        super().__init__()
        self.embedded = embedded
        directions = 2 if part.bidirectional else 1
        widths = [part.embedding, *(directions * part.width for _ in range(part.layers))]
        self.feature_count = widths[-1]
        self.layers = nn.ModuleList(
            Recurrence(part.kind, inputs, part.width, bidirectional=part.bidirectional) for inputs in widths[:-1]
        )
        for layer in self.layers:
            for name, weight in layer.named_parameters():
                if "weight_hh" in name:
                    nn.init.orthogonal_(weight)  # so that neither gradients nor rounding errors grow with the length
        self.dropout = nn.Dropout(part.dropout)
        self.pooling = None if part.pooling == "last" else Pooling(part.pooling, self.feature_count)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the features of each text."""
        features_BLH, real_BL1 = self.embedded(inputs)
        tokens_B = real_BL1.sum(dim=(1, 2)).long()
        ends_BH = features_BLH.new_zeros(())
        for layer in self.layers:
            features_BLH, ends_BH = layer(self.dropout(features_BLH), tokens_B.clamp(min=1))
        if self.pooling is None:
            last_BH: Tensor = ends_BH * real_BL1.amax(dim=1)
            return last_BH
        pooled_BH: Tensor = self.pooling(features_BLH, real_BL1)
        return pooled_BH


@build.register
def _(part: Rnn | Lstm | Gru, *, front_end: FrontEnd, drop_path: float = 0.0) -> Backbone:  # noqa: ARG001  no branches
    net = RecurrentNet(part, Embedded(part, front_end))
    layers = [(f"layer{number + 1}", (f"layers.{number}",)) for number in range(part.layers - 1)]
    last = (f"layer{part.layers}", (f"layers.{part.layers - 1}", "pooling"))
    return Backbone(net, feature_count=net.feature_count, stages=(("embedding", ("embedded",)), *layers, last))
