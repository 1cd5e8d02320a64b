"""Pooling: from features of each token to features of the text, without what is behind its end."""

# B batch, L token, H feature

from typing import Literal

from torch import Tensor, nn

Way = Literal["max", "mean", "attention"]
BEHIND = -3e4
"""score of what is behind the end: its share becomes exactly 0, and half floats can hold it"""


class Pooling(nn.Module):
    """Takes features (B, L, H), 1 for a token, 0 behind the end (B, L, 1); gives (B, H), zeros for an empty text."""

    def __init__(self, way: Way, width: int) -> None:
        super().__init__()
        self.way = way
        self.scores = nn.Linear(width, 1) if way == "attention" else None

    def forward(self, features_BLH: Tensor, real_BL1: Tensor) -> Tensor:
        """Return the features of each text."""
        behind_BL1 = (1 - real_BL1) * BEHIND
        if self.scores is not None:
            shares_BL1 = (self.scores(features_BLH) + behind_BL1).softmax(dim=1) * real_BL1
            mean_BH: Tensor = (features_BLH * shares_BL1).sum(dim=1)
            return mean_BH
        kept_BLH = features_BLH * real_BL1
        if self.way == "mean":
            return kept_BLH.sum(dim=1) / real_BL1.sum(dim=1).clamp(min=1)
        return (kept_BLH + behind_BL1).amax(dim=1) * real_BL1.amax(dim=1)
