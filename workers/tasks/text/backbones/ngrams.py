"""Backbones on n-grams: linear models with weights of each n-gram, and a bag of embeddings.

How much an n-gram counts is taken from the training texts when a net is built, and is in its state from then on.
"""

# B batch, G n-gram, V row of the table (0: unknown), K class, E embedding

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from models_store.tasks.text.backbones.ngrams import NbLinear, NgramBag, TfidfLinear
from workers.tasks.text.backbones.backbone import Backbone, build
from workers.tasks.text.known_ngrams import KnownNgrams
from workers.training import heads


def sums(table_VE: Tensor, rows_BG: Tensor) -> Tensor:
    """Return the sums (B, E) of a table's rows over the n-grams of each text; row 0 of the table is zeros."""
    if torch.compiler.is_exporting():
        return functional.embedding(rows_BG, table_VE).sum(dim=1)
    known_BG = rows_BG > 0  # the gradient of those alone takes a tenth of the time
    counts_B = known_BG.sum(dim=1)
    return functional.embedding_bag(rows_BG[known_BG], table_VE, counts_B.cumsum(0) - counts_B, mode="sum")


class LinearNet(nn.Module):
    """Scores of the classes: the sum of the n-grams' weights times how much each counts, over the text's norm.

    `factor` is how much an n-gram counts, for all classes (V, 1) or for each (V, K); `square` is what it adds to the
    squared norm (V, 1), 1 where there is none.
    """

    factor: Tensor | None
    square: Tensor | None

    def __init__(self, known: KnownNgrams, factor: Tensor, square_V1: Tensor | None, *, class_count: int) -> None:
        super().__init__()
        self.known = known
        self.table = nn.Parameter(torch.zeros(len(factor), class_count))
        self.register_buffer("factor", factor)
        self.register_buffer("square", square_V1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return scores (B, K), zeros for a text without a known n-gram."""
        rows_BG = self.known(inputs)
        with torch.no_grad():
            counted = (rows_BG > 0).float().sum(dim=1, keepdim=True)
            squared_B1 = counted if self.square is None else sums(self.square, rows_BG)
        scores_BK: Tensor = sums(self.weights(), rows_BG) / squared_B1.clamp(min=1).sqrt()
        return scores_BK

    def weights(self) -> Tensor:
        """Return how much each n-gram speaks for each class (V, K), before the norm of the text."""
        return self.table if self.factor is None else self.table * self.factor

    def fold(self) -> None:
        """Multiply the weights by the factors, and arrange the n-grams, once for all."""
        weights_VK, former_V = self.weights().detach(), self.known.arrange()
        self.factor = None
        self.table = nn.Parameter(weights_VK[former_V])
        if self.square is not None:
            self.square = self.square[former_V]


class BagNet(nn.Module):
    """The mean embedding of a text's known n-grams; zeros where there is none."""

    def __init__(self, known: KnownNgrams, *, width: int) -> None:
        super().__init__()
        self.known = known
        table_VE = torch.randn(known.size, width) / math.sqrt(width)
        table_VE[0] = 0
        self.table = nn.Parameter(table_VE)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return features (B, E)."""
        rows_BG = self.known(inputs)
        count_B1 = (rows_BG > 0).float().sum(dim=1, keepdim=True).clamp(min=1)
        features_BE: Tensor = sums(self.table, rows_BG) / count_B1
        return features_BE

    def fold(self) -> None:
        """Arrange the n-grams, once for all."""
        former_V = self.known.arrange()
        self.table = nn.Parameter(self.table.detach()[former_V])

    def take(self, layer: nn.Linear) -> heads.Bias:
        """Give each n-gram the scores that a layer makes of its embedding; return what is left of the layer.

        The mean of the scores is the scores of the mean.
        """
        self.table = nn.Parameter(functional.linear(self.table.detach(), layer.weight.detach()))
        left = heads.Bias(layer.out_features)
        left.bias = layer.bias
        return left


@build.register
def _(part: TfidfLinear, *, front_end: KnownNgrams, drop_path: float = 0.0) -> Backbone:  # noqa: ARG001  no branches
    texts_V1 = front_end.counts.texts_V1
    factor_V1 = ((1 + front_end.counts.all_texts) / (1 + texts_V1)).log() + 1
    factor_V1[0] = 0
    return _linear(front_end, factor_V1, factor_V1.square())


@build.register
def _(part: NbLinear, *, front_end: KnownNgrams, drop_path: float = 0.0) -> Backbone:  # noqa: ARG001  as above
    texts_V1, bearing_VK = front_end.counts.texts_V1, front_end.counts.bearing_VK
    with_VK, without_VK = bearing_VK + part.smoothing, texts_V1 - bearing_VK + part.smoothing
    ratio_VK = (with_VK / with_VK.sum(0)).log() - (without_VK / without_VK.sum(0)).log()
    ratio_VK[0] = 0
    return _linear(front_end, ratio_VK, None)


@build.register
def _(part: NgramBag, *, front_end: KnownNgrams, drop_path: float = 0.0) -> Backbone:  # noqa: ARG001  as above
    net = BagNet(front_end, width=part.embedding)
    return Backbone(net, feature_count=part.embedding, stages=(("embedding", ("table",)),))


def _linear(known: KnownNgrams, factor: Tensor, square_V1: Tensor | None) -> Backbone:
    class_count = known.counts.bearing_VK.shape[1]
    net = LinearNet(known, factor, square_V1, class_count=class_count)
    return Backbone(net, feature_count=class_count, stages=(("weights", ("table",)),), has_scores=True)
