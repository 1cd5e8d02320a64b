"""Learner that the loop trains: a backbone and a head, and the way from stored examples to their input."""

# B batch, F feature, K class

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Generator, Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

Raw = Mapping[str, Tensor]
"""raw examples as the exported file takes them: name of its input → one row per example"""
Prepared = Any
"""what a learner's own `forward` takes; nobody else looks into it"""

NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)  # _NormBase: batch and instance norms of any dimension


Stages = tuple[tuple[str, tuple[str, ...]], ...]


class Learner(nn.Module, ABC):
    """Backbone and head. What of the backbone does not train is in evaluation mode, and keeps its running statistics.

    `stages` are the backbone's parts from input to output, each a name and the prefixes of its parameters' names in the
    backbone; together they cover every parameter. Left out, they are the backbone's children.
    """

    def __init__(self, backbone: nn.Module, head: nn.Module, *, stages: Stages = ()) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.stages = stages or _children(backbone)
        self.remarks: tuple[str, ...] = ()
        """sentences about how it was made, for the job's log"""

    @property
    @abstractmethod
    def draws(self) -> bool:
        """Whether what the net is fed differs with a generator: by random changes, or by mixing."""

    @abstractmethod
    def prepare(self, raw: Raw, generator: Generator | None) -> Prepared:
        """Return raw examples as the net's input, on their device; with random changes when there is a generator."""

    @property
    def mixes(self) -> bool:
        """Whether `mix` does anything."""
        return False

    def mix(
        self,
        inputs: Prepared,
        targets_BK: Tensor,
        *,
        generator: Generator,  # noqa: ARG002  what mixes draws from it
    ) -> tuple[Prepared, Tensor]:
        """Return prepared inputs and soft targets float (B, K), the examples of a batch mixed with each other."""
        return inputs, targets_BK

    def plain(self) -> "Learner":
        """Return the same net, weights and all, without random changes of its inputs."""
        return self

    def around(self, net: nn.Module) -> "Learner":
        """Return a learner that prepares its inputs as this one does, and whose whole net is `net`."""
        twin = copy.copy(self)
        twin._modules = {}  # parts of its own  # noqa: SLF001
        twin.backbone, twin.head = net, nn.Identity()
        twin.stages = _children(net)
        return twin.train()

    def translate(self, inputs: Prepared, *, of: "Learner") -> Prepared:  # noqa: ARG002  see subclasses
        """Return another learner's prepared inputs as this one would have prepared the same examples."""
        return inputs

    def forward(self, inputs: Prepared) -> Tensor:
        """Return logits (B, K)."""
        logits_BK: Tensor = self.head(self.features(inputs))
        return logits_BK

    def apart(self, inputs: Prepared) -> list[Tensor]:
        """Return the logits (B, K) of each part that learns from a loss of its own; `forward` gives their mean."""
        return [self(inputs)]

    def features(self, inputs: Prepared) -> Tensor:
        """Return what the head sees, (B, F)."""
        features_BF: Tensor = self.backbone(inputs)
        return features_BF

    @property
    def frozen(self) -> bool:
        """Whether nothing of the backbone trains."""
        return not any(parameter.requires_grad for parameter in self.backbone.parameters())

    def freeze(self, policy: str, *, last_stages: int | None = None) -> None:
        """Keep parts of the backbone as they are from now on, and let the rest of the net train.

        `policy` is `none`, `backbone`, `norms` (the weights and statistics of all norms) or `until:<stage>` (that stage
        and those before it). Of what it leaves free, only the `last_stages` train; None: all.

        Raises:
            ValueError: if the backbone has no stage of that name.
        """
        self.requires_grad_(requires_grad=True)
        names = [name for name, _ in self.stages]
        kept = len(names) if policy == "backbone" else 0
        if policy.startswith("until:"):
            kept = names.index(policy.removeprefix("until:")) + 1
        if last_stages is not None:
            kept = max(kept, len(names) - last_stages)
        trained = {name for name, _ in self.stages[kept:]}
        for name, parameter in self.backbone.named_parameters():
            parameter.requires_grad_(self.stage_of(name) in trained)
        if policy == "norms":
            for module in self.backbone.modules():
                if isinstance(module, NORMS):
                    module.requires_grad_(requires_grad=False)
        self.train(self.training)

    def stage_of(self, name: str) -> str:
        """Return the stage of a parameter of the backbone; of one outside all, such as a token, it is the first."""
        for stage, prefixes in self.stages:
            if any(f"{name}.".startswith(f"{prefix.rstrip('.')}.") for prefix in prefixes):
                return stage
        return self.stages[0][0]

    def train(self, mode: bool = True) -> "Learner":  # noqa: FBT001, FBT002  nn.Module's own signature
        """Set training mode; a part whose weights all stay as they are stays in evaluation mode."""
        super().train(mode)
        if mode:
            for module in self.backbone.modules():
                if has_weights(module) and not any(weight.requires_grad for weight in module.parameters()):
                    module.eval()
        return self


def save(learner: Learner, path: Path) -> Path:
    """Write the whole net's weights as safetensors, `backbone.…` and `head.…`; return the path."""
    state = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in learner.state_dict().items()}
    save_file(state, path)
    return path


def has_weights(module: nn.Module) -> bool:
    """Return whether there is anything to train in a module."""
    return next(module.parameters(), None) is not None


def _children(backbone: nn.Module) -> Stages:
    """Return each child with weights as a stage."""
    children = tuple((name, (name,)) for name, child in backbone.named_children() if has_weights(child))
    return children or (("backbone", ()),)
