"""Ensemble of backbones: the mean of their logits, each from an output layer of its own."""

# B batch, K class

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models_store.spec.head import Head
from models_store.tasks.text.backbones.ensemble import Ensemble
from workers.tasks.text.backbones.backbone import Backbone, build
from workers.tasks.text.front_end import FrontEnds
from workers.training import heads


class EnsembleNet(nn.Module):
    """Scores of the classes: the mean of the members' logits."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def apart(self, inputs: Tensor) -> list[Tensor]:
        """Return the logits (B, K) of each member."""
        return [member(inputs) for member in self.members]

    def forward(self, inputs: Tensor) -> Tensor:
        """Return scores (B, K)."""
        return torch.stack(self.apart(inputs)).mean(dim=0)


@build.register
def _(part: Ensemble, *, front_end: FrontEnds, drop_path: float = 0.0) -> Backbone:
    class_count, members = front_end.class_count, []
    for member, own in zip(part.members, front_end.members, strict=True):
        backbone = build(member, front_end=own, drop_path=drop_path)
        head = (
            heads.bias(class_count)
            if backbone.has_scores
            else heads.build(Head(), backbone.feature_count, output_count=class_count, noise=[])
        )
        members.append(nn.Sequential(OrderedDict(net=backbone.net, head=head)))
    return Backbone(EnsembleNet(members), class_count, stages=(("members", ("members",)),), has_scores=True)
