"""Learning from texts: what is learned, as one net of a front end, a backbone and a head."""

# B batch, L code points, K class

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Generator, Tensor, nn

from models_store.tasks.text.codec import CODE_POINTS
from models_store.tasks.text.spec import ResolvedTextSpec
from workers.tasks.text import backbones, front_end
from workers.tasks.text.examples import TextExamples
from workers.tasks.text.front_end import CodePoints, FrontEnd
from workers.training import heads, regularizers
from workers.training.learner import Learner, Raw

FRONT_END = "backbone.embedded.front_end."
EMBEDDING = "backbone.embedded.embedding.weight"


class TextNet(Learner):
    """A learner of texts: takes code points int (B, L), 0 behind the end of a text, and gives logits (B, K)."""

    @property
    def draws(self) -> bool:
        """Whether what the net is fed differs with a generator."""
        return False

    def prepare(self, raw: Raw, generator: Generator | None) -> Tensor:  # noqa: ARG002  nothing is drawn
        """Return raw texts, which the front end numbers in the net itself."""
        return raw[CODE_POINTS]


def build(
    spec: ResolvedTextSpec, *, class_count: int, examples: TextExamples, last_layer: nn.Module | None = None
) -> TextNet:
    """Return the net that a resolved spec describes; its random weights come from the spec's seed."""
    net = _built(spec, CodePoints.of(examples.tokenizer), class_count=class_count, last_layer=last_layer)
    net.freeze(spec.freeze)
    return net


def restore(spec: ResolvedTextSpec, path: Path, *, class_count: int, last_layer: nn.Module | None = None) -> TextNet:
    """Return the trained net of a spec, with the weights that `learner.save` wrote to `path`."""
    state = load_file(path)
    front = front_end.of_state(state, FRONT_END, size=len(state[EMBEDDING]))
    net = _built(spec, front, class_count=class_count, last_layer=last_layer)
    net.load_state_dict(state)
    return net


def _built(spec: ResolvedTextSpec, front: FrontEnd, *, class_count: int, last_layer: nn.Module | None) -> TextNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.seed)
        backbone = backbones.build(spec.backbone, front_end=front, drop_path=regularizers.drop_path(spec.regularizers))
        head = heads.build(
            spec.head,
            backbone.feature_count,
            output_count=class_count,
            noise=regularizers.noise(spec.regularizers),
            last_layer=last_layer,
        )
    return TextNet(backbone.net, head, stages=backbone.stages)
